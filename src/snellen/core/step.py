"""The evidence that a rule's during facet is given: what one optimiser step is about to do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from snellen.core.finding import Finding

__all__ = ["Action", "Step", "StepObserver", "Verdict"]


class Action(StrEnum):
    """What the engine is asked to do with the step; the worst of all verdicts wins.

    `SKIP` and `ROLLBACK` are for healing; an engine that cannot heal treats them as `STOP` and says so.
    """

    CONTINUE = "continue"
    SKIP = "skip"
    ROLLBACK = "rollback"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Step:
    """Facts of one optimiser step, reduced over all ranks, before the optimiser has run.

    Args:
        epoch: From 0.
        step: Optimiser steps done so far, from 0.
        loss: Mean loss over the accumulated micro-batches; may be NaN or Inf.
        gradient_norm: L2 norm over all gradients before clipping; may be NaN or Inf, `None` when not measured.
        lr: Learning rate of the first parameter group.
        precision: `fp32`, `fp16` or `bf16`.
        loss_scale: The fp16 loss scale, `None` without scaling.
        files: Sources of the samples on this rank.
        logs: Further numbers of the task.
        seconds: Time by phase of the step before this one.
        memory_bytes: Peak device memory so far, `None` when unknown.
        evaluation: Figures of the last evaluation; empty before the first.
        about: What is trained, in words of the task: `{"model": "resnet18", "start": "random"}`.
        cache: Of the cache of decoded samples, since the run started: `hits`, `misses`, and how many `items` it holds
            of how many `slots`; empty without one.
    """

    epoch: int
    step: int
    loss: float
    gradient_norm: float | None
    lr: float
    precision: str = "fp32"
    loss_scale: float | None = None
    files: Sequence[str] = ()
    logs: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    memory_bytes: int | None = None
    evaluation: Mapping[str, float] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)
    cache: Mapping[str, int] = field(default_factory=dict)

    @property
    def finite(self) -> bool:
        """Whether loss and gradient norm are both finite."""
        return math.isfinite(self.loss) and (self.gradient_norm is None or math.isfinite(self.gradient_norm))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an observer thinks of a step."""

    action: Action
    finding: Finding


class StepObserver(Protocol):
    """Looks at every step before the optimiser runs."""

    def observe(self, step: Step) -> Sequence[Verdict]:
        """Verdicts on the step; empty when there is nothing to say. Called on every rank with the same facts."""
        ...
