"""What is measured on a grown area, to tell a copy from a look-alike."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from snellen.models.forgery.detection import Area, BoolMask
from snellen.models.forgery.keypoint.correlation import Box, Matrix, Residual, localised
from snellen.models.forgery.keypoint.features import FloatArray
from snellen.models.forgery.keypoint.geometry import to_points
from snellen.models.forgery.keypoint.matching import Matches

__all__ = ["Candidate", "Growth", "carry_area", "measure"]

# Energy of the fine detail from which a window says anything about agreement.
_INFORMATIVE = 0.3


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
        lower: Lower quintile of the correlation over the area.
        hull: Mean correlation inside the convex hull of the matches, whether or not the area includes a pixel.
        overlap: Share of the area that its own copy covers; only a periodic texture repeats over itself.
        shade: Median absolute difference, in grey levels, of the blurred image between the area and its copy. A second
            object of the same make never stands in quite the same light.
        ground: Share of the area that has one and the same brightness, as paper behind lettering and drawings has.
        dominance: Share of the evidence of all matches that touch the area.
    """

    matrix: Matrix
    source: Area
    matches: Matches
    precision: float
    median: float
    lower: float
    hull: float
    overlap: float
    shade: float
    ground: float
    dominance: float


@dataclass(frozen=True, slots=True)
class Growth:
    """An area as it was grown; all arrays have the shape of the box.

    Args:
        box: Where in the image.
        region: The agreeing pixels.
        labels: Number of the connected component of each of them, 0 elsewhere.
        correlation: Of every pixel of the box with its image.
        energy: Of the fine detail.
    """

    box: Box
    region: BoolMask
    labels: npt.NDArray[np.int32]
    correlation: FloatArray
    energy: FloatArray


def measure(residual: Residual, matrix: Matrix, matches: Matches, grown: Growth, *, precision: float) -> Candidate:
    """Everything that scoring needs to know about an area; its dominance is left at 0 for the caller to fill in."""
    values = grown.correlation[grown.region]
    area = _fill(grown.region)
    return Candidate(
        matrix=matrix,
        source=Area(grown.box, area),
        matches=matches,
        precision=precision,
        median=float(np.median(values)),
        lower=float(np.quantile(values, 0.2)),
        hull=_hull_agreement(grown, matches),
        overlap=_self_overlap(matrix, grown.box, grown.labels),
        shade=_shade(residual.smooth, matrix, grown.box, grown.region),
        ground=_ground(residual, grown.box, area),
        dominance=0.0,
    )


def carry_area(area: Area, matrix: Matrix, shape: tuple[int, int]) -> Area:
    """The area that `matrix` maps `area` to, cut at the border of an image of `shape`."""
    x0, y0, x1, y1 = area.box
    corners = np.array([[x0, y0, 1], [x1, y0, 1], [x0, y1, 1], [x1, y1, 1]], np.float64) @ matrix.T
    left, top = np.clip(np.floor(corners.min(0)).astype(int), 0, [shape[1] - 1, shape[0] - 1])
    right, bottom = np.clip(np.ceil(corners.max(0)).astype(int) + 1, [left + 1, top + 1], [shape[1], shape[0]])
    local = localised(matrix, area.box, into=(int(left), int(top)))
    size = (int(right - left), int(bottom - top))
    warped = cv2.warpAffine(area.mask.astype(np.float32), local, size, flags=cv2.INTER_LINEAR)
    return Area((int(left), int(top), int(right), int(bottom)), warped > 0.5)


def _fill(region: BoolMask) -> BoolMask:
    """Close gaps of a few pixels and fill holes."""
    padded = np.pad(region.astype(np.uint8), 5)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9)))
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(closed, contours, -1, 1, cv2.FILLED)
    return closed[5:-5, 5:-5] > 0


def _hull_agreement(grown: Growth, matches: Matches) -> float:
    points = np.round(to_points(matches.source) - [grown.box[0], grown.box[1]]).astype(np.int32)
    hull = np.zeros(grown.region.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
    for x, y in points.tolist():
        cv2.circle(hull, (x, y), 5, 1, cv2.FILLED)
    inside = (hull > 0) & (grown.energy > _INFORMATIVE)
    return float(grown.correlation[inside].mean()) if inside.any() else 0.0


def _shade(smooth: FloatArray, matrix: Matrix, box: Box, region: BoolMask) -> float:
    x0, y0, x1, y1 = box
    warped = cv2.warpAffine(
        smooth, localised(matrix, box, into=(0, 0)), (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    return float(np.median(np.abs(smooth[y0:y1, x0:x1] - warped)[region]))


def _ground(residual: Residual, box: Box, area: BoolMask) -> float:
    x0, y0, x1, y1 = box
    grey = (residual.values[y0:y1, x0:x1] + residual.smooth[y0:y1, x0:x1])[area]
    counts = np.bincount(np.clip(np.rint(grey), 0, 255).astype(np.intp), minlength=256)
    return float(np.convolve(counts, [1, 1, 1]).max() / counts.sum())


def _self_overlap(matrix: Matrix, box: Box, labels: npt.NDArray[np.int32]) -> float:
    """Share of the components that their own copies cover, each component by itself."""
    total, covered = 0, 0
    local = localised(matrix, box, into=(box[0], box[1]))
    for label in np.unique(labels[labels > 0]):
        mask = labels == label
        moved = cv2.warpAffine(mask.astype(np.uint8), local, (mask.shape[1], mask.shape[0]), flags=cv2.INTER_NEAREST)
        total += int(mask.sum())
        covered += int((mask & (moved > 0)).sum())
    return covered / max(total, 1)
