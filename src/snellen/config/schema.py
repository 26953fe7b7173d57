"""What a run file may say. A task extends `RunConfig` once, with its own `data` and `model`.

Every model is frozen, refuses unknown keys, and takes no text for a number. The description of a field is what its
key does, in the words of the documentation. `"auto"` stands for a value that `snellen.config.resolve` fills in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from snellen.config.machines import MACHINES
from snellen.core.facts.data import LayoutName
from snellen.core.sizes import parse_size

__all__ = [
    "Auto",
    "CacheConfig",
    "Count",
    "DataConfig",
    "ModelConfig",
    "OptimConfig",
    "Positive",
    "RunConfig",
    "Section",
    "Share",
    "TrackConfig",
]

Auto = Literal["auto"]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


def _sound_cache(value: Any) -> Any:
    # 0 is equal to `False`, and would be taken as that.
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise PydanticCustomError("cache_number", "a number is no cache")
    size = value.get("size") if isinstance(value, Mapping) else None
    if size is not None:
        try:
            parse_size(str(size))
        except ValueError as error:
            raise ValueError(f"size: {error}") from error
        if not isinstance(size, str):
            raise ValueError(f"size is {size}, expected a number of bytes with its unit, such as 4GiB")
    return value


def _known_machine(name: str) -> str:
    if name != "auto" and name not in MACHINES:
        raise PydanticCustomError("unknown_machine", "no machine of that name is known")
    return name


class Section(BaseModel):
    """Base of every part of a run file: frozen, strict, closed."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )


class CacheConfig(Section):
    """Decoded samples that are kept in memory once, for all loader processes and devices of a machine."""

    size: str | None = None
    """Most memory, such as `4GiB`; without it all there is to keep, and at most half of what is free."""
    ahead: bool = False
    """Fill it before training; otherwise it fills as samples are first read."""


class DataConfig(Section):
    """Where the images are and how they come in."""

    train: Path | None = None
    """Folder of training images."""
    val: Path | None = None
    """Folder of validation images."""
    test: Path | None = None
    """Folder of test images."""
    layout: Literal[Auto, LayoutName] = "auto"
    """How the data lies in these folders; `auto` recognises it by what is in them."""
    classes: tuple[str, ...] | Path | None = None
    """Names of the classes in the order of their numbers, or a file that holds them; the data says it without them."""
    image_size: Count | tuple[Count, Count] | None = None
    """Side, or height and width, that images are brought to; images keep their size without it."""
    pad_multiple: Count | Auto = "auto"
    """Sides are padded to a multiple of this; `auto` takes the least common multiple of all contracts."""
    workers: Annotated[int, Field(ge=0)] | Auto = "auto"
    """Processes that load data; 0 loads in the training process."""
    cache: Annotated[Auto | Literal[False] | CacheConfig, BeforeValidator(_sound_cache)] = "auto"
    """Keep decoded samples in memory, once for all processes; `auto` as far as half of the free memory goes."""


class ModelConfig(Section):
    """What is learned; each task has its own keys here."""


class OptimConfig(Section):
    """How it is learned."""

    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    """Which optimiser."""
    lr: Positive = 1e-4
    """Peak learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Decoupled weight decay; biases and normalisation layers are left out."""
    epochs: Count = 10
    """Passes over the training images."""
    max_steps: Count | None = None
    """Stop after this many optimiser steps, whatever the epoch."""
    batch_size: Count = 8
    """Images per device and micro-batch."""
    accumulate: Count = 1
    """Micro-batches per optimiser step."""
    clip_norm: Positive | None = 1.0
    """Gradients are scaled down to this L2 norm; `null` leaves them."""
    schedule: Literal["cosine", "one-cycle", "constant"] = "cosine"
    """Course of the learning rate after the warm-up."""
    warmup: Share = 0.05
    """Share of all steps in which the learning rate rises from 0."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Keep an exponential moving average of the weights, and evaluate that."""
    patience: Count | None = None
    """Stop after this many evaluations without improvement."""
    evaluate_every: Count = 1
    """Epochs between evaluations."""
    checkpoint_every: Count | None = None
    """Optimiser steps between checkpoints; at the end of each epoch in any case."""
    recoveries: Annotated[int, Field(ge=0)] = 3
    """Steps whose loss or gradient is not finite from which the run goes on: a batch that is broken itself is left out;
    otherwise with a third of the learning rate, clipped gradients and, where that is not enough, the last good
    checkpoint. 0 stops at the first."""


class TrackConfig(Section):
    """Where curves are written besides `metrics.jsonl`."""

    tensorboard: bool = True
    """Write TensorBoard files into the run's folder."""
    wandb: Literal["auto", False] = "auto"
    """Weights & Biases: `auto` uploads the curves while the run goes on where wandb is installed, has a key and its
    server answers; otherwise `snellen sync` uploads them later. Nothing that wandb does can stop the run."""
    project: Annotated[str, Field(min_length=1)] = "snellen"
    """Project of Weights & Biases."""


class RunConfig(Section):
    """A run file without the keys that belong to one task.

    Example:
        >>> RunConfig(task="forgery").optim.lr
        0.0001
    """

    task: str
    """What is learned."""
    name: Annotated[str, Field(min_length=1)] | None = None
    """Name of the run's folder; the date and time without it."""
    code: tuple[Path, ...] = ()
    """Your own source files and folders: linted by `check`, recorded with the run."""
    data: DataConfig = DataConfig()
    """Where the images are and how they come in."""
    model: ModelConfig = ModelConfig()
    """What is learned."""
    optim: OptimConfig = OptimConfig()
    """How it is learned."""
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    """Number format of the forward pass: `auto` is bf16 where the hardware has it, else scaled fp16, else fp32."""
    machine: Annotated[str, AfterValidator(_known_machine), Field(json_schema_extra={"enum": ["auto", *MACHINES]})] = (
        "auto"
    )
    """The machine that the run is meant for; `auto` is this one."""
    devices: Count | Auto = "auto"
    """Accelerators (or CPU processes) to train on."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    """Start of all random numbers."""
    track: TrackConfig = TrackConfig()
    """Where curves are written."""
    output: Path = Path("runs")
    """Folder that the run's own folder is made in."""
