"""Random numbers that depend on where the run is and on nothing else.

Instead of carrying generator states through checkpoints, every sample and every optimiser step seeds the generators of
python, numpy and torch from `(seed, purpose, position)`. So a run that was killed, resumed, given more or fewer loader
processes, or evaluated in between draws the same numbers as one that was not, and a captured step can be replayed.
"""

from __future__ import annotations

import contextlib
import enum
import random
from collections.abc import Iterator

import numpy as np
import torch

__all__ = ["Purpose", "keep_random_state", "mix", "seed_all", "seed_host"]

_MASK = (1 << 64) - 1


class Purpose(enum.IntEnum):
    """What random numbers are for; the same position draws others for another purpose."""

    ORDER = 0
    TRAINING_SAMPLE = 1
    EVALUATION_SAMPLE = 2
    STEP = 3
    MODEL = 4
    EVALUATION = 5


def mix(*values: int) -> int:
    """Hash integers into 64 well-mixed bits; the order counts.

    Source: the finaliser of SplitMix64 (Steele, Lea and Flood 2014).

    Example:
        >>> mix(0, 1) != mix(1, 0)
        True
    """
    state = 0x9E3779B97F4A7C15
    for value in values:
        state = (state ^ (value & _MASK)) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state = ((state ^ (state >> 31)) + 0x9E3779B97F4A7C15) & _MASK
    return state


def seed_host(*values: int) -> None:
    """Seed python, numpy and torch's CPU generator; what a sample's transforms draw from."""
    bits = mix(*values)
    random.seed(bits)
    np.random.seed(bits & 0xFFFFFFFF)  # noqa: NPY002 - augmentations of the field still draw from the global state
    torch.default_generator.manual_seed(bits)


def seed_all(*values: int) -> None:
    """As `seed_host`, and the generators of every accelerator that is in use."""
    seed_host(*values)
    bits = mix(*values)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(bits)
    elif torch.backends.mps.is_available():
        torch.mps.manual_seed(bits & 0x7FFFFFFF)


@contextlib.contextmanager
def keep_random_state() -> Iterator[None]:
    """Give the caller back its own random state afterwards."""
    python, numpy_state, host = random.getstate(), np.random.get_state(), torch.default_generator.get_state()  # noqa: NPY002
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.default_generator.set_state(host)
        if devices:
            torch.cuda.set_rng_state_all(devices)
