"""The second look: copies that are equal value for value, however small or smooth, without any keypoint.

A smooth wall or a patch of a dozen pixels carries no keypoints, but pixels that were copied and neither resampled nor
compressed since are found by comparing all small blocks of the image at once. Blocks that agree on a transform vote
for it; what gets enough votes goes through the same verification as a match of keypoints.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from snellen.models.forgery.detection import Area, ImageArray
from snellen.models.forgery.keypoint.blocks import BlockPairs, repeated_blocks
from snellen.models.forgery.keypoint.correlation import Matrix, Residual
from snellen.models.forgery.keypoint.matching import Matches
from snellen.models.forgery.keypoint.measuring import Candidate
from snellen.models.forgery.keypoint.verification import grow_region

__all__ = ["equal_areas"]

# Blocks that must agree before a transform is looked at: a copy of about 14 x 14 pixels.
_LEAST_BLOCKS = 48
_LEAST_VOTES = 6
# Transforms about as strong as each other above which they are a pattern.
_MOST_ALIKE = 16
_MOST_TRANSFORMS = 12
# A grid shows when so many other transforms share a remainder.
_GRID = 5
_REACH = 65536
_RAISED = 4.0


def equal_areas(image: ImageArray, residual: Residual, *, least_distance: float) -> list[Candidate]:
    """Verified areas that occur twice value for value.

    Args:
        image: RGB, shape `(height, width, 3)`.
        residual: Its fine detail, in the same pixels.
        least_distance: Between an area and its copy, in pixels.
    """
    proposals = [
        (matrix, _thinned(pairs, members))
        for pairs in repeated_blocks(image, least_distance=least_distance)
        for matrix, members in _transforms(pairs)
    ]
    if not proposals:
        return []
    # Between equal values the noise of rounding is equal too and counts as detail, so the floor under it is lowered.
    sharp = replace(residual, values=_RAISED * residual.values, energy=_RAISED**2 * residual.energy)
    grown = [grow_region(sharp, matrix, matches, precision=1.0) for matrix, matches in proposals]
    # Equal values leave no evidence for a rival. A smooth wall is of nearly one brightness, but only paper is of one.
    return [
        replace(candidate, dominance=1.0, ground=_unvaried(image, candidate.source))
        for candidate in grown
        if candidate is not None
    ]


def _unvaried(image: ImageArray, area: Area) -> float:
    """Share of an area whose pixels equal all their neighbours."""
    x0, y0, x1, y1 = area.box
    spread = cv2.morphologyEx(image[y0:y1, x0:x1], cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return float((spread.max(2)[area.mask] == 0).mean())


def _transforms(pairs: BlockPairs) -> Iterator[tuple[Matrix, npt.NDArray[np.bool_]]]:
    """The transforms that enough pairs agree on, with their pairs."""
    linear = pairs.symmetry.matrix
    points = np.stack([pairs.first.real, pairs.first.imag])
    moved = np.stack([pairs.second.real, pairs.second.imag]) - linear @ points
    step = np.rint(moved).astype(np.int64)
    code = step[0] * _REACH + step[1]
    codes, votes = np.unique(code, return_counts=True)
    order = np.argsort(-votes, kind="stable")[:_MOST_TRANSFORMS]
    least = max(_LEAST_VOTES, _LEAST_BLOCKS * pairs.rate)
    rows = np.rint(codes / _REACH).astype(np.int64)
    steps = np.stack([rows, codes - rows * _REACH], axis=1)
    for best in order:
        if votes[best] < least or np.count_nonzero(2 * votes >= votes[best]) > _MOST_ALIKE or _on_grid(steps, best):
            continue
        yield np.column_stack([linear, steps[best].astype(np.float64)]), code == codes[best]


def _on_grid(steps: npt.NDArray[np.int64], chosen: int) -> bool:
    """Whether the transform is one of many that differ by multiples of a block of compression.

    Smooth blocks of a JPEG file are few numbers each and recur by chance, always at multiples of eight pixels, or of
    four after the image was halved.
    """
    for grid in (8, 4):
        alike = ((steps - steps[chosen]) % grid == 0).all(1)
        others = int(alike.sum()) - 1
        if others >= _GRID and others > (len(steps) - 1) / 2:
            return True
    return False


def _thinned(pairs: BlockPairs, members: npt.NDArray[np.bool_]) -> Matches:
    """One pair of every cell of the size of a block, as a match: overlapping blocks are no further evidence."""
    first, second = pairs.first[members], pairs.second[members]
    cell = np.floor(first.real / 8) * _REACH + np.floor(first.imag / 8)
    keep = np.unique(cell, return_index=True)[1]
    first, second = first[keep], second[keep]
    count = len(first)
    return Matches(
        first,
        second,
        np.full(count, pairs.symmetry.linear, np.complex64),
        np.full(count, pairs.symmetry.mirrored),
        np.ones(count, np.float32),
    )
