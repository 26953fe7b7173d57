"""What the engine has to be told about a task: a protocol that any object can fulfil.

The engine never knows a task's name. It asks a recipe for a model, two datasets, a loss and metrics, and does the rest.
With more than one device a recipe is sent to other processes, so it holds plain data and is picklable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from torch import Tensor, nn

__all__ = ["Batch", "IllustratedRecipe", "MapDataset", "Metrics", "PreparedRecipe", "Recipe", "StepOutput"]

Batch: TypeAlias = dict[str, Any]
"""One batch. The key `files` holds a list of strings that names the source of every sample; the other values are
tensors, numbers, strings, or lists, tuples and mappings of these."""


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What one training step computed.

    Args:
        loss: Scalar, mean over the samples of the batch, with a gradient.
        logs: Further numbers to write down: scalar tensors or floats.
    """

    loss: Tensor
    logs: Mapping[str, Tensor | float] = field(default_factory=dict)


class MapDataset(Sized, Protocol):
    """Samples by index, as `torch.utils.data.Dataset`."""

    def __getitem__(self, index: int, /) -> Any:
        """One sample. Random numbers of python, numpy and torch are seeded for it by the engine."""
        ...


class Metrics(Protocol):
    """Numbers over a split, gathered batch by batch, on one device or several."""

    def update(self, outputs: Any, batch: Batch) -> None:
        """Take in what `evaluation_step` returned for one batch."""
        ...

    def state(self) -> Any:
        """What is remembered so far: tensors on the CPU, numbers, strings and containers of these."""
        ...

    def merge(self, states: Sequence[Any]) -> None:
        """Replace what is remembered by the sum of the states of all ranks, in rank order."""
        ...

    def compute(self) -> dict[str, float]:
        """The metrics by name; NaN for one that has no value."""
        ...


class Recipe(Protocol):
    """One task, ready to be trained.

    `headline` names the metric that chooses the best checkpoint, `mode` whether more or less of it is better. A model
    may have an attribute `card`, plain data such as its classes: it is kept in every checkpoint, and a run is not
    resumed with another one. A recipe may have `remarks`, sentences that are told, and written down, at the start.
    """

    headline: str
    mode: Literal["max", "min"]

    def build_model(self) -> nn.Module:
        """A new model, initialised from torch's random numbers, which the engine has seeded."""
        ...

    def train_dataset(self) -> MapDataset:
        """Samples to learn from."""
        ...

    def evaluation_dataset(self, split: str) -> MapDataset | None:
        """Samples of a split, `None` when the run has no such split; `val` is the one used during training."""
        ...

    def collate(self, samples: Sequence[Any]) -> Batch:
        """Make a batch of samples."""
        ...

    def training_step(self, model: nn.Module, batch: Batch) -> StepOutput:
        """Loss of one batch.

        Call `model(...)` itself and not its parts, so that mixed precision and several devices work. Its outputs
        arrive as float32 whatever the precision, and so the loss is computed in float32. A model returns tensors, or
        lists, tuples and mappings of tensors.
        """
        ...

    def evaluation_step(self, model: nn.Module, batch: Batch) -> Any:
        """What the metrics need of one batch; called without gradients, with the model in eval mode."""
        ...

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Groups as `torch.optim` takes them; `lr_scale` in a group is a factor of the learning rate, 1 without it."""
        ...

    def new_metrics(self) -> Metrics:
        """Empty metrics."""
        ...


@runtime_checkable
class PreparedRecipe(Protocol):
    """A recipe that has something long to do once before training, such as the features of a frozen backbone.

    Estimates never ask for it; `example` gives them what a sample looks like.
    """

    def prepare(self) -> None:
        """Do it; called in the first process, before there are others."""
        ...

    def example(self) -> Any:
        """A sample of the shapes that the training samples have."""
        ...


@runtime_checkable
class IllustratedRecipe(Protocol):
    """A recipe that can show what the model did in the last evaluation."""

    def pictures(self) -> Mapping[str, Any]:
        """Images by name, `(H, W, 3)` uint8."""
        ...
