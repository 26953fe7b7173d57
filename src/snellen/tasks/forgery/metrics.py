"""Scores of a forgery detector: per pixel, per image, pooled, with intervals; images pass by one at a time.

Conventions where a ratio is 0 / 0. Truth and prediction both empty: F1, IoU, precision and recall are 1, for nothing
was to be found and nothing was claimed. Only one of them empty: all four are 0. The area under the ROC curve of images
of one class is NaN.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from snellen.errors import DataError
from snellen.ops.bootstrap import (
    Interval,
    Statistic,
    area_under_curve,
    bootstrap,
    f1_of,
    mean_of,
    ratio_of,
)
from snellen.tasks.forgery.sweep import ThresholdSweep

__all__ = [
    "ErrorGallery",
    "ForgeryMetrics",
    "ForgerySummary",
    "ImageRow",
    "Interval",
    "PixelMetric",
    "ThresholdSweep",
    "compare",
    "pixel_scores",
]

PixelMetric = Literal["f1", "iou", "precision", "recall"]
_METRICS: tuple[PixelMetric, ...] = get_args(PixelMetric)


@dataclass(frozen=True, slots=True)
class ImageRow:
    """The scores of one image.

    Args:
        name: The image.
        forged: Whether it is.
        score: Image score of the detector; without one, 1.0 or 0.0 after whether anything was marked.
        flagged: Whether the detector calls it forged.
        hits: Pixels marked and altered; 0 in these three when the image has no true mask.
        false_pixels: Pixels marked and untouched.
        missed_pixels: Pixels altered and not marked.
        scores: F1, IoU, precision and recall, 0 to 1; empty when the image has no true mask.
    """

    name: str
    forged: bool
    score: float
    flagged: bool
    hits: int
    false_pixels: int
    missed_pixels: int
    scores: dict[PixelMetric, float]


@dataclass(frozen=True, slots=True)
class ErrorGallery:
    """The images worth looking at, the worst first.

    Args:
        false_alarms: Authentic images that were flagged, the most pixels first.
        misses: Forged images that were not flagged, the most altered pixels first.
        poor_masks: Forged images that were flagged, the lowest F1 first.
    """

    false_alarms: tuple[ImageRow, ...]
    misses: tuple[ImageRow, ...]
    poor_masks: tuple[ImageRow, ...]


@dataclass(frozen=True, slots=True)
class ForgerySummary:
    """The figures of a detector on a set of images.

    Args:
        images: Number of images.
        forged: How many of them are forged.
        with_mask: How many have a true mask; the next three are over these.
        mean: Mean over images, authentic ones included.
        mean_forged: Mean over forged images.
        pooled: From the counts of all pixels together.
        image_f1: F1 of the verdicts on whole images.
        detection_rate: Share of forged images that were flagged; NaN without one.
        false_alarm_rate: Share of authentic images that were flagged; NaN without one.
        image_auc: Area under the ROC curve of the image scores; NaN with one class only.
        sweep: F1 at every threshold; `None` when no heatmap was given.
    """

    images: int
    forged: int
    with_mask: int
    mean: dict[PixelMetric, Interval]
    mean_forged: dict[PixelMetric, Interval]
    pooled: dict[PixelMetric, Interval]
    image_f1: Interval
    detection_rate: Interval
    false_alarm_rate: Interval
    image_auc: Interval
    sweep: ThresholdSweep | None


def pixel_scores(hits: int, false_pixels: int, missed_pixels: int) -> dict[PixelMetric, float]:
    """F1, IoU, precision and recall from pixel counts; see the module for empty masks.

    Example:
        >>> pixel_scores(2, 1, 1)["iou"], pixel_scores(0, 0, 0)["f1"], pixel_scores(0, 0, 9)["precision"]
        (0.5, 1.0, 0.0)
    """
    if hits == 0:
        return dict.fromkeys(_METRICS, 1.0 if false_pixels == missed_pixels == 0 else 0.0)
    return {
        "f1": 2 * hits / (2 * hits + false_pixels + missed_pixels),
        "iou": hits / (hits + false_pixels + missed_pixels),
        "precision": hits / (hits + false_pixels),
        "recall": hits / (hits + missed_pixels),
    }


class ForgeryMetrics:
    """Collects the results of a detector, image by image; of each image a few numbers are kept.

    Args:
        threshold: Heatmap value from which a pixel counts as marked when no mask is given.
        score_threshold: Image score from which an image counts as flagged; without it, one in which anything is marked.

    Example:
        >>> metrics = ForgeryMetrics()
        >>> truth = np.zeros((8, 8), dtype=bool)
        >>> truth[:4] = True
        >>> row = metrics.update("a", truth=truth, mask=np.ones((8, 8), dtype=bool))
        >>> round(row.scores["f1"], 3), metrics.compute(resamples=10).pooled["iou"].value
        (0.667, 0.5)
    """

    def __init__(self, *, threshold: float = 0.5, score_threshold: float | None = None) -> None:
        self._threshold = threshold
        self._score_threshold = score_threshold
        self._rows: dict[str, ImageRow] = {}
        self._sweep: ThresholdSweep | None = None

    @property
    def rows(self) -> tuple[ImageRow, ...]:
        """One row for each image, in the order they came: the per-image table."""
        return tuple(self._rows.values())

    def update(
        self,
        name: str,
        *,
        mask: npt.NDArray[np.bool_] | None = None,
        heatmap: npt.NDArray[np.floating[Any]] | None = None,
        truth: npt.NDArray[np.bool_] | None = None,
        forged: bool | None = None,
        score: float | None = None,
    ) -> ImageRow:
        """Add one image.

        Args:
            name: The image, once only.
            mask: Marked pixels, shape `(height, width)`; without it, the heatmap is cut at the threshold.
            heatmap: Probability per pixel, 0 to 1; needed for the threshold sweep.
            truth: Altered pixels; `None` when only `forged` is known.
            forged: Whether the image is forged; without it, whether `truth` has any pixel.
            score: Image score, 0 to 1.

        Raises:
            DataError: The name came before, neither mask nor heatmap is given, shapes differ, the heatmap leaves 0 to
                1, or nothing is said about the truth.
        """
        if name in self._rows:
            raise DataError(f"{name} was scored before; give every image a name of its own")
        mask = self._mask_of(name, mask, heatmap)
        if truth is None and forged is None:
            raise DataError(f"{name} has neither a true mask nor a verdict to be held against")
        counts = (0, 0, 0)
        if truth is not None:
            counts = _counts(name, mask, truth)
            if heatmap is not None:
                self._sweep = (self._sweep or ThresholdSweep()).add(heatmap, truth)
        marked = bool(mask.any())
        score = float(marked) if score is None else float(score)
        flagged = marked if self._score_threshold is None else score >= self._score_threshold
        verdict = bool(truth.any()) if forged is None and truth is not None else bool(forged)
        scores = pixel_scores(*counts) if truth is not None else {}
        row = ImageRow(name, verdict, score, flagged, *counts, scores)
        self._rows[name] = row
        return row

    def compute(self, *, resamples: int = 1000, seed: int = 0) -> ForgerySummary:
        """All figures, each with its 95% bootstrap interval over images."""
        rows = self.rows
        masked = [row for row in rows if row.scores]
        forged_masked = [row for row in masked if row.forged]
        actual = np.array([row.forged for row in rows], dtype=np.bool_)
        flagged = np.array([row.flagged for row in rows], dtype=np.bool_)
        scores = np.array([row.score for row in rows], dtype=np.float64)

        def interval(statistic: Statistic, images: int) -> Interval:
            return bootstrap(statistic, images, resamples=resamples, seed=seed)

        def means(chosen: list[ImageRow]) -> dict[PixelMetric, Interval]:
            return {name: interval(mean_of(_column(chosen, name)), len(chosen)) for name in _METRICS}

        return ForgerySummary(
            images=len(rows),
            forged=int(actual.sum()),
            with_mask=len(masked),
            mean=means(masked),
            mean_forged=means(forged_masked),
            pooled={name: interval(_pooled(masked, name), len(masked)) for name in _METRICS},
            image_f1=interval(f1_of(flagged, actual), len(rows)),
            detection_rate=interval(mean_of(flagged[actual].astype(float)), int(actual.sum())),
            false_alarm_rate=interval(mean_of(flagged[~actual].astype(float)), int((~actual).sum())),
            image_auc=interval(area_under_curve(scores, actual), len(rows)),
            sweep=self._sweep,
        )

    def gallery(self, *, count: int = 8) -> ErrorGallery:
        """The worst errors of each kind, at most `count` each."""
        alarms = [row for row in self.rows if row.flagged and not row.forged]
        misses = [row for row in self.rows if row.forged and not row.flagged]
        poor = [row for row in self.rows if row.forged and row.flagged and row.scores]
        return ErrorGallery(
            tuple(sorted(alarms, key=lambda row: (-row.false_pixels, -row.score, row.name))[:count]),
            tuple(sorted(misses, key=lambda row: (-row.missed_pixels, row.score, row.name))[:count]),
            tuple(sorted(poor, key=lambda row: (row.scores["f1"], row.name))[:count]),
        )

    def _mask_of(
        self, name: str, mask: npt.NDArray[np.bool_] | None, heatmap: npt.NDArray[np.floating[Any]] | None
    ) -> npt.NDArray[np.bool_]:
        if heatmap is not None and (heatmap.size and not (heatmap.min() >= 0 and heatmap.max() <= 1)):
            raise DataError(
                f"the heatmap of {name} spans {heatmap.min()} to {heatmap.max()}, expected 0 to 1 without NaN"
            )
        if mask is None:
            if heatmap is None:
                raise DataError(f"{name} has neither a mask nor a heatmap")
            return np.asarray(heatmap >= self._threshold)
        if heatmap is not None and heatmap.shape != mask.shape:
            raise DataError(f"mask and heatmap of {name} differ in shape: {mask.shape} and {heatmap.shape}")
        return mask


def compare(
    first: Iterable[ImageRow],
    second: Iterable[ImageRow],
    *,
    metric: PixelMetric = "f1",
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Paired bootstrap of the mean over images of `second` minus `first`; above 0, the second is better.

    Args:
        first: Rows of one detector.
        second: Rows of the other on the same images, in any order.
        metric: What is compared; images without a true mask are left out.
        resamples: Number of resamples.
        seed: Seed of the resamples.

    Raises:
        DataError: The two were not scored on the same images.

    Example:
        >>> poor, good = ForgeryMetrics(), ForgeryMetrics()
        >>> truth = np.eye(4, dtype=bool)
        >>> for name in "abc":
        ...     _ = poor.update(name, truth=truth, mask=~truth), good.update(name, truth=truth, mask=truth)
        >>> print(compare(poor.rows, good.rows))
        1.000 [1.000, 1.000]
    """
    before = {row.name: row.scores[metric] for row in first if row.scores}
    after = {row.name: row.scores[metric] for row in second if row.scores}
    if before.keys() != after.keys():
        names = sorted(before.keys() ^ after.keys())
        raise DataError(
            f"the two detectors were not scored on the same images: {len(names)} differ, such as {names[0]}"
        )
    difference = np.array([after[name] - before[name] for name in before])
    return bootstrap(mean_of(difference), len(difference), resamples=resamples, seed=seed)


def _counts(name: str, mask: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> tuple[int, int, int]:
    if mask.shape != truth.shape:
        raise DataError(f"prediction and true mask of {name} differ in shape: {mask.shape} and {truth.shape}")
    if mask.dtype != np.bool_ or truth.dtype != np.bool_:
        raise DataError(f"masks of {name} must be boolean, got {mask.dtype} and {truth.dtype}")
    hits = int(np.count_nonzero(mask & truth))
    return hits, int(np.count_nonzero(mask)) - hits, int(np.count_nonzero(truth)) - hits


def _column(rows: list[ImageRow], name: PixelMetric) -> npt.NDArray[np.float64]:
    return np.array([row.scores[name] for row in rows], dtype=np.float64)


def _pooled(rows: list[ImageRow], name: PixelMetric) -> Statistic:
    hits, false, missed = (
        np.array([getattr(row, field) for row in rows], dtype=np.float64)
        for field in ("hits", "false_pixels", "missed_pixels")
    )
    parts = {
        "f1": (2 * hits, 2 * hits + false + missed),
        "iou": (hits, hits + false + missed),
        "precision": (hits, hits + false),
        "recall": (hits, hits + missed),
    }
    either = ratio_of(false + missed, np.ones_like(hits), empty=0.0)
    plain = ratio_of(*parts[name], empty=0.0)

    def statistic(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        # Nothing to find and nothing claimed in all images together counts as 1, as it does in a single image.
        nothing = (weights @ hits == 0) & (either(weights) == 0)
        return np.where(nothing, 1.0, plain(weights))

    return statistic
