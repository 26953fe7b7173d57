"""Dense verification: from a transform and a few matches to the pixels that it copies."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from snellen.models.forgery.detection import BoolMask
from snellen.models.forgery.keypoint.correlation import Box, Matrix, Residual, correlation_map
from snellen.models.forgery.keypoint.features import FloatArray
from snellen.models.forgery.keypoint.geometry import to_points
from snellen.models.forgery.keypoint.matching import Matches
from snellen.models.forgery.keypoint.measuring import Candidate, Growth, measure

__all__ = ["grow_region"]

# A pixel belongs to the area from this share of the correlation at the matches on, within these limits.
_SHARE = 0.78
_SUPPORT = (0.55, 0.76)
_SEEDS = 2
_WIDENINGS = 4


def grow_region(residual: Residual, matrix: Matrix, inliers: Matches, *, precision: float) -> Candidate | None:
    """Grow the area around the matches over every pixel that agrees with its image under `matrix`.

    Args:
        residual: Fine detail of the image.
        matrix: Source to copy.
        inliers: Matches that follow it.
        precision: Share of the neighbouring matches that do.

    Returns:
        The area and how well it agrees, or `None` where no match is on agreeing pixels.
    """
    points = to_points(inliers.source)
    margin = int(max(24.0, 0.4 * float(np.ptp(points, axis=0).max(initial=0.0))))
    for _ in range(_WIDENINGS):
        box = _box_around(points, margin, residual.values.shape)
        correlation, energy = correlation_map(residual, matrix, box)
        inside = np.round(points).astype(np.intp) - [box[0], box[1]]
        typical = float(np.median(correlation[inside[:, 1], inside[:, 0]]))
        labels = _components(correlation, float(np.clip(_SHARE * typical, *_SUPPORT)))
        hits = labels[inside[:, 1], inside[:, 0]]
        kept = _seeded(hits)
        region = np.isin(labels, kept)
        if not _touches_open_border(region, box, residual.values.shape):
            break
        margin *= 2
    if not region.any():
        return None
    grown = Growth(box, region, np.where(region, labels, 0), correlation, energy)
    return measure(residual, matrix, inliers.take(np.isin(hits, kept)), grown, precision=precision)


def _seeded(hits: npt.NDArray[np.int32]) -> npt.NDArray[np.intp]:
    """Labels of the components that hold enough matches; where none does, those that hold the most."""
    counts = np.bincount(hits)
    counts[0] = 0
    return np.flatnonzero((counts > 0) & (counts >= min(_SEEDS, int(counts.max(initial=0)))))


def _components(correlation: FloatArray, support: float) -> npt.NDArray[np.int32]:
    agreeing = (correlation > support).astype(np.uint8)
    opened = cv2.morphologyEx(agreeing, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return np.asarray(cv2.connectedComponents(opened, connectivity=4)[1], np.int32)


def _box_around(points: FloatArray, margin: int, shape: tuple[int, ...]) -> Box:
    low = np.maximum(np.floor(points.min(0)).astype(int) - margin, 0)
    high = np.minimum(np.ceil(points.max(0)).astype(int) + margin + 1, [shape[1], shape[0]])
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _touches_open_border(region: BoolMask, box: Box, shape: tuple[int, ...]) -> bool:
    x0, y0, x1, y1 = box
    return bool(
        (x0 > 0 and region[:, 0].any())
        or (y0 > 0 and region[0].any())
        or (x1 < shape[1] and region[:, -1].any())
        or (y1 < shape[0] and region[-1].any())
    )
