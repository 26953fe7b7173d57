"""How sure a figure is: seeded bootstrap intervals over images, computed with weights instead of copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Interval", "Statistic", "area_under_curve", "bootstrap", "f1_of", "mean_of", "ratio_of"]

Floats = npt.NDArray[np.float64]

Statistic = Callable[[Floats], Floats]
"""Takes weights of shape `(resamples, images)` and gives one figure for each row; NaN where it is undefined."""

_CELLS = 4_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and the interval in which it lies with 95% confidence; all NaN where it is undefined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(
    statistic: Statistic,
    images: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    groups: npt.NDArray[np.integer] | None = None,
) -> Interval:
    """Percentile bootstrap over images, or over groups of images that depend on each other.

    The same number of images and the same seed always give the same resamples, so that figures of two detectors on
    the same images can be subtracted inside `statistic`: that is the paired bootstrap.

    Args:
        statistic: The figure.
        images: Number of images; with none, everything is NaN.
        resamples: Number of resamples.
        seed: Seed of the resamples.
        level: Confidence.
        groups: Number of each image's group, from 0: whole groups are drawn then (episodes, videos, patients).

    Returns:
        The figure of all images, and its percentile interval; resamples where the figure is undefined are left out.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.

    Example:
        >>> print(bootstrap(mean_of(np.array([0.0, 1.0, 1.0, 1.0])), 4))
        0.750 [0.250, 1.000]
    """
    if images == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    value = float(statistic(np.ones((1, images)))[0])
    figures = np.concatenate([statistic(weights) for weights in _weights(images, resamples, seed, groups)])
    figures = figures[~np.isnan(figures)]
    if not figures.size:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(figures, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def mean_of(values: npt.NDArray[np.floating]) -> Statistic:
    """Mean over images; shape of `values`: `(images,)`."""

    def statistic(weights: Floats) -> Floats:
        return np.asarray(weights @ values / weights.sum(axis=1))

    return statistic


def ratio_of(numerator: npt.NDArray[np.number], denominator: npt.NDArray[np.number], *, empty: float) -> Statistic:
    """Sum of one count over the sum of another; `empty` where the denominator is 0."""

    def statistic(weights: Floats) -> Floats:
        above, below = weights @ numerator.astype(np.float64), weights @ denominator.astype(np.float64)
        return np.where(below > 0, above / np.maximum(below, 1e-300), empty)

    return statistic


def f1_of(predicted: npt.NDArray[np.bool_], actual: npt.NDArray[np.bool_]) -> Statistic:
    """F1 of yes and no for each image; 1 where neither is ever yes."""
    hits = (predicted & actual).astype(np.float64)
    return ratio_of(2 * hits, predicted.astype(np.float64) + actual.astype(np.float64), empty=1.0)


def area_under_curve(scores: npt.NDArray[np.floating], actual: npt.NDArray[np.bool_]) -> Statistic:
    """Area under the ROC curve, exact: the share of pairs in the right order, ties counting half; NaN with one class.

    Source: Hanley and McNeil, The meaning and use of the area under a ROC curve, Radiology 1982.

    Example:
        >>> statistic = area_under_curve(np.array([0.9, 0.8, 0.8, 0.1]), np.array([True, True, False, False]))
        >>> statistic(np.ones((1, 4)))
        array([0.875])
    """
    order = np.argsort(scores, kind="stable")
    ordered, positive = scores[order], actual[order].astype(np.float64)
    starts = np.flatnonzero(np.diff(ordered, prepend=np.nan) != 0) if len(ordered) else np.zeros(0, dtype=np.int64)

    def statistic(weights: Floats) -> Floats:
        if not len(ordered):
            return np.full(len(weights), np.nan)
        positives = np.add.reduceat(weights[:, order] * positive, starts, axis=1)
        negatives = np.add.reduceat(weights[:, order] * (1 - positive), starts, axis=1)
        below = np.cumsum(negatives, axis=1) - negatives
        pairs = positives.sum(axis=1) * negatives.sum(axis=1)
        right = (positives * (below + negatives / 2)).sum(axis=1)
        return np.where(pairs > 0, right / np.maximum(pairs, 1e-300), np.nan)

    return statistic


def _weights(images: int, resamples: int, seed: int, groups: npt.NDArray[np.integer] | None = None) -> Iterator[Floats]:
    generator = np.random.default_rng(seed)
    units = images if groups is None else int(groups.max()) + 1
    at_once = max(1, _CELLS // images)
    for first in range(0, resamples, at_once):
        rows = min(at_once, resamples - first)
        drawn = generator.integers(0, units, size=(rows, units)) + np.arange(rows)[:, None] * units
        weights = np.bincount(drawn.reshape(-1), minlength=rows * units).reshape(rows, units).astype(np.float64)
        yield weights if groups is None else weights[:, groups]
