"""How long a step takes, from its operations and the bytes that it moves: a range, and what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from snellen.estimate.devices import Device

__all__ = ["Duration", "RunTime", "run_time", "step_duration"]

_LAUNCH: Final = 6e-6
"""Seconds between the starts of two kernels that Python launches."""
_FAST: Final = (0.75, 0.9)
"""Share of peak arithmetic and of bandwidth that well-shaped operators reach."""
_SLOW: Final = (0.25, 0.45)


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds of one step.

    Args:
        low: When operators reach three quarters of the peak.
        high: When they reach a quarter.
        bound: What takes most of the time: `arithmetic`, `memory` or `launches`.
    """

    low: float
    high: float
    bound: str


def step_duration(operators: Sequence[tuple[int, int]], device: Device, *, half: bool) -> Duration | None:
    """Seconds of a step, `None` when the device's speed is not known.

    Every operator takes the longest of its arithmetic at peak speed, its bytes at full bandwidth, and one launch
    (the roofline of Williams et al., Communications of the ACM 52(4), 2009).

    Args:
        operators: Operations and bytes of each.
        device: Where.
        half: Whether matrix products and convolutions run in half precision.
    """
    peak = device.teraflops.get("half" if half else "fp32")
    if not peak or not device.bandwidth:
        return None
    low = high = 0.0
    bounds = {"arithmetic": 0.0, "memory": 0.0, "launches": 0.0}
    for flops, moved in operators:
        arithmetic, memory = flops / (peak * 1e12), moved / device.bandwidth
        low += max(arithmetic / _FAST[0], memory / _FAST[1], _LAUNCH / 2)
        slow = {"arithmetic": arithmetic / _SLOW[0], "memory": memory / _SLOW[1], "launches": _LAUNCH * 2}
        longest = max(slow, key=lambda name: slow[name])
        bounds[longest] += slow[longest]
        high += slow[longest]
    return Duration(low, high, max(bounds, key=lambda name: bounds[name]))


@dataclass(frozen=True, slots=True)
class RunTime:
    """Time of a whole run: least and most.

    Args:
        step: Seconds of an optimiser step, with the wait for its samples.
        hours: The run.
        bound: What takes most of a step; `loading` when the device waits for samples.
    """

    step: tuple[float, float]
    hours: tuple[float, float]
    bound: str


def run_time(
    step: Duration,
    *,
    loading: tuple[float, float],
    beside: bool,
    steps: int,
    validation: tuple[float, float],
    evaluations: int,
) -> RunTime:
    """Hours of a run.

    Args:
        step: Of the device.
        loading: Seconds until the samples of a step are loaded, by all loader processes together.
        beside: Whether they are loaded while the device computes.
        steps: Optimiser steps.
        validation: Seconds of an evaluation.
        evaluations: How often that is.

    Example:
        >>> time = run_time(Duration(0.1, 0.2, "memory"), loading=(0.3, 0.4), beside=True, steps=36000,
        ...     validation=(0.0, 0.0), evaluations=0)
        >>> time.hours, time.bound
        ((3.0, 4.0), 'loading')
    """
    join = max if beside else _sum
    low, high = join(step.low, loading[0]), join(step.high, loading[1])
    bound = "loading" if sum(loading) > step.low + step.high else step.bound
    hours = tuple(
        (steps * each + evaluations * evaluation) / 3600
        for each, evaluation in zip((low, high), validation, strict=True)
    )
    return RunTime((low, high), (hours[0], hours[1]), bound)


def _sum(one: float, other: float) -> float:
    return one + other
