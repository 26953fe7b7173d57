"""Checkpoint files, what is in them, and how far they fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Architecture", "FitFacts", "PickleFacts", "SizeClash", "StatedPixels", "TensorEntry", "WeightsFacts"]


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a checkpoint, by what its header says.

    Args:
        name: As in the state dict.
        shape: Its sides.
        dtype: `float32`, `float16`, `bfloat16`, `int64` ...
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def numel(self) -> int:
        """How many numbers it holds.

        Example:
            >>> TensorEntry("weight", (2, 3)).numel
            6
        """
        count = 1
        for side in self.shape:
            count *= side
        return count


@dataclass(frozen=True, slots=True)
class PickleFacts:
    """What unpickling a file would do, read from its instructions; nothing was run.

    Args:
        imports: Every name that would be imported, in the order of the file.
        foreign: Those that `torch.load(weights_only=True)` refuses.
        dangerous: Those that run commands, code or files.
        calls: Number of instructions that call something.
        opcodes: Number of instructions looked at.
        protocol: Of the pickle.
        problem: Why not all were looked at, `""` when all were.
    """

    imports: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    dangerous: tuple[str, ...] = ()
    calls: int = 0
    opcodes: int = 0
    protocol: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class WeightsFacts:
    """A checkpoint file, read without unpickling anything.

    Args:
        key: Key path that names it.
        path: From the root.
        exists: Whether it is there.
        format: `safetensors`, `torch zip`, `TorchScript`, `pickle`, `legacy torch`, `npz` ... or `unknown`.
        tensors: Number of tensors, `None` where only loading would tell.
        problem: Why it cannot be used, `""` when nothing was found.
        nearby: Checkpoints in the same folder.
        bytes: Size of the file.
        state: Its tensors, as far as its header tells them without running anything.
        wrapper: Where in the file the state dict stands: `state_dict`, `model`; `""` when it is the file itself.
        prefix: What all names of tensors begin with, such as `module.`; it is left in `state`.
        others: What the file holds beside the state dict: `epoch`, `optimizer`.
        pickle: What unpickling it would do, `None` when it holds no pickle.
        unusual: `(name, what)` of tensors that hold NaN or Inf or nothing but zeros, among those that were read.
        sampled: Of how many tensors values were read.
        stated_hash: Start of the SHA-256 that the file's name states, `""` when it states none.
        hash: SHA-256, `""` where it was not computed.
    """

    key: str
    path: str
    exists: bool
    format: str = "unknown"
    tensors: int | None = None
    problem: str = ""
    nearby: tuple[str, ...] = ()
    bytes: int = 0
    state: Sequence[TensorEntry] = ()
    wrapper: str = ""
    prefix: str = ""
    others: tuple[str, ...] = ()
    pickle: PickleFacts | None = None
    unusual: tuple[tuple[str, str], ...] = ()
    sampled: int = 0
    stated_hash: str = ""
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Architecture:
    """Which network a set of tensors belongs to.

    Args:
        key: Key path of the checkpoint.
        name: As its library calls it, `""` for "cannot tell".
        library: Where it can be built: `timm`, `torchvision`, `smp`, or the repository that publishes it.
        share: How many of the network's tensors are there in name and shape, 0 to 1; 1 for all.
        evidence: What it was recognised by.
        also: Other names of the same network, and the pretrained tags that it could be.
        nearest: Where it cannot be told, what comes closest.
        classes: Outputs of the head, `None` without one.
        grid: Rows and columns of the position embedding, `None` without one.
        input_side: Side of the images that the position embedding is for.
        licence: Of the published weights, `""` for "cannot tell".
        licence_source: Who states it.
    """

    key: str = ""
    name: str = ""
    library: str = ""
    share: float = 0.0
    evidence: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    nearest: tuple[str, ...] = ()
    classes: int | None = None
    grid: tuple[int, int] | None = None
    input_side: int | None = None
    licence: str = ""
    licence_source: str = ""


@dataclass(frozen=True, slots=True)
class SizeClash:
    """A tensor that has one shape in the file and another in the model."""

    name: str
    given: tuple[int, ...]
    wanted: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FitFacts:
    """How far weights fit a part of the model.

    Args:
        part: For people: `backbone dinov2_vits14`.
        key: Key path that decides it.
        source: Where the weights come from; `""` when there are none.
        loaded: Tensors that fit.
        total: Tensors of the part.
        missing: Names that stay random, some of them.
        frozen: Whether the part is not trained.
        unexpected: Names that only the file has, some of them.
        clashes: Tensors of another shape, some of them.
        model_key: Key path that names the architecture.
        model: The architecture that the run names.
    """

    part: str
    key: str
    source: str
    loaded: int
    total: int
    missing: tuple[str, ...] = ()
    frozen: bool = False
    unexpected: tuple[str, ...] = ()
    clashes: tuple[SizeClash, ...] = ()
    model_key: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class StatedPixels:
    """How images have to come to a checkpoint, as a file beside it says.

    Args:
        key: Key path of the checkpoint.
        weights: The checkpoint.
        source: Name of the file beside it.
        mean: By channel, of values from 0 to 1.
        std: Its deviation.
        colour: `RGB` or `BGR`.
        network: Name of the network there, with the tag of its training; `""` when it is not said.
    """

    key: str
    weights: str
    source: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    colour: str = "RGB"
    network: str = ""
