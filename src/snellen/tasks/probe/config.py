"""What a probe run file may say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from snellen.config.schema import Auto, Count, DataConfig, OptimConfig, Positive, RunConfig, Section, Share
from snellen.core.file_kinds import nearest
from snellen.tasks.embed.config import EmbedModel

__all__ = ["SCHEMA", "HeadConfig", "ProbeData", "ProbeOptim", "ProbeRun", "SamplingConfig", "columns_of"]


def _head_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_ -]*", name):
        raise ValueError("a head's name has letters, digits, blanks, _ and -, and begins with none of the last two")
    return name


HeadName = Annotated[str, AfterValidator(_head_name)]


def columns_of(heads: Iterable[str], *, truth: bool = False) -> tuple[str, ...]:
    """Names of the columns of a table of answers.

    Example:
        >>> columns_of(["skin"])
        ('image', 'skin', 'skin_probability')
    """
    more = ("{}_truth", "{}", "{}_probability") if truth else ("{}", "{}_probability")
    return ("image", *(one.format(head) for head in heads for one in more))


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

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        columns = Counter(columns_of(self.heads, truth=True))
        if double := [name for name, times in columns.items() if times > 1]:
            problems.append(
                f"the table of answers would have two columns {', '.join(double)}: rename a head of "
                f"{', '.join(self.heads)}, and say heads.NAME.column where its labels stand"
            )
        by = self.sampling.by
        if by is not None and by not in self.heads:
            close = nearest(by, self.heads)
            meant = f"; did you mean {close}?" if close else ""
            problems.append(f"sampling.by is {by!r}, expected one of the heads {', '.join(self.heads)}{meant}")
        if problems:
            raise ValueError("; and ".join(problems))
        return self


SCHEMA = ProbeRun
