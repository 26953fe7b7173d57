"""Queries of all episodes compared with their supports, at one number of shots and with one method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from snellen.core.facts.data import Sample
from snellen.ops.cosine_search import Nearest, nearest, unit_rows
from snellen.ops.few_shot import Labels, TwoBest, Vectors, prototypes, two_best
from snellen.ops.vector_index import LARGE, RECALL, VectorIndex
from snellen.tasks.fewshot.episodes import UNKNOWN, Episode, taken
from snellen.tasks.fewshot.model import Embedded

__all__ = [
    "Answers",
    "Comparison",
    "Method",
    "all_classes",
    "centre_of",
    "neighbours",
    "recognise",
    "told_recall",
    "vectors_of",
]

Method = Literal["prototypes", "nearest"]


class Comparison:
    """Compares queries with a support set.

    Args:
        vectors: Of the supports, shape `(S, D)`.
        labels: Class of each.
        method: `prototypes` or `nearest`.
        index_from: Supports from which an index is searched.
        centre: Is subtracted from every vector of length 1; shape `(D,)`.

    Example:
        >>> known = Comparison(np.eye(2, dtype=np.float32), np.array([0, 1]), "prototypes")
        >>> known.answer(np.array([[1, 0.5]], np.float32)).label.tolist()
        [0]
    """

    def __init__(
        self,
        vectors: Vectors,
        labels: Labels,
        method: Method,
        *,
        index_from: int = LARGE,
        centre: Vectors | None = None,
    ) -> None:
        self._centre = centre
        vectors = centred(vectors, centre)
        self.recall: float | None = None
        self._index: VectorIndex | None = None
        if method == "prototypes":
            classes, numbers = np.unique(labels, return_inverse=True)
            self._vectors, self._labels = prototypes(vectors, numbers, len(classes)), classes
            return
        self._vectors, self._labels = vectors, labels
        if len(vectors) >= index_from:
            self._index = VectorIndex.build(vectors)

    def answer(self, queries: Vectors) -> TwoBest:
        """The two best classes of each query; exact where an index would miss too many of the true nearest supports."""
        queries = centred(queries, self._centre)
        if self._index is not None and self.recall is None and len(queries):
            self.recall = self._index.tune(queries)
            if self.recall < RECALL:
                self._index = None
        return two_best(
            queries, self._vectors, self._labels, search=self._index.search if self._index is not None else None
        )


@dataclass(frozen=True, slots=True)
class Answers:
    """What was answered to every query, before any threshold; all arrays have one entry for a query.

    Args:
        backbone: What made the vectors.
        method: How they were compared.
        shots: Examples of each class.
        queries: The queries.
        episode: Number of its episode.
        truth: Number of the true class, that of `Unknown` being the last; -1 where nobody knows.
        label: Number of the class that it is most similar to.
        score: How similar.
        second_label: The runner-up, -1 without one.
        margin: How far the best class is ahead.
        aside: It serves only to choose thresholds.
        recall: Of the index, where one was made: share of the true nearest supports that it finds, at worst.
        short: Classes that had fewer examples, with how many, as sentences.
    """

    backbone: str
    method: Method
    shots: int
    queries: tuple[Sample, ...]
    episode: Labels
    truth: Labels
    label: Labels
    score: npt.NDArray[np.float64]
    second_label: Labels
    margin: npt.NDArray[np.float64]
    aside: npt.NDArray[np.bool_]
    recall: float | None = None
    short: tuple[str, ...] = field(default=())


def told_recall(recall: float) -> str:
    """What a reader must know of an index.

    Example:
        >>> told_recall(0.99)
        'an index was searched: it finds 99.0% of the true nearest examples'
    """
    if recall >= RECALL:
        return f"an index was searched: it finds {recall:.1%} of the true nearest examples"
    return (
        f"an index finds only {recall:.1%} of the true nearest examples, so queries were compared with all of them: "
        "recognition.index_from, set higher, saves the time of building it"
    )


def all_classes(episodes: Iterable[Episode]) -> tuple[str, ...]:
    """Classes of all episodes, sorted, and `Unknown` as the last."""
    return (*sorted({name for episode in episodes for name in episode.classes}), UNKNOWN)


def recognise(
    episodes: Sequence[Episode],
    embedded: Embedded,
    *,
    method: Method,
    shots: int,
    held: frozenset[str] = frozenset(),
    index_from: int = LARGE,
    centre: Vectors | None = None,
) -> Answers:
    """Answer every query that can be answered.

    Args:
        episodes: Queries and supports.
        embedded: Vectors of both; an image without one is left out.
        method: How they are compared.
        shots: Examples of each class.
        held: Queries that serve only to choose thresholds.
        index_from: Supports from which an index is searched.
        centre: Is subtracted from every vector of length 1.
    """
    numbers = {name: number for number, name in enumerate(all_classes(episodes))}
    queries: list[Sample] = []
    places, aside, short = list[int](), list[bool](), list[str]()
    found: list[TwoBest] = []
    recalls = []
    for place, episode in enumerate(episodes):
        chosen, fewer = taken(episode, shots)
        supports = [sample for sample in chosen if sample.image in embedded.rows]
        read, there = (Counter(str(sample.label) for sample in some) for some in (supports, chosen))
        lost = {label: read[label] for label in episode.classes if read[label] < there[label]}
        short += [_short(episode.name, label, count, shots) for label, count in (fewer | lost).items()]
        asked = [sample for sample in episode.queries if sample.image in embedded.rows]
        if not supports or not asked:
            continue
        comparison = Comparison(
            vectors_of(supports, embedded),
            np.array([numbers[str(sample.label)] for sample in supports]),
            method,
            index_from=index_from,
            centre=centre,
        )
        found.append(comparison.answer(vectors_of(asked, embedded)))
        recalls += [comparison.recall] if comparison.recall is not None else []
        queries += asked
        places += [place] * len(asked)
        aside += [episode.validation or sample.image in held for sample in asked]
    truth = [-1 if query.label is None else numbers[query.label] for query in queries]
    columns = [
        np.concatenate([getattr(one, name) for one in found]) if found else np.zeros(0)
        for name in ("label", "score", "second_label", "margin")
    ]
    return Answers(
        embedded.backbone, method, shots, tuple(queries), np.array(places, np.int64), np.array(truth, np.int64),
        columns[0].astype(np.int64), columns[1], columns[2].astype(np.int64), columns[3], np.array(aside, bool),
        min(recalls, default=None), tuple(short),
    )  # fmt: skip


def centre_of(supports: Iterable[Sample], embedded: Embedded) -> Vectors:
    """The mean of the classes' means over all examples, each once and of length 1: no class pulls it to itself."""
    rows = {(str(one.label), embedded.rows[one.image]) for one in supports if one.image in embedded.rows}
    labels, places = zip(*sorted(rows), strict=True)
    numbers = np.unique(labels, return_inverse=True)[1]
    vectors = unit_rows(embedded.vectors[list(places)]).astype(np.float64)
    sums = np.zeros((numbers.max() + 1, vectors.shape[1]))
    np.add.at(sums, numbers, vectors)
    mean: Vectors = (sums / np.bincount(numbers)[:, None]).mean(axis=0).astype(np.float32)
    return mean


def centred(vectors: Vectors, centre: Vectors | None) -> Vectors:
    """Vectors of length 1 less the centre; as they are without one."""
    return vectors if centre is None else unit_rows(vectors) - centre


def vectors_of(samples: Sequence[Sample], embedded: Embedded) -> Vectors:
    """Their vectors in their order; all have one."""
    return embedded.vectors[[embedded.rows[sample.image] for sample in samples]]


def neighbours(
    episode: Episode, query: Sample, embedded: Embedded, *, shots: int, count: int, centre: Vectors | None = None
) -> list[tuple[str, str, float]]:
    """The supports that a query is most similar to: image, class, similarity."""
    supports = [sample for sample in taken(episode, shots)[0] if sample.image in embedded.rows]
    rows, columns = (centred(vectors_of(one, embedded), centre) for one in ([query], supports))
    found: Nearest = nearest(rows, columns, k=count)
    return [
        (supports[index].image, str(supports[index].label), float(score))
        for index, score in zip(found.indices[0], found.scores[0], strict=True)
    ]


def _short(name: str, label: str, count: int, shots: int) -> str:
    return f"{f'{name}: ' if name else ''}{label} has {count} of {shots} examples"
