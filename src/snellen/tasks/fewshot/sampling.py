"""Episodes drawn from folders of classes; what was taken from one source never lies on both sides of an episode."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from snellen.core.facts.data import Sample
from snellen.errors import DataError

__all__ = ["Drawn", "EpisodePlan", "sample_episodes"]


@dataclass(frozen=True, slots=True)
class EpisodePlan:
    """How episodes are drawn.

    Args:
        ways: Classes of an episode.
        queries: Queries of each class.
        count: Number of episodes.
        unknown: Further classes with queries and without support.
    """

    ways: int
    queries: int
    count: int
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Drawn:
    """Episodes as they were drawn.

    Args:
        episodes: Supports, queries, and the classes that have queries only.
        notes: What could not be had as asked for.
    """

    episodes: tuple[tuple[tuple[Sample, ...], tuple[Sample, ...], frozenset[str]], ...]
    notes: tuple[str, ...] = ()


def sample_episodes(
    samples: Sequence[Sample], plan: EpisodePlan, *, shots: int, queries_from: Collection[str], seed: Sequence[int]
) -> Drawn:
    """Draw episodes.

    Supports are the first `k` of each class for every `k` up to `shots`, so that more shots are more of the same.

    Args:
        samples: Labelled images.
        plan: How many of what.
        shots: Supports of each class, at most.
        queries_from: Images that may be queries; all may be supports.
        seed: The same numbers draw the same episodes.

    Raises:
        DataError: Fewer than two classes have an image for each side.

    Example:
        >>> images = [Sample(f"{label}{number}", label=label) for label in "abc" for number in range(4)]
        >>> names = [one.image for one in images]
        >>> drawn = sample_episodes(images, EpisodePlan(2, 1, 3), shots=2, queries_from=names, seed=[0])
        >>> [(len(supports), len(queries)) for supports, queries, _ in drawn.episodes]
        [(4, 2), (4, 2), (4, 2)]
    """
    by_class: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda one: one.image):
        by_class[str(sample.label)].append(sample)
    allowed = frozenset(queries_from)
    usable = sorted(
        label for label, images in by_class.items() if len(images) > 1 and any(one.image in allowed for one in images)
    )
    notes = []
    if len(usable) < len(by_class):
        without = sorted(set(by_class) - set(usable))
        notes.append(
            f"{len(without)} of {len(by_class)} classes have no image for both sides and are not drawn: {without[0]}"
        )
    if len(usable) < 2:
        raise DataError(
            f"episodes need two classes with at least two images each, there are {len(usable)}",
            hint="add images, or a smaller data.validation",
            slug="support-set-short",
        )
    ways = min(plan.ways, len(usable))
    unknown = min(plan.unknown, len(usable) - ways)
    if (ways, unknown) != (plan.ways, plan.unknown):
        notes.append(f"{len(usable)} classes: episodes have {ways} ways and {unknown} unknown classes")
    generator = np.random.default_rng(list(seed))
    episodes, short = [], 0
    for _ in range(plan.count):
        chosen = [usable[number] for number in generator.permutation(len(usable))[: ways + unknown]]
        known, strange = chosen[:ways], frozenset(chosen[ways:])
        supports = _supports({label: by_class[label] for label in known}, shots, allowed, generator)
        queries = _queries({label: by_class[label] for label in chosen}, supports, plan.queries, allowed, generator)
        short += len(queries) < plan.queries * len(chosen)
        episodes.append((tuple(supports), tuple(queries), strange))
    if short:
        notes.append(f"{short} of {plan.count} episodes have fewer than {plan.queries} queries of some class")
    return Drawn(tuple(episodes), tuple(notes))


def _shuffled(images: Sequence[Sample], generator: np.random.Generator) -> list[Sample]:
    return [images[number] for number in generator.permutation(len(images))]


def _supports(
    classes: dict[str, list[Sample]], shots: int, allowed: frozenset[str], generator: np.random.Generator
) -> list[Sample]:
    """Examples of each class; half of the sources, and of every class one image, are left for the queries."""
    sources = sorted({one.group for images in classes.values() for one in images if one.group and one.image in allowed})
    spared = {sources[number] for number in generator.permutation(len(sources))[: -(-len(sources) // 2)]}
    chosen: list[Sample] = []
    for images in classes.values():
        ordered = _shuffled(images, generator)
        last = next((one.image for one in reversed(ordered) if one.image in allowed and not one.group), "")
        rest = [one for one in ordered if one.group not in spared and one.image != last]
        chosen += (rest or ordered[:1])[:shots]
    return chosen


def _queries(
    classes: dict[str, list[Sample]],
    supports: Sequence[Sample],
    count: int,
    allowed: frozenset[str],
    generator: np.random.Generator,
) -> list[Sample]:
    used = {one.group or one.image for one in supports} | {one.image for one in supports}
    chosen: list[Sample] = []
    for images in classes.values():
        free = [
            one
            for one in _shuffled(images, generator)
            if one.image in allowed and one.image not in used and (one.group or one.image) not in used
        ]
        chosen += free[:count]
    return chosen
