"""Dense verification: from a transform and a few matches to the exact pixels that it copies."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from snellen.models.forgery.detection import Area, BoolMask
from snellen.models.forgery.keypoint.correlation import Box, Matrix, Residual, correlation_map
from snellen.models.forgery.keypoint.features import FloatArray
from snellen.models.forgery.keypoint.geometry import to_points
from snellen.models.forgery.keypoint.matching import ComplexArray, Matches

__all__ = ["Candidate", "carry_area", "grow_region"]

_SUPPORT = 0.55
_SEEDED = 2
_ELLIPSE = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
_CROSS = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A transform, the area that it copies, and how well.

    Args:
        matrix: Source to copy.
        source: The area that agrees with its image under `matrix`.
        matches: The matches that follow `matrix` from inside the area.
        precision: Share of the neighbouring, roughly agreeing matches that follow `matrix` to the pixel. A copy moves
            as one; of similar objects only some points happen to fall into line.
        median: Median correlation over the area.
        lower: Lower decile of the correlation over the area.
        hull: Mean correlation inside the convex hull of the matches, whether or not the area includes a pixel.
        quiet: Mean correlation over the third of the area with the least fine detail: grain rather than edges.
        contrast: Mean correlation inside less that in a ring around: a pasted area ends at a line.
        overlap: Share of the area that its own copy covers; only a periodic texture repeats over itself.
        shade: Mean absolute difference, in grey levels, of the blurred image between the area and its copy. A second
            object of the same make never stands in quite the same light.
        dominance: Share of the evidence of all matches that touch the area.
    """

    matrix: Matrix
    source: Area
    matches: Matches
    precision: float
    median: float
    lower: float
    hull: float
    quiet: float
    contrast: float
    overlap: float
    shade: float
    dominance: float


def grow_region(residual: Residual, matrix: Matrix, inliers: Matches, *, precision: float) -> Candidate | None:
    """Grow the area around the inliers over every pixel that agrees with its image under `matrix`.

    The box widens as long as the area touches its border.
    """
    points = to_points(inliers.source)
    margin = int(max(24.0, 0.4 * float(np.ptp(points, axis=0).max(initial=0.0))))
    for _ in range(4):
        box = _box_around(points, margin, residual.values.shape)
        correlation, energy = correlation_map(residual, matrix, box)
        labels = _components(correlation)
        inside = np.round(points).astype(np.intp) - [box[0], box[1]]
        hits = labels[inside[:, 1], inside[:, 0]]
        counts = np.bincount(hits)
        counts[0] = 0
        seeded = np.flatnonzero(counts >= min(_SEEDED, counts.max(initial=0), len(points)))
        seeded = seeded[counts[seeded] > 0]
        region = np.isin(labels, seeded)
        if not _touches_open_border(region, box, residual.values.shape):
            break
        margin *= 2
    if not region.any():
        return None
    return _measure(
        residual, matrix, inliers.take(np.isin(hits, seeded)), box, region, labels, correlation, energy, precision
    )


def _measure(residual, matrix, matches, box, region, labels, correlation, energy, precision):
    values = correlation[region]
    filled = _fill(region)
    informative = energy > 0.3
    detail = energy[region]
    quiet = values[detail <= np.quantile(detail, 0.33)]
    points = np.round(to_points(matches.source) - [box[0], box[1]]).astype(np.int32)
    hull = np.zeros(region.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
    for x, y in points:
        cv2.circle(hull, (int(x), int(y)), 5, 1, cv2.FILLED)
    inside = (hull > 0) & informative
    ring = cv2.dilate(filled.astype(np.uint8), np.ones((15, 15), np.uint8)) > cv2.dilate(
        filled.astype(np.uint8), np.ones((7, 7), np.uint8)
    )
    ring &= informative
    return Candidate(
        matrix,
        Area(box, filled),
        matches,
        precision,
        float(np.median(values)),
        float(np.quantile(values, 0.2)),
        float(correlation[inside].mean()) if inside.any() else 0.0,
        float(quiet.mean()),
        float(values.mean() - (correlation[ring].mean() if ring.any() else 0.0)),
        _self_overlap(matrix, box, np.where(region, labels, 0)),
        _shade(residual.smooth, matrix, box, region),
        0.0,
    )


def carry_area(area: Area, matrix: Matrix, shape: tuple[int, int]) -> Area:
    """The area that `matrix` maps `area` to, cut at the border of an image of `shape`."""
    x0, y0, x1, y1 = area.box
    corners = np.array([[x0, y0, 1], [x1, y0, 1], [x0, y1, 1], [x1, y1, 1]], np.float64) @ matrix.T
    left, top = np.clip(np.floor(corners.min(0)).astype(int), 0, [shape[1] - 1, shape[0] - 1])
    right, bottom = np.clip(np.ceil(corners.max(0)).astype(int) + 1, [left + 1, top + 1], [shape[1], shape[0]])
    local = matrix.copy()
    local[:, 2] += matrix[:, :2] @ np.array([x0, y0], np.float64) - [left, top]
    size = (int(right - left), int(bottom - top))
    warped = cv2.warpAffine(area.mask.astype(np.float32), local, size, flags=cv2.INTER_LINEAR)
    return Area((int(left), int(top), int(right), int(bottom)), warped > 0.5)


def _components(correlation: FloatArray) -> npt.NDArray[np.int32]:
    support = (correlation > _SUPPORT).astype(np.uint8)
    support = cv2.morphologyEx(support, cv2.MORPH_OPEN, _CROSS)
    labels: npt.NDArray[np.int32] = cv2.connectedComponents(support, connectivity=4)[1]
    return labels


def _fill(region: BoolMask) -> BoolMask:
    """Close gaps of a few pixels and fill holes."""
    padded = np.pad(region.astype(np.uint8), 5)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, _ELLIPSE)
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(closed, contours, -1, 1, cv2.FILLED)
    return closed[5:-5, 5:-5] > 0


def _shade(smooth: FloatArray, matrix: Matrix, box: Box, region: BoolMask) -> float:
    x0, y0, x1, y1 = box
    local = matrix.copy()
    local[:, 2] += matrix[:, :2] @ np.array([x0, y0], np.float64)
    warped = cv2.warpAffine(smooth, local, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return float(np.abs(smooth[y0:y1, x0:x1] - warped)[region].mean())


def _self_overlap(matrix: Matrix, box: Box, labels: npt.NDArray[np.int32]) -> float:
    """Largest share of one component that its own copy covers, weighted towards the components that matter."""
    total, covered = 0, 0
    for label in np.unique(labels[labels > 0]):
        mask = labels == label
        local = matrix.copy()
        local[:, 2] += matrix[:, :2] @ np.array([box[0], box[1]], np.float64) - [box[0], box[1]]
        moved = cv2.warpAffine(mask.astype(np.uint8), local, (mask.shape[1], mask.shape[0]), flags=cv2.INTER_NEAREST)
        total += int(mask.sum())
        covered += int((mask & (moved > 0)).sum())
    return covered / max(total, 1)


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
