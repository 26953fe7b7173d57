"""Support sets and queries as folders give them, arranged in episodes."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from snellen.core.classes_of import folded, variants
from snellen.core.facts.data import LayoutName, Sample
from snellen.data.layouts import read_layout
from snellen.data.layouts.support_query import category_of, query_folder_of
from snellen.errors import DataError
from snellen.tasks.fewshot.episodes import UNKNOWN, Episode, FewShotSet, held_out, shuffled
from snellen.tasks.fewshot.sampling import EpisodePlan, sample_episodes
from snellen.tasks.fewshot.truth import read_truth

__all__ = ["Source", "read_drawn", "read_queries", "read_set", "read_supports"]

_NAMED: Final = 5
_MOST_SHOTS: Final = 5
"""Shots of drawn episodes when none are asked for."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the data lies.

    Args:
        folder: Of the queries, or of everything.
        key: Key path that names it.
        support: Folder of the examples, `None` when they lie in `folder`.
        layout: How the folders are read.
        classes: Names of the classes, or a file that holds them.
        truth: Table of classes that wins over the folders.
    """

    folder: Path | None
    key: str
    support: Path | None = None
    layout: LayoutName | Literal["auto"] = "auto"
    classes: tuple[str, ...] | Path = ()
    truth: Path | None = None


def read_set(source: Source, *, validation: float, seed: int) -> FewShotSet:
    """Read a support set and its queries.

    Args:
        source: Where they lie.
        validation: Share of the queries that thresholds are chosen on.
        seed: Of that choice, and of the examples that are taken where support sets have no sizes.

    Raises:
        DataError: A folder is missing or holds no support set; classes differ in case only; there is a single class;
            the table of classes has problems (all are named).
    """
    notes: list[str] = []
    supports, queries = _both(source, notes)
    if source.truth is not None:
        known = {str(sample.label) for sample in supports}
        table = read_truth(source.truth, classes=known, unknown=UNKNOWN)
        queries = [replace(one, label=table.get(os.path.realpath(one.image), one.label)) for one in queries]
    episodes = _by_episode(supports, queries, notes)
    for episode in episodes:
        _refuse_odd_classes(episode.classes, source.key)
    episodes = _answered(episodes, seed, notes)
    labelled = [query for episode in episodes for query in episode.queries if query.label is not None]
    return FewShotSet(tuple(episodes), held_out(labelled, validation, seed), tuple(notes))


def read_drawn(source: Source, plan: EpisodePlan, *, shots: Sequence[int], validation: float, seed: int) -> FewShotSet:
    """Draw episodes from folders of classes.

    Args:
        source: Where they lie.
        plan: How many of what.
        shots: Numbers of examples that are asked for.
        validation: Share of the images whose queries serve only to choose thresholds, and of further episodes for that.
        seed: Of everything that is drawn.

    Raises:
        DataError: As `read_set`.
    """
    notes: list[str] = []
    labelled = [sample for sample in _read(source, _folder(source), source.key, notes) if sample.label is not None]
    classes = sorted({str(sample.label) for sample in labelled})
    if not classes:
        raise DataError(f"{source.key} holds no labelled image: episodes cannot be drawn from it", slug="empty-dataset")
    _refuse_odd_classes(classes, source.key)
    held = held_out(labelled, validation, seed)
    rest = frozenset(sample.image for sample in labelled) - held
    parts = [(False, rest, plan)]
    if held:
        parts.append((True, held, replace(plan, count=max(1, round(plan.count * validation)))))
    episodes: list[Episode] = []
    for aside, images, some in parts:
        drawn = sample_episodes(
            labelled, some, shots=max(shots, default=_MOST_SHOTS), queries_from=images, seed=(seed, int(aside))
        )
        notes += drawn.notes
        episodes += [
            Episode(
                f"{number:04d}",
                # A size is that of the folder's own support set, which is not the one that was drawn.
                tuple(replace(one, role="support", shot=None) for one in supports),
                tuple(replace(one, role="query", label=UNKNOWN if one.label in odd else one.label) for one in queries),
                aside,
            )
            for number, (supports, queries, odd) in enumerate(drawn.episodes)
        ]
    return FewShotSet(tuple(episodes), notes=tuple(dict.fromkeys(notes)))


def read_supports(source: Source) -> tuple[list[Sample], list[str]]:
    """The examples alone, and what a reader must know.

    Raises:
        DataError: There are none.
    """
    notes: list[str] = []
    place, key = (source.support, "data.support") if source.support is not None else (source.folder, source.key)
    if place is None:
        raise DataError("data.support names no folder", hint="set it to a folder of examples by class")
    samples = _read(source, place, key, notes)
    labelled = [replace(one, role="support") for one in samples if one.label is not None and one.role != "query"]
    if not labelled:
        raise DataError(
            f"{key} holds no labelled image: {place}",
            hint="expected a folder for each class, or 2.support-set/CLASS/shotN",
            slug="empty-dataset",
        )
    _refuse_odd_classes(sorted({str(sample.label) for sample in labelled}), key)
    return labelled, notes


def read_queries(source: Source) -> list[Sample]:
    """The queries alone, with the classes that their folders say."""
    samples = _read(source, _folder(source), source.key, [])
    queries = [replace(one, label=one.label or query_folder_of(one.image)) for one in samples if one.role == "query"]
    return queries or [sample for sample in samples if sample.role != "support"]


def _folder(source: Source) -> Path:
    if source.folder is None:
        raise DataError(
            f"{source.key} names no folder",
            hint=f"set {source.key} to the folder of the queries, or name another split: --split test",
            slug="missing-file",
        )
    return source.folder


def _both(source: Source, notes: list[str]) -> tuple[list[Sample], list[Sample]]:
    folder = _folder(source)
    samples = _read(source, folder, source.key, notes)
    supports = [sample for sample in samples if sample.role == "support"]
    queries = [sample for sample in samples if sample.role == "query"]
    if any(sample.label is not None for sample in queries):
        # Sorted by class: one without is in a folder that no class of the support set is named after.
        queries = [replace(one, label=one.label or query_folder_of(one.image)) for one in queries]
    if source.support is not None:
        supports, more = read_supports(source)
        notes += more
        queries = queries or [replace(sample, role="query") for sample in samples]
    if not supports:
        raise DataError(
            f"{source.key} holds no support set: {folder} has {len(samples)} images and nothing to compare with",
            hint="set data.support to a folder of examples by class, or data.episodes to draw episodes from this one",
            slug="support-set-short",
        )
    if not queries:
        raise DataError(
            f"{source.key} holds no queries beside its support set: {folder}",
            hint="put images into 6.preprocessed/CLASS, or name this folder data.support and the queries data.test",
            slug="empty-dataset",
        )
    return supports, queries


def _read(source: Source, folder: Path, key: str, notes: list[str]) -> list[Sample]:
    listing = read_layout(folder, key=key, name=source.layout, classes=source.classes)
    notes += [f"{key}: {problem.message}" for problem in listing.problems]
    if not listing.samples:
        raise DataError(f"{key} holds no image: {folder}", slug="empty-dataset")
    return list(listing.samples)


def _refuse_odd_classes(classes: Sequence[str], key: str) -> None:
    double = variants(classes)
    if double:
        names = "; ".join(" and ".join(repr(name) for name in group) for group in double[:_NAMED])
        raise DataError(
            f"{key}: names of classes differ in case or blanks only: {names}", hint="give each class one name"
        )
    if len(classes) == 1:
        raise DataError(
            f"{key}: the support set holds the single class {classes[0]!r}: there is nothing to tell apart",
            hint="add a folder of examples of another class, `other` for one",
            slug="support-set-short",
        )


def _by_episode(supports: Sequence[Sample], queries: Sequence[Sample], notes: list[str]) -> list[Episode]:
    """Runs by their name; categories by their folder, where each has several classes of its own."""

    def run(sample: Sample) -> str:
        return sample.group

    def category(sample: Sample) -> str:
        return category_of(sample.image) or ""

    # Only runs have supports with a group and a size: what else has a group was taken from one source.
    if all(sample.group and sample.shot is not None for sample in supports):
        asked = {run(sample) for sample in queries}
        return [_of(name, supports, queries, run) for name in sorted(asked)]
    homes: defaultdict[str, set[str]] = defaultdict(set)
    for sample in supports:
        homes[category(sample)].add(str(sample.label))
    asked = {category(sample) for sample in queries}
    if len(homes) > 1 and min(map(len, homes.values())) > 1 and asked <= set(homes):
        if len(asked) < len(homes):
            notes.append(f"{len(homes) - len(asked)} of {len(homes)} categories have no queries")
        return [_of(name, supports, queries, category) for name in sorted(asked)]
    return [Episode("", tuple(supports), tuple(queries))]


def _of(name: str, supports: Iterable[Sample], queries: Iterable[Sample], home: Callable[[Sample], str]) -> Episode:
    return Episode(
        name.rpartition("/")[2],
        tuple(sample for sample in supports if home(sample) == name),
        tuple(sample for sample in queries if home(sample) == name),
    )


def _answered(episodes: Iterable[Episode], seed: int, notes: list[str]) -> list[Episode]:
    """Episodes in which queries of classes without support are `Unknown`."""
    strange: Counter[str] = Counter()
    found = [
        replace(one, supports=shuffled(one.supports, seed), queries=_with_unknown(one, strange)) for one in episodes
    ]
    if strange:
        names = ", ".join(name for name, _ in strange.most_common(_NAMED))
        notes.append(
            f"{strange.total()} queries are of {len(strange)} classes that no support set holds ({names}): "
            f"their right answer is {UNKNOWN}"
        )
    return found


def _with_unknown(episode: Episode, strange: Counter[str]) -> tuple[Sample, ...]:
    known = set(episode.classes)
    spelled = {folded(name): name for name in known}
    queries = []
    for query in episode.queries:
        label = query.label
        if label is not None and label not in known:
            if folded(label) in spelled:
                raise DataError(
                    f"queries are labelled {label!r}, the support set has {spelled[folded(label)]!r}",
                    hint="give the class one name",
                    slug="unknown-query-class",
                )
            if folded(label) != folded(UNKNOWN):
                strange[label] += 1
            label = UNKNOWN
        queries.append(replace(query, label=label))
    return tuple(queries)
