"""An index of vectors for sets that are too large to compare all: approximate, as thorough as measured recall asks."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from snellen.errors import MissingExtraError
from snellen.ops.cosine_search import Nearest, nearest, unit_rows

__all__ = ["LARGE", "RECALL", "VectorIndex"]

LARGE: Final = 1_000_000
"""Supports from which an index is worth its building."""

Vectors = npt.NDArray[np.float32]

_ROWS: Final = 65_536
RECALL: Final = 0.95
"""Share of the true nearest supports that a search is to find."""
_MOST_EFFORT: Final = 1024
"""Looking at more of a million supports takes about as long as comparing with all of them."""


@dataclass(frozen=True, slots=True)
class VectorIndex:
    """A graph of vectors (HNSW) in which a search looks at few of them.

    Args:
        index: Of usearch.
        supports: The vectors in it, in their order.

    Source: Malkov and Yashunin, Efficient and robust approximate nearest neighbor search using HNSW graphs, 2016.
    """

    index: Any
    supports: Vectors

    @classmethod
    def build(cls, supports: Vectors, *, connectivity: int = 16, effort: int = 64, threads: int = 0) -> VectorIndex:
        """Put vectors into an index.

        Args:
            supports: Shape `(S, D)`; may be memory-mapped.
            connectivity: Neighbours that each vector is linked to.
            effort: Candidates that are looked at, in building and at first in searching: more is slower and finds more.
            threads: 0 takes all cores.

        Raises:
            MissingExtraError: usearch is not installed.
        """
        try:
            library = importlib.import_module("usearch.index")
        except ImportError as error:
            raise MissingExtraError(
                "usearch is not installed, which searches more than a million supports",
                hint="pip install 'snellen[search]'; or compare with all of them: recognition.index_from=1000000000",
                slug="missing-package",
            ) from error
        index = library.Index(
            ndim=supports.shape[1], metric="ip", dtype="f32",
            connectivity=connectivity, expansion_add=effort, expansion_search=effort,
        )  # fmt: skip
        for first in range(0, len(supports), _ROWS):
            rows = unit_rows(np.asarray(supports[first : first + _ROWS]))
            index.add(np.arange(first, first + len(rows)), rows, threads=threads)
        return cls(index, supports)

    def search(self, queries: Vectors, k: int = 1) -> Nearest:
        """Supports that are most similar to each query, as far as the index finds them; their scores are exact.

        Args:
            queries: Shape `(Q, D)`.
            k: How many.
        """
        k = min(k, len(self.supports))
        rows = unit_rows(queries)
        found = self.index.search(rows, k)
        indices = np.asarray(found.keys, np.int64).reshape(len(rows), -1)
        scores = np.stack(
            [
                np.einsum("ij,ij->i", rows, unit_rows(np.asarray(self.supports[column])), dtype=np.float64)
                for column in indices.T
            ],
            axis=1,
        ).round(9)
        order = np.lexsort((indices, -scores), axis=1)
        return Nearest(np.take_along_axis(scores, order, axis=1), np.take_along_axis(indices, order, axis=1))

    def tune(self, queries: Vectors, *, k: int = 1, wanted: float = RECALL, most: int = 256) -> float:
        """Search as thoroughly as finding the true nearest supports takes; exact search tells those of some queries.

        Where vectors lie close together, as they do among many images of one kind, a search that looks at few of them
        misses most. Vectors may lie so close that even the most thorough search does: then compare with all of them.

        Args:
            queries: Shape `(Q, D)`.
            k: Nearest supports that count.
            wanted: Share of them that is to be found.
            most: Queries that it is measured on, evenly spread.

        Returns:
            The share that is found now; below `wanted` where even the most thorough search misses some.
        """
        some = queries[:: max(1, len(queries) // most)][:most]
        true = nearest(some, self.supports, k=k).indices
        while (found := _share(true, self.search(some, k).indices)) < wanted and self.effort < _MOST_EFFORT:
            self.index.expansion_search *= 2
        return found

    @property
    def effort(self) -> int:
        """Candidates that a search looks at."""
        return int(self.index.expansion_search)


def _share(true: npt.NDArray[np.int64], found: npt.NDArray[np.int64]) -> float:
    hits = [len(np.intersect1d(one, two)) for one, two in zip(true, found, strict=True)]
    return float(np.sum(hits) / true.size)
