"""Episodes: queries and the examples that they are compared with, at any number of shots."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from snellen.core.facts.data import Sample

__all__ = ["UNKNOWN", "Episode", "FewShotSet", "available_shots", "held_out", "shuffled", "taken"]

UNKNOWN: Final = "Unknown"
"""The answer to what is like no class of the support set."""

_USUAL_SHOTS: Final = (1, 5, 10, 30)


@dataclass(frozen=True, slots=True)
class Episode:
    """Queries, and the examples that they are compared with.

    Args:
        name: Of the run, the category, or its number; `""` when there is but one.
        supports: Labelled; those without a size in the order in which they are taken.
        queries: Their label is `None` without a truth and `Unknown` where it is of no class of the supports.
        validation: It serves only to choose thresholds.
    """

    name: str
    supports: tuple[Sample, ...]
    queries: tuple[Sample, ...]
    validation: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the supports, sorted."""
        return tuple(sorted({sample.label for sample in self.supports if sample.label is not None}))


@dataclass(frozen=True, slots=True)
class FewShotSet:
    """Everything that is compared.

    Args:
        episodes: At least one.
        held: Images of queries that serve only to choose thresholds, wherever they occur.
        notes: What a reader must know.
    """

    episodes: tuple[Episode, ...]
    held: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def available_shots(episodes: Sequence[Episode], wanted: Sequence[int]) -> tuple[list[int], list[str]]:
    """Numbers of examples that can be compared, and a sentence for each that cannot.

    Args:
        episodes: With their supports.
        wanted: As asked for; empty takes what there is.

    Example:
        >>> supports = tuple(Sample(f"{label}{i}", "support", label=label) for label in "ab" for i in range(6))
        >>> available_shots([Episode("", supports, ())], ())
        ([1, 5], [])
    """
    sizes = {sample.shot for episode in episodes for sample in episode.supports}
    if None not in sizes:
        there = sorted(size for size in sizes if size is not None)
        named = ", ".join(map(str, there))
        missing = [shots for shots in wanted if shots not in there]
        notes = [f"there is no support set of {shots} shots, only of {named}: left out" for shots in missing]
        return [shots for shots in wanted or there if shots in there], notes
    counts = [Counter(sample.label for sample in episode.supports).values() for episode in episodes]
    least, most = min(map(min, counts)), max(map(max, counts))
    if not wanted:
        return [shots for shots in _USUAL_SHOTS if shots <= least], []
    notes = [f"no class has {shots} examples, at most {most}: left out" for shots in wanted if shots > most]
    return [shots for shots in wanted if shots <= most], notes


def taken(episode: Episode, shots: int) -> tuple[list[Sample], dict[str, int]]:
    """The supports of an episode at a number of shots, and the classes that have fewer, with how many.

    Args:
        episode: With supports of that size, or without sizes: then the first ones of each class are taken.
        shots: How many of each class.
    """
    sized = [sample for sample in episode.supports if sample.shot == shots]
    counts: Counter[str] = Counter()
    chosen: list[Sample] = []
    for sample in sized or [sample for sample in episode.supports if sample.shot is None]:
        label = str(sample.label)
        # A support set that is named after its size is taken whole.
        if sized or counts[label] < shots:
            counts[label] += 1
            chosen.append(sample)
    return chosen, {label: counts[label] for label in episode.classes if counts[label] < shots}


def held_out(samples: Sequence[Sample], share: float, seed: int) -> frozenset[str]:
    """A share of the images, the same for the same names; what was taken from one source stays together.

    Args:
        samples: Of each class the share is taken, or of the sources where names tell of some.
        share: 0 to 1.
        seed: Of the choice.
    """
    grouped = any(sample.group for sample in samples)
    units: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for sample in samples:
        units["" if grouped else str(sample.label)][sample.group or sample.image] = None
    chosen: set[str] = set()
    for names in units.values():
        ordered = sorted(names, key=lambda name: _drawn(name, seed))
        chosen.update(ordered[: round(share * len(ordered))])
    return frozenset(sample.image for sample in samples if (sample.group or sample.image) in chosen)


def shuffled(samples: Sequence[Sample], seed: int) -> tuple[Sample, ...]:
    """In an order that depends on names and seed alone, so that the first ones of a class are no neighbours on disk."""
    return tuple(sorted(samples, key=lambda sample: (str(sample.label), *_drawn(sample.image, seed))))


def _drawn(name: str, seed: int) -> tuple[bytes, str]:
    path = PurePath(name)
    # Folders above the last two are left out: a data set that is moved keeps its order.
    text = f"{seed}:{'/'.join(path.parts[-2:])}".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=16).digest(), name
