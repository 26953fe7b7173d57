"""The fact `weights`: checkpoint files that a run file names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from snellen.core.checkpoints import inspect_weights
from snellen.core.facts.paths import PathFacts
from snellen.core.facts.weights import WeightsFacts
from snellen.core.file_kinds import is_weights
from snellen.core.plan import Plan

__all__ = ["provide_weights"]

_KEYS = ("weights", "checkpoint")


def provide_weights(plan: Plan) -> tuple[WeightsFacts, ...]:
    """The fact `weights`: every checkpoint that the run file names."""
    paths: Sequence[PathFacts] = plan.fact("paths")
    named = [path for path in paths if path.key.rpartition(".")[2] in _KEYS or is_weights(path.given)]
    return tuple(inspect_weights(path.key, Path(path.path)) for path in named)
