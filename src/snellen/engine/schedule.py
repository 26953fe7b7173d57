"""Learning rates as pure functions of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import math

from snellen.engine.settings import TrainSettings

__all__ = ["constant", "cosine", "learning_rate_factor", "one_cycle"]

_ONE_CYCLE_START = 1 / 25
_ONE_CYCLE_END = _ONE_CYCLE_START / 1e4


def learning_rate_factor(settings: TrainSettings, step: int, *, steps: int) -> float:
    """Share of its peak that every learning rate has in one optimiser step.

    Args:
        settings: Which course, and how long it rises.
        step: Optimiser steps done before this one, from 0.
        steps: Optimiser steps of the whole run.

    Example:
        >>> settings = TrainSettings(schedule="constant", warmup_fraction=0.5)
        >>> [learning_rate_factor(settings, step, steps=8) for step in (0, 3, 4, 7)]
        [0.25, 1.0, 1.0, 1.0]
    """
    rising = settings.warmup_fraction * steps if settings.warmup_steps is None else settings.warmup_steps
    if settings.schedule == "cosine":
        return cosine(step, steps=steps, rising=round(rising))
    if settings.schedule == "one-cycle":
        return one_cycle(step, steps=steps, rising=rising)
    return constant(step, rising=round(rising))


def constant(step: int, *, rising: int) -> float:
    """Share of the peak: a linear rise over `rising` steps, then 1."""
    return min((step + 1) / rising, 1.0) if rising else 1.0


def cosine(step: int, *, steps: int, rising: int) -> float:
    """Share of the peak: a linear rise over `rising` steps, then half a cosine down to 0 after `steps`.

    Source: Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, 2017, equation 5.

    Example:
        >>> [round(cosine(step, steps=6, rising=2), 3) for step in range(6)]
        [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    """
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(steps - rising, 1)
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def one_cycle(step: int, *, steps: int, rising: float) -> float:
    """Share of the peak: half a cosine from 1/25 up to 1, then half a cosine down to 1/250,000.

    Source: Smith and Topin, Super-convergence, 2018, in the two-phase form of PyTorch's `OneCycleLR`.

    Example:
        >>> [round(one_cycle(step, steps=5, rising=2), 3) for step in range(5)]
        [0.04, 1.0, 0.75, 0.25, 0.0]
    """
    top, last = rising - 1, steps - 1
    if step <= top and top > 0:
        return _between(_ONE_CYCLE_START, 1.0, step / top)
    return _between(1.0, _ONE_CYCLE_END, max(0.0, min((step - top) / max(last - top, 1e-9), 1.0)))


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
