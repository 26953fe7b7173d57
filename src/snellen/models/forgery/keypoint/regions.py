"""From verified candidates to region pairs in pixels of the image as given."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from snellen.models.forgery.detection import Area, BoolMask, RegionPair
from snellen.models.forgery.keypoint.correlation import Matrix
from snellen.models.forgery.keypoint.geometry import kind_of, to_points
from snellen.models.forgery.keypoint.measuring import Candidate, carry_area
from snellen.models.forgery.keypoint.outline import outline_area

__all__ = ["as_region", "union_of", "without_repeats"]

# Two findings are one when they put the same pixels in the same place to within this many pixels.
_SAME_PLACE = 3.0


def as_region(grey: npt.NDArray[np.uint8], candidate: Candidate, score: float, *, size: tuple[int, int]) -> RegionPair:
    """The pair of areas of a candidate, with exact outlines.

    Args:
        grey: The plane that the candidate was found on.
        candidate: In pixels of `grey`.
        score: Its probability.
        size: `(height, width)` of the image as given, which the answer is for.
    """
    scale = (grey.shape[1] / size[1], grey.shape[0] / size[0])
    source = outline_area(grey.astype(np.float32), candidate.source, candidate.matrix)
    copy = carry_area(source, candidate.matrix, (grey.shape[0], grey.shape[1]))
    matched = np.concatenate([to_points(candidate.matches.source), to_points(candidate.matches.copy)], axis=1)
    matrix = candidate.matrix
    if scale != (1.0, 1.0):
        source, copy = _resized(source, scale, size), _resized(copy, scale, size)
        matrix = _rescaled(matrix, scale)
        matched = ((matched + 0.5) / np.tile(scale, 2) - 0.5).astype(np.float32)
    return RegionPair(source, copy, matrix, kind_of(matrix), score, matched)


def without_repeats(regions: Sequence[RegionPair]) -> tuple[RegionPair, ...]:
    """Best first, each finding once, in whichever direction it was met again."""
    kept: list[RegionPair] = []
    for region in sorted(regions, key=lambda region: -region.score):
        if not any(_says_the_same(region, other) for other in kept):
            kept.append(region)
    return tuple(kept)


def union_of(regions: Sequence[RegionPair], size: tuple[int, int]) -> BoolMask:
    """The mask of all areas, sources and copies alike."""
    mask = np.zeros(size, np.bool_)
    for region in regions:
        for area in (region.source, region.copy):
            x0, y0, x1, y1 = area.box
            mask[y0:y1, x0:x1] |= area.mask
    return mask


def _says_the_same(region: RegionPair, other: RegionPair) -> bool:
    inverse = np.asarray(cv2.invertAffineTransform(other.transform), np.float64)
    for area, matrix in ((other.source, other.transform), (other.copy, inverse)):
        rows, columns = np.nonzero(region.source.mask)
        points = np.stack([columns + region.source.box[0], rows + region.source.box[1], np.ones_like(rows)])
        moved = np.hypot(*((region.transform - matrix) @ points))
        x, y = points[0] - area.box[0], points[1] - area.box[1]
        inside = (x >= 0) & (y >= 0) & (x < area.mask.shape[1]) & (y < area.mask.shape[0])
        inside[inside] = area.mask[y[inside], x[inside]]
        if inside.mean() > 0.5 and np.median(moved) < _SAME_PLACE:
            return True
    return False


def _rescaled(matrix: Matrix, scale: tuple[float, float]) -> Matrix:
    """The same transform in the pixels of an image larger by one over `scale`."""
    shrink = np.array([[scale[0], 0.0, scale[0] / 2 - 0.5], [0.0, scale[1], scale[1] / 2 - 0.5], [0.0, 0.0, 1.0]])
    full = np.linalg.inv(shrink) @ np.vstack([matrix, [0.0, 0.0, 1.0]]) @ shrink
    return np.asarray(full[:2], np.float64)


def _resized(area: Area, scale: tuple[float, float], size: tuple[int, int]) -> Area:
    x0, y0, x1, y1 = area.box
    left, top = min(round(x0 / scale[0]), size[1] - 1), min(round(y0 / scale[1]), size[0] - 1)
    right, bottom = min(round(x1 / scale[0]), size[1]), min(round(y1 / scale[1]), size[0])
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    mask = cv2.resize(area.mask.astype(np.uint8), (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
    return Area((left, top, right, bottom), mask > 0)
