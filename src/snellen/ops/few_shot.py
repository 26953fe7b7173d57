"""Recognition from a few examples: each query gets the class that it is most similar to, and the runner-up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from snellen.ops.cosine_search import Nearest, nearest, unit_rows

__all__ = ["TwoBest", "prototypes", "two_best"]

Vectors = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Search = Callable[[Vectors, int], Nearest]
"""Given queries and `k`, the nearest supports."""

_MOST_NEIGHBOURS: Final = 64


@dataclass(frozen=True, slots=True)
class TwoBest:
    """The best and the second best class of each query; shapes `(queries,)`.

    Args:
        label: Number of the best class.
        score: Its cosine similarity, -1 to 1.
        second_label: The runner-up, -1 when there is but one class.
        second_score: Its similarity; -1 then.
        index: The row that the best score is of.
    """

    label: Labels
    score: npt.NDArray[np.float64]
    second_label: Labels
    second_score: npt.NDArray[np.float64]
    index: Labels

    @property
    def margin(self) -> npt.NDArray[np.float64]:
        """How far the best class is ahead."""
        return self.score - self.second_score


def prototypes(supports: Vectors, labels: Labels, classes: int) -> Vectors:
    """The mean direction of each class: mean of its vectors of length 1, itself of length 1.

    Args:
        supports: Shape `(S, D)`.
        labels: Class of each, 0 to `classes - 1`.
        classes: How many there are; one without a support gets zeros, and is then similar to nothing.

    Source: Snell et al., Prototypical networks for few-shot learning, 2017; with the cosine as in Chen et al., A closer
    look at few-shot classification, 2019.

    Example:
        >>> prototypes(np.array([[2, 0], [0, 3], [0, 1]], np.float32), np.array([0, 1, 1]), 2).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    sums = np.zeros((classes, supports.shape[1]))
    # In the order of the rows, whatever the number of threads.
    np.add.at(sums, labels, unit_rows(supports).astype(np.float64))
    return unit_rows(sums)


def two_best(queries: Vectors, supports: Vectors, labels: Labels, *, search: Search | None = None) -> TwoBest:
    """The two classes whose best support is most similar to each query.

    Args:
        queries: Shape `(Q, D)`.
        supports: Shape `(S, D)`: single images, or one prototype for each class.
        labels: Class of each support.
        search: Finds the nearest supports; exact search without it.

    Example:
        >>> found = two_best(np.array([[1, 0.1]], np.float32), np.eye(2, dtype=np.float32), np.array([7, 3]))
        >>> found.label.tolist(), found.second_label.tolist(), found.margin.round(2).tolist()
        ([7], [3], [0.9])
    """
    search = search or (lambda rows, k: nearest(rows, supports, k=k))
    counts = np.unique(labels, return_counts=True)[1]
    # One more than the largest class has: two classes are among them for certain.
    found = search(queries, min(int(counts.max()) + 1, _MOST_NEIGHBOURS))
    classes = labels[found.indices]
    other = classes != classes[:, :1]
    known = other.any(axis=1)
    rows, place = np.arange(len(queries)), other.argmax(axis=1)
    second_label = np.where(known, classes[rows, place], -1)
    second_score = np.where(known, found.scores[rows, place], -1.0)
    if len(counts) > 1 and not known.all():
        _look_beyond(queries, supports, labels, classes[:, 0], known, (second_label, second_score))
    return TwoBest(classes[:, 0], found.scores[:, 0], second_label, second_score, found.indices[:, 0])


def _look_beyond(
    queries: Vectors,
    supports: Vectors,
    labels: Labels,
    best: Labels,
    known: npt.NDArray[np.bool_],
    second: tuple[Labels, npt.NDArray[np.float64]],
) -> None:
    """Fill in the runner-up of queries whose nearest supports are all of one class."""
    for label in np.unique(best[~known]):
        rows = np.flatnonzero(~known & (best == label))
        rest = np.flatnonzero(labels != label)
        found = nearest(queries[rows], supports[rest], k=1)
        second[0][rows] = labels[rest[found.indices[:, 0]]]
        second[1][rows] = found.scores[:, 0]
