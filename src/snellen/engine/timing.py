"""Seconds by phase of a training step, right on a CUDA device without waiting for it in each phase."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["PhaseTimer"]


@dataclass(frozen=True, slots=True)
class _Mark:
    name: str
    seconds: float
    event: Any


class PhaseTimer:
    """A stopwatch with named phases; each `enter` ends the phase before.

    On a CUDA device a phase lasts as long as the device works, or waits, in it: events are put into its queue, and
    read when they have passed. Elsewhere the clock of the host counts, which on MPS shows work where it is waited for.

    Args:
        device: Where the work is done.

    Example:
        >>> timer = PhaseTimer(torch.device("cpu"))
        >>> timer.enter("forward")
        >>> timer.enter("backward")
        >>> timer.end_step()
        >>> sorted(timer.last)
        ['backward', 'forward']
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._marks: list[_Mark] = []
        self._pending: list[list[_Mark]] = []
        self._totals: dict[str, float] = defaultdict(float)
        self._since: dict[str, float] = defaultdict(float)
        self.last: Mapping[str, float] = {}
        """Seconds by phase of the last step that was read."""

    def enter(self, name: str) -> None:
        """Begin a phase."""
        self._marks.append(self._mark(name))

    def end_step(self) -> None:
        """End the last phase of a step."""
        self._pending.append([*self._marks, self._mark("")])
        self._marks = []
        while self._pending and self._passed(self._pending[0][-1]):
            self._read(self._pending.pop(0))

    def add(self, name: str, seconds: float) -> None:
        """Count time outside of steps, such as evaluation."""
        self._totals[name] += seconds

    def totals(self) -> dict[str, float]:
        """Seconds by phase since the beginning."""
        return dict(self._totals)

    def lap(self) -> dict[str, float]:
        """Seconds by phase of the steps since the last lap."""
        lap = dict(self._since)
        self._since.clear()
        return lap

    def _mark(self, name: str) -> _Mark:
        event = None
        if self._cuda:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
        return _Mark(name, time.perf_counter(), event)

    def _passed(self, mark: _Mark) -> bool:
        return mark.event is None or bool(mark.event.query())

    def _read(self, marks: list[_Mark]) -> None:
        step: dict[str, float] = defaultdict(float)
        for begin, end in itertools.pairwise(marks):
            on_host = begin.event is None
            step[begin.name] += end.seconds - begin.seconds if on_host else begin.event.elapsed_time(end.event) / 1000
        for name, seconds in step.items():
            self._totals[name] += seconds
            self._since[name] += seconds
        self.last = dict(step)
