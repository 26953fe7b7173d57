"""Scores at every threshold from histograms of the heatmaps: 257 counts instead of all pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ThresholdSweep"]

_BINS = 256  # a power of two, so that value * bins is exact and the counts are those of value >= threshold
_ROWS = 4_000_000


@dataclass(slots=True)
class ThresholdSweep:
    """Pixel scores for the thresholds 0, 1/256, ... 1: a pixel is marked when its heatmap value is at least as large.

    Args:
        images: Number of images added.
        altered: Altered pixels by heatmap value, all images together.
        untouched: Untouched pixels by heatmap value.
        f1_sum: Sum over images of the F1 at each threshold.

    Example:
        >>> sweep = ThresholdSweep().add(np.array([[0.2, 0.8]]), np.array([[False, True]]))
        >>> sweep.best_threshold, float(sweep.pooled_f1[52])
        (0.203125, 1.0)
    """

    images: int = 0
    altered: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS + 1, dtype=np.int64))
    untouched: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS + 1, dtype=np.int64))
    f1_sum: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(_BINS + 1))

    @property
    def thresholds(self) -> npt.NDArray[np.float64]:
        """The 257 thresholds."""
        return np.arange(_BINS + 1) / _BINS

    @property
    def pooled_f1(self) -> npt.NDArray[np.float64]:
        """F1 of all pixels together, for each threshold."""
        return _f1(self.altered, self.untouched)

    @property
    def mean_f1(self) -> npt.NDArray[np.float64]:
        """Mean over images of the F1, for each threshold."""
        return self.f1_sum / max(self.images, 1)

    @property
    def best_threshold(self) -> float:
        """The lowest threshold with the highest mean F1."""
        return float(self.thresholds[int(np.argmax(self.mean_f1))])

    def add(self, heatmap: npt.NDArray[np.floating[Any]], truth: npt.NDArray[np.bool_]) -> ThresholdSweep:
        """Add an image; values 0 to 1, both of shape `(height, width)`. Returns the sweep itself."""
        altered, untouched = np.zeros_like(self.altered), np.zeros_like(self.untouched)
        values, marks = heatmap.reshape(-1), truth.reshape(-1)
        for first in range(0, values.size, _ROWS):
            places = (values[first : first + _ROWS].astype(np.float64) * _BINS).astype(np.int64)
            mark = marks[first : first + _ROWS]
            altered += np.bincount(places[mark], minlength=_BINS + 1)
            untouched += np.bincount(places[~mark], minlength=_BINS + 1)
        self.images += 1
        self.altered += altered
        self.untouched += untouched
        self.f1_sum += _f1(altered, untouched)
        return self


def _f1(altered: npt.NDArray[np.int64], untouched: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    hits, false = np.cumsum(altered[::-1])[::-1], np.cumsum(untouched[::-1])[::-1]
    total = hits + false + altered.sum()
    return np.where(total > 0, 2 * hits / np.maximum(total, 1), 1.0)
