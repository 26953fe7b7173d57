"""Matching the keypoints of one image with each other, upright and mirrored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from snellen.models.forgery.keypoint.features import Features, FloatArray, mirror_descriptors
from snellen.models.forgery.keypoint.settings import KeypointSettings

__all__ = ["ComplexArray", "IndexArray", "Matches", "match_features"]

ComplexArray = npt.NDArray[np.complex64]
IndexArray = npt.NDArray[np.intp]

_BLOCK = 1024
# Matches per keypoint above which a block is thinned out before anything is sorted.
_DENSEST = 40


@dataclass(frozen=True, slots=True)
class Matches:
    """Pairs of keypoints that look alike. Points are complex numbers `x + iy`, in pixels.

    Each pair stands once, the point further left (then further up) as its source.

    Args:
        source: `(n,)`.
        copy: `(n,)`.
        linear: `(n,)`, scale and rotation from source to copy: `copy_step = linear * source_step`, with
            `source_step` conjugated (mirrored about the x axis) first where `mirrored`.
        mirrored: `(n,)`.
        correlation: `(n,)`, how alike the pair is, at most 1.
    """

    source: ComplexArray
    copy: ComplexArray
    linear: ComplexArray
    mirrored: npt.NDArray[np.bool_]
    correlation: FloatArray

    def __len__(self) -> int:
        return len(self.source)

    def take(self, index: IndexArray | npt.NDArray[np.bool_]) -> Matches:
        """The pairs at `index`."""
        return Matches(
            self.source[index], self.copy[index], self.linear[index], self.mirrored[index], self.correlation[index]
        )


def match_features(features: Features, settings: KeypointSettings) -> Matches:
    """Pairs whose descriptors agree, best first, at most `settings.max_matches` of them.

    A ratio test would lose areas pasted several times and everything that resembles a third place, so each keypoint
    keeps its nearest `settings.neighbours`; what is wrong among them falls to the later stages.
    """
    parts = [
        _pairs(features, features.descriptors, settings),
        _pairs(features, mirror_descriptors(features.descriptors), settings),
    ]
    mirrored = np.repeat([False, True], [len(part[0]) for part in parts])
    first, second, similarity = (np.concatenate([part[k] for part in parts]) for k in range(3))
    order = np.argsort(-similarity, kind="stable")[: settings.max_matches]
    first, second, mirrored = first[order], second[order], mirrored[order]
    points = (features.points[:, 0] + 1j * features.points[:, 1]).astype(np.complex64)
    step = points[second] - points[first]
    swap = (step.real < 0) | ((step.real == 0) & (step.imag < 0))
    first, second = np.where(swap, second, first), np.where(swap, first, second)
    frame = features.frames[first]
    linear = features.frames[second] / np.where(mirrored, frame.conj(), frame)
    return Matches(points[first], points[second], linear.astype(np.complex64), mirrored, similarity[order])


def _pairs(
    features: Features, target: FloatArray, settings: KeypointSettings
) -> tuple[IndexArray, IndexArray, FloatArray]:
    """`(first, second, similarity)` with `first < second`; both similarity matrices are symmetric."""
    count = len(features.points)
    found: list[tuple[IndexArray, IndexArray, FloatArray]] = []
    for start in range(0, count, _BLOCK):
        block = features.descriptors[start : start + _BLOCK] @ target[start:].T
        flat = _above(block, settings.similarity)
        row, column = np.divmod(flat, block.shape[1])
        value = block.ravel()[flat]
        keep = column > row
        found.append((row[keep] + start, column[keep] + start, value[keep]))
    if not found:
        return np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0, np.float32)
    first, second, value = (np.concatenate([part[k] for part in found]) for k in range(3))
    gap = np.hypot(*(features.points[first] - features.points[second]).T)
    ratio = np.abs(features.frames[first] / features.frames[second])
    keep = (gap > settings.exclusion_radius) & (ratio < settings.max_scale) & (ratio > 1.0 / settings.max_scale)
    first, second, value = first[keep], second[keep], value[keep]
    near = _among_nearest(first, value, settings.neighbours) | _among_nearest(second, value, settings.neighbours)
    return first[near], second[near], value[near]


def _above(block: FloatArray, threshold: float) -> IndexArray:
    """Flat indices of the entries above `threshold`, raised where a periodic texture makes them too many."""
    for step in (0.0, 0.3, 0.5, 0.7, 0.8, 0.9):
        flat = np.flatnonzero(block > threshold + step * (1.0 - threshold))
        if len(flat) <= _DENSEST * len(block):
            break
    return flat[: 4 * _DENSEST * len(block)]


def _among_nearest(owner: IndexArray, value: FloatArray, count: int) -> npt.NDArray[np.bool_]:
    """Whether each pair is among the `count` best of its owner."""
    order = np.lexsort((-value, owner))
    sorted_owner = owner[order]
    begin = np.flatnonzero(np.diff(sorted_owner, prepend=-1))
    rank = np.arange(len(order)) - np.repeat(begin, np.diff(begin, append=len(order)))
    result = np.zeros(len(order), np.bool_)
    result[order] = rank < count
    return result
