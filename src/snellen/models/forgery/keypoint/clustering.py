"""Groups of neighbouring matches that agree on one transform."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from snellen.models.forgery.keypoint.features import FloatArray
from snellen.models.forgery.keypoint.matching import Matches

__all__ = ["agreement", "evidence"]

_BLOCK = 256


def agreement(matches: Matches, radius: float) -> npt.NDArray[np.bool_]:
    """Which match predicts which: element `(i, j)` is true where the transform of `i` carries `j` to its copy.

    One SIFT match fixes a similarity. Its angle and scale are off by some per cent, so the tolerance grows with the
    distance; beyond `radius` pixels, and within three, a match says nothing about the other.
    """
    count = len(matches)
    result = np.zeros((count, count), np.bool_)
    for start in range(0, count, _BLOCK):
        part = slice(start, min(start + _BLOCK, count))
        step = matches.source[None, :] - matches.source[part, None]
        landing = matches.copy[None, :] - matches.copy[part, None]
        mirrored = matches.mirrored[part, None]
        error = np.abs(landing - matches.linear[part, None] * np.where(mirrored, step.conj(), step))
        distance = np.abs(step)
        result[part] = (
            (error < 1.5 + 0.1 * distance)
            & (distance < radius)
            & (distance > 3.0)
            & (np.abs(landing) > 3.0)
            & (matches.mirrored[None, :] == mirrored)
        )
    return result


def evidence(correlation: FloatArray) -> FloatArray:
    """Weight of a match: the ratio of signal to noise that its correlation implies, at most 50.

    An exact copy correlates at 0.99 and more, a similar object at 0.9: nearly the same number, ten times the evidence.
    """
    squared = np.clip(correlation, 0.0, 1.0) ** 2
    return squared / (1.0 - squared + 0.02)
