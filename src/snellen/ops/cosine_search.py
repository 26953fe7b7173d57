"""Exact search for the most similar vectors: a blocked matrix product whose memory does not grow with the set.

Candidates come from a product in float32; their similarities are then computed once more, pair by pair in float64, so
that neither the size of blocks nor the number of threads decides between two that are nearly equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["Nearest", "nearest", "unit_rows"]

Vectors = npt.NDArray[np.float32]

_BLOCK_BYTES: Final = 32 * 2**20
"""Similarities that are held at once; larger blocks leave the processor's cache."""
_COLUMNS: Final = 8192
"""Supports of a block; they are scaled and looked at once for many blocks of queries."""
_AT_ONCE: Final = 16_384
"""Queries for which the supports are gone through once."""
_FEW: Final = 16
"""What is better than the candidates so far is taken one by one when it is less than this part of a block."""
_SPARE: Final = 8
"""Candidates beyond those asked for, among which rounding in float32 may have changed the order."""
_DECIMALS: Final = 9
_DOUBTFUL: Final = 256
"""Queries that are looked at in float64 at once."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """The most similar vectors of each query, best first; of equals, that with the lower number.

    Args:
        scores: Cosine similarity, shape `(queries, k)`.
        indices: Their rows, the same shape.
    """

    scores: npt.NDArray[np.float64]
    indices: npt.NDArray[np.int64]


def unit_rows(vectors: npt.NDArray[np.floating]) -> Vectors:
    """Rows of length 1; a row of zeros stays one, and is then similar to nothing.

    Args:
        vectors: Shape `(rows, width)`.

    Example:
        >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    scale = np.where(lengths > 0, 1.0 / np.where(lengths > 0, lengths, 1.0), 0.0)
    return (vectors * scale[:, None]).astype(np.float32)


def nearest(
    queries: Vectors, supports: Vectors, *, k: int = 1, block_bytes: int = _BLOCK_BYTES, unit: bool = False
) -> Nearest:
    """The `k` supports with the largest cosine similarity to each query, exactly.

    Args:
        queries: Shape `(Q, D)`.
        supports: Shape `(S, D)`; may be a memory-mapped array, which is read block by block.
        k: How many; all when there are fewer.
        block_bytes: What the similarities of one block may take; the result does not depend on it.
        unit: Both have rows of length 1 already.

    Raises:
        ValueError: The widths differ, there is no support, or something is not finite.

    Example:
        >>> found = nearest(np.eye(2, dtype=np.float32), np.array([[2, 0], [1, 1]], np.float32), k=2)
        >>> found.indices.tolist(), found.scores.round(3).tolist()
        ([[0, 1], [1, 0]], [[1.0, 0.707], [0.707, 0.0]])
    """
    if queries.ndim != 2 or supports.ndim != 2 or queries.shape[1] != supports.shape[1]:
        raise ValueError(f"expected (Q, D) and (S, D) of one width, got {queries.shape} and {supports.shape}")
    if not len(supports):
        raise ValueError("there is no support to compare with")
    if not np.isfinite(queries).all():
        raise ValueError("a query is not finite")
    k = min(k, len(supports))
    wanted = min(k + _SPARE, len(supports))
    scores, indices = np.empty((len(queries), k)), np.empty((len(queries), k), np.int64)
    for first in range(0, len(queries), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        block = queries[some] if unit else unit_rows(queries[some])
        found = _candidates(block, supports, wanted, rows=max(1, block_bytes // (4 * _COLUMNS)), unit=unit)
        near, order = _ordered(block, supports, found, unit=unit)
        doubtful = np.flatnonzero(near[:, k - 1] - near[:, -1] <= _rounding(block.shape[1]))
        scores[some], indices[some] = near[:, :k], order[:, :k]
        if wanted < len(supports) and len(doubtful):
            exact = _exact(block[doubtful], supports, k, unit=unit)
            scores[first + doubtful], indices[first + doubtful] = _ordered(block[doubtful], supports, exact, unit=unit)
    return Nearest(scores, indices)


def _rounding(width: int) -> float:
    """By how much two products of unit vectors in float32 may come in the wrong order, at most."""
    return 2.0 * width * 2.0**-24


def _columns(supports: Vectors, *, unit: bool) -> Iterator[tuple[int, Vectors]]:
    for first in range(0, len(supports), _COLUMNS):
        block = np.asarray(supports[first : first + _COLUMNS], np.float32)
        block = block if unit else unit_rows(block)
        if not np.isfinite(block).all():
            raise ValueError("a support is not finite")
        yield first, block


def _candidates(block: Vectors, supports: Vectors, wanted: int, *, rows: int, unit: bool) -> npt.NDArray[np.int64]:
    """Rows of the supports among which the best lie, in no order."""
    best = np.full((len(block), wanted), -np.inf, np.float32)
    where = np.zeros((len(block), wanted), np.int64)
    room = np.empty((min(rows, len(block)), _COLUMNS), np.float32)
    for first, columns in _columns(supports, unit=unit):
        for start in range(0, len(block), rows):
            tile = slice(start, start + rows)
            some = block[tile]
            similar = np.matmul(some, columns.T, out=room[: len(some), : len(columns)])
            _keep_best(best[tile], where[tile], similar, first)
    return where


def _keep_best(best: Vectors, where: npt.NDArray[np.int64], similar: Vectors, first: int) -> None:
    """Put what is more similar in the place of the least similar candidates, row by row."""
    wanted = best.shape[1]
    better = similar > best.min(axis=1)[:, None]
    if np.count_nonzero(better) > similar.size // _FEW:
        rows = np.arange(len(best))
        count = min(wanted, similar.shape[1])
        picked = np.argpartition(similar, -count, axis=1)[:, -count:]
        values, numbers = np.take_along_axis(similar, picked, axis=1), picked + first
    else:
        # After the first blocks little is better than what was found; to look for it is cheaper than to partition all.
        row, column = np.divmod(np.flatnonzero(better), similar.shape[1])
        counts = np.bincount(row, minlength=len(best))
        rows = np.flatnonzero(counts)
        counts = counts[rows]
        line = np.repeat(np.arange(len(rows)), counts)
        place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        shape = (len(rows), int(counts.max(initial=0)))
        values, numbers = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.int64)
        values[line, place], numbers[line, place] = similar[row, column], column + first
    values = np.concatenate([best[rows], values], axis=1)
    numbers = np.concatenate([where[rows], numbers], axis=1)
    kept = np.argpartition(values, -wanted, axis=1)[:, -wanted:]
    best[rows] = np.take_along_axis(values, kept, axis=1)
    where[rows] = np.take_along_axis(numbers, kept, axis=1)


def _exact(block: Vectors, supports: Vectors, k: int, *, unit: bool) -> npt.NDArray[np.int64]:
    """Rows of the best in float64, of equals the first: for queries that more supports are as similar to than is spare.

    Each look costs several times that of `_candidates`, so it is for the few that need it.
    """
    found = np.zeros((len(block), k), np.int64)
    for start in range(0, len(block), _DOUBTFUL):
        some = block[start : start + _DOUBTFUL].astype(np.float64)
        best, where = np.full((len(some), k), -np.inf), np.zeros((len(some), k), np.int64)
        for first, columns in _columns(supports, unit=unit):
            similar = (some @ columns.T.astype(np.float64)).round(_DECIMALS)
            rows = np.flatnonzero(similar.max(axis=1) > best[:, -1])
            values = np.concatenate([best[rows], similar[rows]], axis=1)
            numbers = np.arange(first, first + len(columns))
            numbers = np.concatenate([where[rows], np.broadcast_to(numbers, (len(rows), len(columns)))], axis=1)
            # Stable: what came before stays before what is equal.
            kept = np.argsort(-values, axis=1, kind="stable")[:, :k]
            best[rows], where[rows] = (np.take_along_axis(one, kept, axis=1) for one in (values, numbers))
        found[start : start + _DOUBTFUL] = where
    return found


def _ordered(
    block: Vectors, supports: Vectors, found: npt.NDArray[np.int64], *, unit: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Candidates by their similarity in float64, then by their number."""
    scores = np.empty(found.shape)
    for column in range(found.shape[1]):
        rows = np.asarray(supports[found[:, column]], np.float32)
        rows = rows if unit else unit_rows(rows)
        scores[:, column] = np.einsum("ij,ij->i", block, rows, dtype=np.float64)
    scores = scores.round(_DECIMALS) + 0.0
    order = np.lexsort((found, -scores), axis=1)
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(found, order, axis=1)
