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
_SPARE: Final = 8
"""Candidates beyond those asked for, among which rounding in float32 may have changed the order."""
_DECIMALS: Final = 9


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
    rows = max(1, min(len(queries), block_bytes // (4 * _COLUMNS)))
    scores, indices = np.empty((len(queries), k)), np.empty((len(queries), k), np.int64)
    for first in range(0, len(queries), rows):
        block = queries[first : first + rows]
        block = block if unit else unit_rows(block)
        found = _candidates(block, supports, wanted, unit=unit)
        scores[first : first + rows], indices[first : first + rows] = _ordered(block, supports, found, k, unit=unit)
    return Nearest(scores, indices)


def _columns(supports: Vectors, *, unit: bool) -> Iterator[tuple[int, Vectors]]:
    for first in range(0, len(supports), _COLUMNS):
        block = np.asarray(supports[first : first + _COLUMNS], np.float32)
        yield first, block if unit else unit_rows(block)


def _candidates(block: Vectors, supports: Vectors, wanted: int, *, unit: bool) -> npt.NDArray[np.int64]:
    """Rows of the supports among which the best lie, in no order."""
    best = np.full((len(block), wanted), -np.inf, np.float32)
    where = np.zeros((len(block), wanted), np.int64)
    room = np.empty((len(block), _COLUMNS), np.float32)
    for first, columns in _columns(supports, unit=unit):
        similar = np.matmul(block, columns.T, out=room[:, : len(columns)])
        if not np.isfinite(similar).all():
            raise ValueError("a support is not finite")
        # Most blocks hold nothing better for most queries: one look at the maximum tells.
        better = np.flatnonzero(similar.max(axis=1) > best.min(axis=1))
        if not len(better):
            continue
        rows = similar[better]
        if rows.shape[1] > wanted:
            picked = np.argpartition(rows, -wanted, axis=1)[:, -wanted:]
            rows = np.take_along_axis(rows, picked, axis=1)
        else:
            picked = np.broadcast_to(np.arange(rows.shape[1]), rows.shape)
        joined = np.concatenate([best[better], rows], axis=1)
        places = np.concatenate([where[better], picked + first], axis=1)
        kept = np.argpartition(joined, -wanted, axis=1)[:, -wanted:]
        best[better] = np.take_along_axis(joined, kept, axis=1)
        where[better] = np.take_along_axis(places, kept, axis=1)
    return where


def _ordered(
    block: Vectors, supports: Vectors, found: npt.NDArray[np.int64], k: int, *, unit: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Candidates by their similarity in float64, then by their number."""
    scores = np.empty(found.shape)
    for column in range(found.shape[1]):
        rows = np.asarray(supports[found[:, column]], np.float32)
        rows = rows if unit else unit_rows(rows)
        scores[:, column] = np.einsum("ij,ij->i", block, rows, dtype=np.float64)
    scores = scores.round(_DECIMALS) + 0.0
    order = np.lexsort((found, -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(found, order, axis=1)
