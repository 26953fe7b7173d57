"""A grid of backbones, methods, shots and thresholds over one set of queries; every image is embedded once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from snellen.errors import DataError
from snellen.ops.bootstrap import Interval, bootstrap, mean_of
from snellen.report.progress import note
from snellen.tasks.fewshot.config import FewShotRun
from snellen.tasks.fewshot.episodes import FewShotSet, available_shots, taken
from snellen.tasks.fewshot.metrics import Chosen, choose_threshold, figures, grid_of, grid_rows
from snellen.tasks.fewshot.model import Embedded, build_embedder, cache_of, embed, settings_of
from snellen.tasks.fewshot.recognise import Answers, all_classes, centre_of, recognise, told_recall
from snellen.tasks.unread import unread_lines

__all__ = ["Cell", "Outcome", "evaluate_grid"]

_NAMED: Final = 5
"""Images that could not be read, by name on the screen and on the page."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One backbone, one method, one number of shots.

    Args:
        answers: Before any threshold.
        chosen: The threshold, and where it comes from.
        figures: Of the test queries at that threshold, with intervals.
        grid: Of the same queries at every threshold of the grid.
    """

    answers: Answers
    chosen: Chosen
    figures: Mapping[str, Interval]
    grid: Sequence[Mapping[str, float]]

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.answers.backbone}, {self.answers.method}, {self.answers.shots} shots"


@dataclass(frozen=True, slots=True)
class Outcome:
    """An evaluation.

    Args:
        data: What was compared.
        classes: Names by number, `Unknown` last.
        cells: All of them; the first backbone is the run's own.
        best: Of the run's own backbone the one that did best on the validation queries.
        against: By baseline, how much more known queries the best cell answers right, paired, without a threshold.
        embedded: Vectors of the run's own backbone.
        notes: What a reader must know.
    """

    data: FewShotSet
    classes: tuple[str, ...]
    cells: tuple[Cell, ...]
    best: Cell
    against: Mapping[str, Interval]
    embedded: Embedded
    notes: tuple[str, ...]


def evaluate_grid(config: FewShotRun, data: FewShotSet) -> Outcome:
    """Every backbone with every method at every number of shots.

    Args:
        config: The run.
        data: What is compared.

    Raises:
        DataError: Nothing can be compared.
    """
    shots, notes = available_shots(data.episodes, config.data.shots)
    if not shots:
        raise DataError(
            f"no number of shots can be compared: {'; '.join(notes)}",
            hint="leave data.shots out: then those that the data has are taken",
            slug="support-set-short",
        )
    notes = [*data.notes, *notes]
    recognition, settings = config.recognition, settings_of(config)
    cells: list[Cell] = []
    own: Embedded | None = None
    names = dict.fromkeys((None, *recognition.baselines))
    for name in names:
        if name == config.model.backbone:
            continue
        embedder = build_embedder(config, name)
        note(f"embedding with {embedder.name}")
        cache = cache_of(config, embedder)
        images = [one.image for episode in data.episodes for one in (*episode.supports, *episode.queries)]
        embedded = embed(
            images, embedder, settings=settings, cache=cache, features=config.data.features if name is None else None
        )
        if own is None:
            own = embedded
            data, more = _without_copies(data, embedded, shots)
            notes += unread_lines(embedded.unread, limit=_NAMED, where="the record of the evaluation") + more
            if not any(episode.queries for episode in data.episodes):
                raise DataError(f"no query can be answered; {'; '.join(notes[-3:])}")
        if cache is not None and cache.problem:
            notes.append(f"the cache does not help: {cache.problem}")
        cells += _cells(config, data, embedded, shots)
    if own is None or not cells:
        raise DataError("there is nothing to compare")
    mine = [cell for cell in cells if cell.answers.backbone == own.backbone]
    best = (
        max(mine, key=lambda cell: cell.chosen.score)
        if any(c.chosen.score == c.chosen.score for c in mine)
        else mine[-1]
    )
    notes += _refuse_unanswered(config, best, own)
    for cell in mine:
        notes += cell.answers.short if cell.answers.method == recognition.methods[0] else ()
    if best.answers.recall is not None:
        notes.append(told_recall(best.answers.recall))
    if "unknown_auroc" not in best.figures:
        notes.append("no query is of an unknown class: how well the unknown is told cannot be said")
    return Outcome(
        data, all_classes(data.episodes), tuple(cells), best, _against(best, cells), own, tuple(dict.fromkeys(notes))
    )


def _refuse_unanswered(config: FewShotRun, best: Cell, own: Embedded) -> list[str]:
    """Refuse an evaluation of nothing; say it when no query serves to choose a threshold."""
    if best.answers.aside.all():
        told = f": {len(own.unread)} images could not be read, {own.unread[0].reason}" if own.unread else ""
        raise DataError(
            f"no query can be answered{told}",
            hint=f"snellen check RUN.yaml names all; data.validation sets {config.data.validation:.0%} of them aside",
            slug="empty-dataset",
        )
    if best.answers.aside.any() or config.recognition.threshold is not None:
        return []
    return ["no query serves to choose a threshold, so none is rejected: set data.validation or recognition.threshold"]


def _cells(config: FewShotRun, data: FewShotSet, embedded: Embedded, shots: Sequence[int]) -> list[Cell]:
    recognition = config.recognition
    unknown = len(all_classes(data.episodes)) - 1
    examples = [one for episode in data.episodes for one in episode.supports]
    centre = centre_of(examples, embedded) if recognition.centre else None
    found = [
        recognise(
            data.episodes, embedded, method=method, shots=size, held=data.held,
            index_from=recognition.index_from, centre=centre,
        )
        for size in shots
        for method in recognition.methods
    ]  # fmt: skip
    tried = recognition.thresholds or grid_of(found)
    cells = []
    for answers in found:
        chosen, test = _threshold(config, answers, unknown), ~answers.aside
        cells.append(
            Cell(
                answers,
                chosen,
                figures(answers, test, chosen.value, unknown),
                grid_rows(answers, test, tried, unknown),
            )
        )
    return cells


def _threshold(config: FewShotRun, answers: Answers, unknown: int) -> Chosen:
    given = config.recognition.threshold
    if not (answers.aside & (answers.truth >= 0)).any():
        why = "the run file says so" if given is not None else "there are no validation queries: nothing is rejected"
        return Chosen(-1.0 if given is None else given, why)
    chosen = choose_threshold(answers, answers.aside, unknown)
    return chosen if given is None else replace(chosen, value=given, why="the run file says so")


def _without_copies(data: FewShotSet, embedded: Embedded, shots: Sequence[int]) -> tuple[FewShotSet, list[str]]:
    """Queries that are not among their own supports: such an answer would be right for free."""
    episodes, dropped = [], list[str]()
    for episode in data.episodes:
        known = {embedded.digest(one.image) for size in shots for one in taken(episode, size)[0]} - {None}
        kept = tuple(one for one in episode.queries if embedded.digest(one.image) not in known)
        dropped += [one.image for one in episode.queries if embedded.digest(one.image) in known]
        episodes.append(replace(episode, queries=kept))
    dropped = list(dict.fromkeys(dropped))
    some = ", ".join(Path(image).name for image in dropped[:3])
    notes = [f"left out: {len(dropped)} queries are in the support set as well: {some}"] if dropped else []
    return replace(data, episodes=tuple(episodes)), notes


def _against(best: Cell, cells: Sequence[Cell]) -> dict[str, Interval]:
    """Differences to each baseline at the same method and shots, over the queries that both answered."""
    found = {}
    mine = _right(best.answers)
    groups_of = {key: episode for key, (_, episode) in mine.items()}
    for cell in cells:
        other = cell.answers
        if other.backbone == best.answers.backbone or (other.method, other.shots) != (
            best.answers.method, best.answers.shots,
        ):  # fmt: skip
            continue
        theirs = _right(other)
        both = [key for key in mine if key in theirs]
        if not both:
            continue
        more = np.array([mine[key][0] - theirs[key][0] for key in both], np.float64)
        groups = np.unique([groups_of[key] for key in both], return_inverse=True)[1]
        clusters = groups if groups.max() > 0 else None
        found[other.backbone] = bootstrap(mean_of(more), len(more), groups=clusters)
    return found


def _right(answers: Answers) -> dict[tuple[int, str], tuple[int, int]]:
    unknown = {
        number for number, query in enumerate(answers.queries) if query.label is None or query.label == "Unknown"
    }
    return {
        (int(answers.episode[number]), query.image): (
            int(answers.label[number] == answers.truth[number]),
            int(answers.episode[number]),
        )
        for number, query in enumerate(answers.queries)
        if number not in unknown and not answers.aside[number]
    }
