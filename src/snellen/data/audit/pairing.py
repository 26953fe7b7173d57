"""Pairs of fingerprints that differ in few bits, among a hundred thousand, without comparing all with all.

Multi-index hashing: fingerprints that differ in at most 7 of 64 bits agree in one of four groups of 16 bits but for one
bit. They are sorted with each group in front, and each looks at its neighbours and at those with one of the 16 bits
turned. Of pairs that differ in 8 to `MAX_BITS` bits most are found, of 12 about half. Of a crowd of nearly
equal fingerprints, each meets only the nearest in the order: the cost stays near-linear whatever the pictures are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from snellen.data.audit.fingerprints import bits_apart

__all__ = ["MAX_BITS", "close_pairs"]

MAX_BITS: Final = 12
"""Bits in which the fingerprints of twins differ at most; of 64, chance gives 32."""

_GROUP = 16
_CROWD = 24
"""Neighbours that a fingerprint is compared with in one place of one order."""

_Places = npt.NDArray[np.int64]
_Words = npt.NDArray[np.uint64]


def close_pairs(
    fingerprints: _Words, others: _Words | None = None
) -> Iterator[tuple[_Places, _Places, npt.NDArray[np.uint8]]]:
    """Pairs that differ in at most `MAX_BITS` bits, in portions; the same pair may come several times.

    Args:
        fingerprints: 64 bits each.
        others: What is compared with them in place of themselves: the fingerprints of the mirrored pictures.

    Yields:
        Places of the first, places of the second (the first is the smaller), bits that differ.

    Example:
        >>> words = np.array([0, 3, 1 << 40, (1 << 63) + 3], dtype=np.uint64)
        >>> found = [(i, j) for one, other, _ in close_pairs(words) for i, j in zip(one.tolist(), other.tolist())]
        >>> sorted(set(found))
        [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    """
    if len(fingerprints) < 2:
        return
    others = fingerprints if others is None else others
    for group in range(64 // _GROUP):
        words, searched = _rotated(fingerprints, group), _rotated(others, group)
        order = np.argsort(words, kind="stable")
        words = words[order]
        starts = np.searchsorted(words >> np.uint64(64 - _GROUP), np.arange(2**_GROUP + 1, dtype=np.uint64))
        for bit in range(-1, _GROUP):
            flip = np.uint64(0) if bit < 0 else np.uint64(1 << (64 - _GROUP + bit))
            yield from _neighbours(words, order, starts, searched, flip)


def _rotated(words: _Words, group: int) -> _Words:
    """The same bits with another group in front."""
    shift = np.uint64(group * _GROUP)
    return words << shift | words >> (np.uint64(64) - shift) if group else words.copy()


def _neighbours(
    words: _Words, order: _Places, starts: _Places, searched: _Words, flip: np.uint64
) -> Iterator[tuple[_Places, _Places, npt.NDArray[np.uint8]]]:
    wanted = searched ^ flip
    front = (wanted >> np.uint64(64 - _GROUP)).astype(np.int64)
    low, high = starts[front], starts[front + 1]
    crowded = high - low > _CROWD
    if crowded.any():
        # In a crowd the nearest in the order: they share the longest beginning.
        middle = np.searchsorted(words, wanted[crowded])
        low[crowded] = np.clip(middle - _CROWD // 2, low[crowded], high[crowded] - _CROWD)
        high[crowded] = low[crowded] + _CROWD
    place = np.flatnonzero(high > low)
    for step in range(_CROWD):
        place = place[low[place] + step < high[place]]
        if not len(place):
            return
        near = low[place] + step
        bits = bits_apart(words[near], searched[place])
        one, other = place, order[near]
        kept = (bits <= MAX_BITS) & (one < other)
        if kept.any():
            yield one[kept], other[kept], bits[kept]
