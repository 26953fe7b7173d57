"""A recipe on few samples: the task's own in everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import nn

from snellen.engine.recipe import Batch, MapDataset, Metrics, Recipe, StepOutput

__all__ = ["Few", "Shrunk"]


class Few:
    """An even choice of a dataset's samples; a module's class, because it is sent to loader processes."""

    def __init__(self, dataset: MapDataset, count: int) -> None:
        self._dataset = dataset
        size = len(dataset)
        self._chosen = [index * size // count for index in range(count)] if size > count else list(range(size))

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: int) -> Any:
        return self._dataset[self._chosen[index]]


class Shrunk:
    """Implements `snellen.engine.recipe.Recipe`.

    Args:
        recipe: The task's.
        samples: Most samples of each split.
    """

    def __init__(self, recipe: Recipe, samples: Mapping[str, int]) -> None:
        self._recipe = recipe
        self._samples = dict(samples)
        self.headline = recipe.headline
        self.mode: Literal["max", "min"] = recipe.mode

    def build_model(self) -> nn.Module:
        """As the task."""
        return self._recipe.build_model()

    def train_dataset(self) -> MapDataset:
        """Few of the task's samples."""
        return Few(self._recipe.train_dataset(), self._samples["train"])

    def evaluation_dataset(self, split: str) -> MapDataset | None:
        """Few of the task's samples."""
        dataset = self._recipe.evaluation_dataset(split)
        return None if dataset is None else Few(dataset, self._samples["val"])

    def collate(self, samples: Sequence[Any]) -> Batch:
        """As the task."""
        return self._recipe.collate(samples)

    def training_step(self, model: nn.Module, batch: Batch) -> StepOutput:
        """As the task."""
        return self._recipe.training_step(model, batch)

    def evaluation_step(self, model: nn.Module, batch: Batch) -> Any:
        """As the task."""
        return self._recipe.evaluation_step(model, batch)

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """As the task."""
        return self._recipe.parameter_groups(model)

    def new_metrics(self) -> Metrics:
        """As the task."""
        return self._recipe.new_metrics()
