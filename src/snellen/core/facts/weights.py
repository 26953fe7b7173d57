"""Checkpoint files, and how far they fit."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FitFacts", "WeightsFacts"]


@dataclass(frozen=True, slots=True)
class WeightsFacts:
    """A checkpoint file, read without unpickling anything.

    Args:
        key: Key path that names it.
        path: From the root.
        exists: Whether it is there.
        format: `safetensors`, `torch zip`, `pickle` or `unknown`.
        tensors: Number of tensors, `None` where only loading would tell.
        problem: Why it cannot be used, `""` when nothing was found.
        nearby: Checkpoints in the same folder.
    """

    key: str
    path: str
    exists: bool
    format: str = "unknown"
    tensors: int | None = None
    problem: str = ""
    nearby: tuple[str, ...] = ()


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
    """

    part: str
    key: str
    source: str
    loaded: int
    total: int
    missing: tuple[str, ...] = ()
    frozen: bool = False
