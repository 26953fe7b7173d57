"""Evaluation: a split through a model once, on all ranks, merged into one set of numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import torch
from torch import distributed, nn

from snellen.engine.checkpoint import load_weights
from snellen.engine.devices import gather, launch, local_view, moved
from snellen.engine.fabric import Fabric
from snellen.engine.loading import BatchLoader
from snellen.engine.recipe import MapDataset, Recipe
from snellen.engine.sampling import evaluation_batches
from snellen.engine.seeding import Purpose, keep_random_state, seed_all
from snellen.engine.settings import TrainSettings
from snellen.engine.signals import StopRequest
from snellen.engine.store import Kind
from snellen.errors import DataError, Interrupted

__all__ = ["Evaluation", "evaluate"]


def evaluate(
    recipe: Recipe, settings: TrainSettings, source: str | Path, split: str, *, which: Kind = "best"
) -> dict[str, float]:
    """Metrics of trained weights on a split.

    Args:
        recipe: The task.
        settings: Batch size, precision, devices and loader processes are taken from it.
        source: A run's folder, or a weights file.
        split: As `evaluation_dataset` takes it.
        which: Which checkpoint of a run's folder.

    Returns:
        The metrics by name.

    Raises:
        DataError: The split is missing or empty, or a sample cannot be read.
        WeightsError: The weights cannot be read, or are of another model.
        Interrupted: Ctrl-C or SIGTERM.
    """
    with keep_random_state():
        return launch(settings, _evaluate, recipe, settings, str(source), split, which)


def _evaluate(
    fabric: Fabric, recipe: Recipe, settings: TrainSettings, source: str, split: str, which: Kind
) -> dict[str, float]:
    evaluation = Evaluation.of(fabric, recipe, settings, split)
    if evaluation is None:
        raise DataError(
            f"there is no split {split!r} to evaluate on",
            hint=f"set data.{split} in the run file",
            slug="empty-dataset",
        )
    seed_all(settings.seed, Purpose.MODEL)
    module = recipe.build_model()
    load_weights(module, source, which=which)
    fabric.to_device(module)
    with contextlib.closing(evaluation), StopRequest() as stop:
        return evaluation.run(module, interrupted=lambda: stop.requested)


class Evaluation:
    """A split that is evaluated again and again; on several ranks each takes its share of the samples.

    Args:
        fabric: Launched.
        recipe: The task.
        settings: Batch size, seed and loader processes.
        dataset: Samples of the split.

    Raises:
        DataError: There are none.
    """

    def __init__(self, fabric: Fabric, recipe: Recipe, settings: TrainSettings, dataset: MapDataset) -> None:
        if len(dataset) == 0:
            raise DataError("a split to evaluate on has no samples, expected at least 1", slug="empty-dataset")
        self._fabric, self._recipe, self._seed = fabric, recipe, settings.seed
        self.dataset = dataset
        self._order = evaluation_batches(
            len(dataset), batch_size=settings.batch_size, rank=fabric.global_rank, ranks=fabric.world_size
        )
        self._loader = BatchLoader(
            recipe,
            dataset,
            seed=settings.seed,
            purpose=Purpose.EVALUATION_SAMPLE,
            workers=settings.workers,
            pin=fabric.device.type == "cuda",
        )

    @classmethod
    def of(cls, fabric: Fabric, recipe: Recipe, settings: TrainSettings, split: str) -> Self | None:
        """The evaluation of a split, `None` when the recipe has no such split."""
        dataset = recipe.evaluation_dataset(split)
        return None if dataset is None else cls(fabric, recipe, settings, dataset)

    def close(self) -> None:
        """End the loader processes."""
        self._loader.close()

    def run(self, module: nn.Module, *, interrupted: Callable[[], bool]) -> dict[str, float]:
        """Metrics of a module that is on its device.

        Args:
            module: Without Fabric's wrappers; its modes are as before afterwards.
            interrupted: Asked between batches, and not heard where ranks wait for each other.

        Raises:
            Interrupted: `interrupted()` said so.
        """
        fabric, metrics = self._fabric, self._recipe.new_metrics()
        _share_buffers(fabric, module)
        view = local_view(fabric, module)
        with _evaluating(module):
            for number, batch in enumerate(self._loader.batches(0, self._order)):
                if interrupted() and fabric.world_size == 1:
                    raise Interrupted("stopped during evaluation")
                seed_all(self._seed, Purpose.EVALUATION, number, fabric.global_rank)
                metrics.update(self._recipe.evaluation_step(view, moved(batch, fabric.device)), batch)
        if fabric.world_size > 1:
            metrics.merge(gather(fabric, metrics.state()))
        return {name: float(value) for name, value in metrics.compute().items()}


@contextlib.contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes:
            part.training = mode


def _share_buffers(fabric: Fabric, module: nn.Module) -> None:
    # Running statistics differ between ranks; the ones that are saved are those of rank 0.
    if fabric.world_size > 1:
        for buffer in module.buffers():
            distributed.broadcast(buffer, src=0)
