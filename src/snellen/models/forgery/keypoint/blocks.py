"""Small blocks of an image that occur twice, value for value: upright, mirrored or turned by quarters."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from snellen.models.forgery.detection import ImageArray
from snellen.models.forgery.keypoint.correlation import Matrix
from snellen.models.forgery.keypoint.matching import ComplexArray, IndexArray

__all__ = ["BlockPairs", "Symmetry", "repeated_blocks"]

_SIDE = 8
# Weights of a linear hash: with values of 20 bits and 64 terms of 13 + 13 bits every sum is exact in float64.
_COLUMNS = np.array([5471, 7919, 3571, 6529, 4339, 8017, 2777, 7103], np.float64)
_ROWS = np.array([6067, 2953, 7789, 4591, 8111, 3257, 6841, 5279], np.float64)
# Share of a block's pixels that must differ from a neighbour: paper, lettering and blown-out sky repeat by nature.
_ALIVE = 0.75
# A block found more often than this is a pattern.
_MOST_PLACES = 8
_MOST_BLOCKS = 100_000
# Slots of the table that tells at once, for most keys, that no block has it.
_TABLE = 1 << 22


@dataclass(frozen=True, slots=True)
class Symmetry:
    """One of the eight ways in which a square comes to lie on itself.

    Args:
        linear: `copy_step = linear * step` for a step `x + iy`; 1, i, -1 or -i.
        mirrored: Whether the step is conjugated first.
    """

    linear: complex
    mirrored: bool

    @property
    def matrix(self) -> Matrix:
        """Linear part as a matrix of shape `(2, 2)`."""
        across, down = self.linear, self.linear * (-1j if self.mirrored else 1j)
        return np.array([[across.real, down.real], [across.imag, down.imag]])


# The quarter turn to the left is the one to the right read from copy to source.
_SYMMETRIES = (
    Symmetry(1, False),
    Symmetry(-1, True),
    Symmetry(1, True),
    Symmetry(-1, False),
    Symmetry(1j, False),
    Symmetry(1j, True),
    Symmetry(-1j, True),
)


@dataclass(frozen=True, slots=True)
class BlockPairs:
    """Equal blocks under one symmetry.

    Args:
        symmetry: From the first to the second.
        first: Centres `x + iy`, shape `(n,)`.
        second: Centres.
        rate: Share of all blocks that was compared; `n / rate` estimates how many pairs there are.
    """

    symmetry: Symmetry
    first: ComplexArray
    second: ComplexArray
    rate: float


def repeated_blocks(image: ImageArray, *, least_distance: float) -> tuple[BlockPairs, ...]:
    """Find blocks of 8 x 8 pixels that are equal in all three channels, in linear time and memory.

    Which blocks are compared depends on their content alone, so that both halves of a pair are chosen together.

    Args:
        image: RGB, shape `(height, width, 3)`.
        least_distance: Between the centres of a pair, in pixels.

    Returns:
        The pairs by symmetry; only symmetries that have some.

    Example:
        >>> image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        >>> image[40:55, 60:75] = image[5:20, 10:25, :][:, ::-1]
        >>> [(pairs.symmetry, len(pairs.first)) for pairs in repeated_blocks(image, least_distance=14.0)]
        [(Symmetry(linear=-1, mirrored=True), 64)]
    """
    if min(image.shape[:2]) < _SIDE:
        return ()
    red, green, blue = (image[..., channel].astype(np.uint32) for channel in range(3))
    colour = np.asarray(red << 16 | green << 8 | blue, np.uint32)
    values, alive = _mixed(colour), _alive(colour)
    if not alive.any():
        return ()
    shift = max(0, int(np.ceil(np.log2(alive.sum() / _MOST_BLOCKS))))
    places, keys = _chosen(values, alive, _SYMMETRIES[0], shift)
    order = np.argsort(keys)
    places, keys = places[order], keys[order]
    known = np.zeros(_TABLE, np.bool_)
    known[_slot(keys)] = True
    found = []
    for symmetry in _SYMMETRIES:
        if symmetry is _SYMMETRIES[0]:
            again = keys[1:] == keys[:-1]
            candidates = np.zeros(len(keys), np.bool_)
            candidates[1:] |= again
            candidates[:-1] |= again
            from_, from_keys = places[candidates], keys[candidates]
        else:
            from_, from_keys = _chosen(values, alive, symmetry, shift)
            candidates = known[_slot(from_keys)]
            from_, from_keys = from_[candidates], from_keys[candidates]
        first, second = _joined(from_, from_keys, places, keys)
        if symmetry.linear.real != 0 or symmetry.mirrored:
            # Such a symmetry undoes itself: every pair was met from both ends.
            first, second = first[first < second], second[first < second]
        pairs = _as_pairs(symmetry, first, second, alive.shape[1], rate=0.5**shift)
        pairs = _subset(pairs, np.abs(pairs.first - pairs.second) > least_distance)
        if len(pairs.first):
            found.append(pairs)
    return tuple(found)


def _mixed(colour: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
    """A number of 20 bits per colour, so that near colours are far apart."""
    return ((colour + np.uint32(1)) * np.uint32(2654435761) >> np.uint32(12)).astype(np.float64)


def _alive(colour: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    """Whether enough of each block has texture; by the block's top left pixel."""
    differs = np.zeros(colour.shape, np.bool_)
    differs[:, :-1] |= colour[:, 1:] != colour[:, :-1]
    differs[:-1] |= colour[1:] != colour[:-1]
    share = cv2.boxFilter(differs.astype(np.float32), -1, (_SIDE, _SIDE), anchor=(0, 0))
    return np.asarray(share[: 1 - _SIDE, : 1 - _SIDE] > _ALIVE, np.bool_)


def _chosen(
    values: npt.NDArray[np.float64], alive: npt.NDArray[np.bool_], symmetry: Symmetry, shift: int
) -> tuple[IndexArray, npt.NDArray[np.float64]]:
    """Flat places of the blocks to compare, and the keys that they have after `symmetry`."""
    across, down = _weights(symmetry)
    hashed = np.asarray(cv2.sepFilter2D(values, cv2.CV_64F, across, down, anchor=(0, 0)), np.float64)
    hashed = hashed[: 1 - _SIDE, : 1 - _SIDE]
    keep = alive
    if shift:
        keep = alive & (hashed.astype(np.int64) & ((1 << shift) - 1) == 0)
    places = np.flatnonzero(keep)
    return places, hashed[keep]


def _slot(keys: npt.NDArray[np.float64]) -> IndexArray:
    return (keys.astype(np.intp) >> 8) & (_TABLE - 1)


def _weights(symmetry: Symmetry) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Kernels along x and y that give a block the key of its image under `symmetry`."""
    matrix = symmetry.matrix
    if matrix[0, 0] != 0:
        return _COLUMNS[:: int(matrix[0, 0])], _ROWS[:: int(matrix[1, 1])]
    return _ROWS[:: int(matrix[1, 0])], _COLUMNS[:: int(matrix[0, 1])]


def _joined(
    from_: IndexArray, from_keys: npt.NDArray[np.float64], places: IndexArray, keys: npt.NDArray[np.float64]
) -> tuple[IndexArray, IndexArray]:
    """All pairs of places with the same key, patterns left out; `keys` are sorted."""
    low = np.searchsorted(keys, from_keys, side="left")
    count = np.searchsorted(keys, from_keys, side="right") - low
    count[count > _MOST_PLACES] = 0
    first = np.repeat(from_, count)
    begin = np.repeat(np.cumsum(count) - count, count)
    return first, places[np.repeat(low, count) + np.arange(len(first)) - begin]


def _as_pairs(symmetry: Symmetry, first: IndexArray, second: IndexArray, width: int, *, rate: float) -> BlockPairs:
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    centre = (_SIDE - 1) / 2 * (1 + 1j)
    ends = [(places % width + 1j * (places // width) + centre).astype(np.complex64) for places in (first, second)]
    return BlockPairs(symmetry, ends[0], ends[1], rate)


def _subset(pairs: BlockPairs, keep: npt.NDArray[np.bool_]) -> BlockPairs:
    return BlockPairs(pairs.symmetry, pairs.first[keep], pairs.second[keep], pairs.rate)
