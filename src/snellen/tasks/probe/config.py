"""What a probe run file may say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from snellen.config.schema import Auto, Count, DataConfig, OptimConfig, Positive, RunConfig, Section, Share
from snellen.tasks.embed.config import EmbedModel

__all__ = ["SCHEMA", "HeadConfig", "ProbeData", "ProbeOptim", "ProbeRun", "SamplingConfig"]

HeadName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_ -]*$")]


class HeadConfig(Section):
    """One classification on the features."""

    column: Annotated[str, Field(min_length=1)] | None = None
    """Column of the table of labels; the name of the head without it."""
    classes: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """All classes there should be; those that occur in the training labels without it."""
    kind: Literal["linear", "mlp"] = "linear"
    """`linear` is one layer, `mlp` two with GELU between."""
    hidden: Count = 256
    """Width of the hidden layer of an `mlp`."""
    dropout: Share = 0.0
    """Share of the inputs of the last layer that is left out in training."""
    loss: Literal["cross-entropy", "focal"] = "cross-entropy"
    """`focal` lets samples that are already right count less."""
    gamma: Annotated[float, Field(ge=0)] = 2.0
    """Exponent of the focal loss."""
    label_smoothing: Share = 0.0
    """Share of the target that is spread over all classes."""
    class_weights: Literal["balanced"] | dict[str, Positive] | None = None
    """`balanced` weighs each class by the inverse of how often it occurs; or a weight for each class."""
    weight: Positive = 1.0
    """Of this head's loss in the sum."""


class ProbeData(DataConfig):
    """Folders of images, and a table of their labels: one column for each head."""

    labels: Path | None = None
    """CSV or TSV file for all splits, with a column that names the image; without it each folder has its own table, or
    its sub-folders are the classes of a single head. A cell that is empty says that this label is not known."""
    image_column: Annotated[str, Field(min_length=1)] | None = None
    """Column that names the image; recognised without it."""
    features: Path | None = None
    """Folder of features that `snellen embed` wrote with the same backbone; images that it lacks are embedded."""


class SamplingConfig(Section):
    """How often a training sample is seen."""

    by: str | None = None
    """Head whose classes are to be seen equally often; every sample is seen once an epoch without it."""
    strength: Annotated[float, Field(gt=0, le=1)] = 1.0
    """1 evens the classes out, 0.5 takes the square root of their shares."""


class ProbeOptim(OptimConfig):
    """How the heads are learned: they are small, so steps are many and cheap."""

    lr: Positive = 1e-3
    """Peak learning rate."""
    epochs: Count = 50
    """Passes over the training features."""
    batch_size: Count = 64
    """Vectors of a step."""


class ProbeRun(RunConfig):
    """A run of the probe task.

    Example:
        >>> ProbeRun(task="probe").optim.epochs
        50
    """

    task: Literal["probe"] = "probe"
    """What is learned."""
    data: ProbeData = ProbeData()
    """Images and their labels."""
    model: EmbedModel = EmbedModel()
    """The frozen backbone."""
    heads: dict[HeadName, HeadConfig] = Field(default={"class": HeadConfig()}, min_length=1)
    """What is learned on the features, by name."""
    normalise: Literal["standardise", "unit", "none"] = "standardise"
    """`standardise` gives each number of a vector mean 0 and deviation 1 over the training set, `unit` each vector
    length 1."""
    sampling: SamplingConfig = SamplingConfig()
    """How often a training sample is seen."""
    optim: ProbeOptim = ProbeOptim()
    """How the heads are learned."""
    device: str = "auto"
    """Where features are computed: `cpu`, `cuda`, `cuda:1`, `mps`; `auto` takes the accelerator, if there is one."""
    cache: Auto | Literal[False] | Path = "auto"
    """Folder in which vectors are kept by the content of files, shared by all runs; `false` keeps none."""


SCHEMA = ProbeRun
