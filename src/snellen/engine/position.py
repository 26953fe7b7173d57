"""Where a run is: everything about its progress that is not a tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

__all__ = ["Position"]


@dataclass(slots=True)
class Position:
    """The place of a run between two optimiser steps.

    Args:
        step: Optimiser steps done.
        epoch: The epoch that is running, from 0.
        step_in_epoch: Steps of it that are done.
        best: Best headline metric so far, `None` before the first.
        best_step: Where it was.
        worse: Evaluations since then without a better one.
        overflows: Overflowed fp16 steps in a row.
        recoveries: Steps that were not finite and from which the run went on.
        slowed: Share of the scheduled learning rate that is left after those.
        seconds: Time spent so far, over all resumes.
        metrics: Of the last evaluation.
    """

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    best: float | None = None
    best_step: int = 0
    worse: int = 0
    overflows: int = 0
    recoveries: int = 0
    slowed: float = 1.0
    seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)

    def take(self, value: float, mode: Literal["max", "min"]) -> bool:
        """Count an evaluation; returns whether it is the best so far. NaN never is.

        Example:
            >>> position = Position()
            >>> [position.take(value, "max") for value in (0.5, float("nan"), 0.6)], position.worse
            ([True, False, True], 0)
        """
        better = not math.isnan(value) and (
            self.best is None or (value > self.best if mode == "max" else value < self.best)
        )
        if better:
            self.best, self.best_step, self.worse = value, self.step, 0
        else:
            self.worse += 1
        return better

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The position that `to_dict` was called on; of an older version, what it did not count is at its start."""
        return cls(**{entry.name: data[entry.name] for entry in fields(cls) if entry.name in data})
