"""Heads on frozen features, as the engine trains them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from snellen.config.schema import RunConfig
from snellen.engine.optimiser import default_groups
from snellen.engine.recipe import Batch, StepOutput
from snellen.errors import DataError
from snellen.report.progress import note
from snellen.tasks.probe.config import ProbeRun
from snellen.tasks.probe.features import FrozenFeatures
from snellen.tasks.probe.labels import read_labels, targets_of
from snellen.tasks.probe.loss import head_loss
from snellen.tasks.probe.metrics import ProbeMetrics
from snellen.tasks.probe.model import build_probe

__all__ = ["FeatureRows", "ProbeRecipe", "balancing", "build_recipe"]

_NAMED = 5


@dataclass(frozen=True, slots=True)
class FeatureRows(Dataset[dict[str, Any]]):
    """Vectors with one target for each head.

    Args:
        files: Images.
        vectors: Float32, shape `(images, width)`.
        targets: Numbers of classes, -1 where a label is not known; shape `(images, heads)`.
        cumulated: Where samples are to be drawn by weight, the running sum of the weights.
    """

    files: tuple[str, ...]
    vectors: npt.NDArray[np.float32]
    targets: npt.NDArray[np.int64]
    cumulated: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A sample; by weight, another one than was asked for, drawn from torch's random numbers."""
        if self.cumulated is not None:
            # The engine seeds them for every sample, so that the draw is the same after a resume.
            drawn = float(torch.rand((), dtype=torch.float64)) * self.cumulated[-1]
            index = min(int(np.searchsorted(self.cumulated, drawn, side="right")), len(self.files) - 1)
        return {
            "vector": torch.from_numpy(self.vectors[index]),
            "target": torch.from_numpy(self.targets[index]),
            "file": self.files[index],
        }


class ProbeRecipe:
    """Training of heads on the vectors of a frozen backbone, which are computed once."""

    headline = "macro_f1"
    mode: Literal["max", "min"] = "max"

    def __init__(self, config: ProbeRun) -> None:
        self.config = config
        labels = read_labels(config, ("train", "val"))
        self._splits, self._notes = labels.splits, labels.notes
        self.classes, self._weights = labels.classes, labels.weights
        self._targets = {split: targets_of(part, self.classes) for split, part in self._splits.items()}
        by = config.sampling.by
        self._by = None if by is None else list(config.heads).index(by)
        self._features = FrozenFeatures(config)
        self._rows: dict[str, FeatureRows] = {}

    def prepare(self) -> None:
        """Compute the vectors of all splits, and say what was left out."""
        images = dict.fromkeys(image for part in self._splits.values() for image in part.images)
        found = self._features.of(tuple(images))
        place = {image: row for row, image in enumerate(found.images)}
        for split, part in self._splits.items():
            kept = [index for index, image in enumerate(part.images) if image in place]
            files = tuple(part.images[index] for index in kept)
            if not files:
                raise DataError(f"no image of {part.key} can be read: {found.unread[0].sentence}")
            matrix = found.matrix[[place[file] for file in files]]
            self._rows[split] = FeatureRows(files, matrix, self._targets[split][kept])
        absent = [f"{name}: {', '.join(one.absent)}" for name, one in self.classes.items() if one.absent]
        for sentence in (*self._notes, *found.notes, *(f"left out: {one.sentence}" for one in found.unread[:_NAMED])):
            note(sentence)
        if len(found.unread) > _NAMED:
            note(f"and {len(found.unread) - _NAMED} more images that cannot be read")
        if absent:
            note(f"declared without a training sample, and so not learned: {'; '.join(absent)}")

    def example(self) -> dict[str, Any]:
        """A sample without its numbers."""
        width = self._features.embedder.width
        return {"vector": torch.zeros(width), "target": torch.zeros(len(self.classes), dtype=torch.int64), "file": ""}

    def build_model(self) -> nn.Module:
        """New heads, with mean and deviation of the training vectors once these are there."""
        net = build_probe(self.config, self._features.embedder, self.classes)
        if self.config.normalise == "standardise" and "train" in self._rows:
            net.standardise(torch.from_numpy(self._rows["train"].vectors))
        return net

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Matrices with weight decay, biases without."""
        return default_groups(model, weight_decay=self.config.optim.weight_decay)

    def train_dataset(self) -> FeatureRows:
        """The training vectors; drawn by weight where the run asks for it."""
        rows = self._of("train")
        if self._by is None:
            return rows
        weights = balancing(rows.targets[:, self._by], self.config.sampling.strength)
        return FeatureRows(rows.files, rows.vectors, rows.targets, np.cumsum(weights))

    def evaluation_dataset(self, split: str) -> FeatureRows | None:
        """Vectors of another split."""
        return self._of(split) if split in self._splits else None

    def _of(self, split: str) -> FeatureRows:
        if split not in self._rows:
            self.prepare()
        return self._rows[split]

    def collate(self, samples: Sequence[dict[str, Any]]) -> Batch:
        """A batch of vectors and targets."""
        return {
            "files": [sample["file"] for sample in samples],
            "vectors": torch.stack([sample["vector"] for sample in samples]),
            "targets": torch.stack([sample["target"] for sample in samples]),
        }

    def training_step(self, model: nn.Module, batch: Batch) -> StepOutput:
        """The sum of the heads' losses."""
        outputs = model(batch["vectors"])
        losses = {
            name: head_loss(outputs[name], batch["targets"][:, place], head, self._weights[name])
            for place, (name, head) in enumerate(self.config.heads.items())
        }
        total = torch.stack(list(losses.values())).sum()
        return StepOutput(loss=total, logs={f"{name}/loss": loss.detach() for name, loss in losses.items()})

    def evaluation_step(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Probabilities of each head."""
        outputs: Mapping[str, Tensor] = model(batch["vectors"])
        return {name: logits.float().softmax(dim=1).cpu() for name, logits in outputs.items()}

    def new_metrics(self) -> ProbeMetrics:
        """Figures of each head."""
        return ProbeMetrics({name: len(classes) for name, classes in self.classes.items()})


def balancing(targets: npt.NDArray[np.int64], strength: float) -> npt.NDArray[np.float64]:
    """Weights under which the classes are drawn equally often; a sample without label weighs what the mean one does.

    Args:
        targets: Numbers of classes, -1 where there is none.
        strength: 1 evens the classes out, 0 leaves all weights at 1.

    Example:
        >>> balancing(np.array([0, 0, 0, 1]), 1.0).tolist()
        [1.0, 1.0, 1.0, 3.0]
    """
    labelled = targets >= 0
    if not labelled.any():
        return np.ones(len(targets))
    counts = np.bincount(targets[labelled]).astype(np.float64)
    weights = np.where(labelled, (counts.max() / np.maximum(counts, 1))[targets] ** strength, 0.0)
    return np.where(labelled, weights, weights[labelled].mean())


def build_recipe(config: RunConfig) -> ProbeRecipe:
    """The recipe of a probe run.

    Raises:
        DataError: Labels that cannot be read, contradict each other, or have no class.
    """
    if not isinstance(config, ProbeRun):
        raise TypeError(f"expected a ProbeRun, given {type(config).__name__}")
    return ProbeRecipe(config)
