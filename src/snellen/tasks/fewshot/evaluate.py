"""Figures of a few-shot run on a split, with its predictions, its record and its page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from snellen.config.schema import RunConfig
from snellen.data.writing import make_folder, write_json, write_text
from snellen.tasks.base import Evaluation
from snellen.tasks.fewshot.config import FewShotRun
from snellen.tasks.fewshot.data import Source, read_drawn, read_set
from snellen.tasks.fewshot.episodes import FewShotSet
from snellen.tasks.fewshot.gallery import Mistake, mistakes, write_pictures
from snellen.tasks.fewshot.grid import Outcome, evaluate_grid
from snellen.tasks.fewshot.page import render_evaluation
from snellen.tasks.fewshot.recognise import centre_of
from snellen.tasks.fewshot.records import record_of, rows_of, write_predictions
from snellen.tasks.fewshot.sampling import EpisodePlan

__all__ = ["RECORD", "evaluate", "folder_of", "read_source", "source_of"]

RECORD: Final = "evaluation.json"
TABLE: Final = "predictions.csv"
PAGE: Final = "report.html"


def source_of(config: FewShotRun, split: str) -> Source:
    """Where the queries of a split lie, and the examples."""
    data = config.data
    return Source(
        getattr(data, split, None),
        f"data.{split}",
        data.support,
        data.layout,
        data.classes or (),
        data.truth,
    )


def folder_of(config: FewShotRun) -> Path:
    """Where an evaluation leaves what it found."""
    return config.output / (config.name or "fewshot")


def read_source(config: FewShotRun, split: str, *, validation: float | None = None) -> FewShotSet:
    """Queries and supports of a split.

    Args:
        config: The run.
        split: `val` or `test`.
        validation: Share of the queries on which thresholds are chosen; as the run says without it.
    """
    data, source = config.data, source_of(config, split)
    share = data.validation if validation is None else validation
    if data.episodes is None:
        return read_set(source, validation=share, seed=config.seed)
    plan = EpisodePlan(**data.episodes.model_dump())
    return read_drawn(source, plan, shots=data.shots, validation=share, seed=config.seed)


def evaluate(
    config: RunConfig,
    *,
    checkpoints: Path | None,
    split: str,
    limit: int | None = None,
    gallery: Path | None = None,
) -> Evaluation:
    """Evaluate a few-shot run, and write predictions, figures and a page into its folder.

    Raises:
        DataError: No support set, no queries, classes that cannot be told apart by name, a table of classes that does
            not hold.
        UsageError: No such backbone.
    """
    del checkpoints
    if not isinstance(config, FewShotRun):
        raise TypeError(f"expected a FewShotRun, given {type(config).__name__}")
    separate = split == "test" and config.data.val is not None
    data = read_source(config, split, validation=0.0 if separate else None)
    if separate:
        data = _joined(read_source(config, "val", validation=0.0), data)
    if limit is not None:
        data = _limited(data, limit)
    # Before anything is computed: it may be that nothing can be written.
    folder = make_folder(folder_of(config))
    outcome = evaluate_grid(config, data)
    examples = [one for episode in outcome.data.episodes for one in episode.supports]
    wrong = mistakes(
        outcome.best.answers, outcome.data, outcome.embedded, outcome.best.chosen.value, outcome.classes,
        centre=centre_of(examples, outcome.embedded) if config.recognition.centre else None,
    )  # fmt: skip
    write_predictions(folder / TABLE, outcome.best.answers, outcome.classes, outcome.best.chosen.value, data.episodes)
    write_json(folder / RECORD, record_of(outcome))
    write_text(folder / PAGE, render_evaluation(outcome, wrong))
    notes = [*outcome.notes, f"predictions, figures and pictures: {folder / PAGE}"]
    if gallery is not None:
        notes.append(_gallery(wrong, gallery))
    return Evaluation(
        _metrics(outcome), rows_of(outcome.best.answers, outcome.classes, outcome.best.chosen.value), notes
    )


def _joined(val: FewShotSet, test: FewShotSet) -> FewShotSet:
    """The queries of `data.val` serve to choose thresholds, those of `data.test` are what is told."""
    aside = tuple(replace(episode, validation=True) for episode in val.episodes)
    return FewShotSet((*test.episodes, *aside), notes=(*test.notes, *val.notes))


def _limited(data: FewShotSet, limit: int) -> FewShotSet:
    left, episodes = limit, []
    for episode in data.episodes:
        queries = episode.queries if episode.validation else episode.queries[:left]
        left -= 0 if episode.validation else len(queries)
        if queries:
            episodes.append(replace(episode, queries=queries))
    return replace(data, episodes=tuple(episodes))


def _metrics(outcome: Outcome) -> dict[str, float]:
    best = outcome.best
    found = {"queries": float((~best.answers.aside & (best.answers.truth >= 0)).sum())}
    found |= {"shots": float(best.answers.shots), "threshold": best.chosen.value}
    intervals = dict(best.figures)
    intervals |= {f"better_than_{name.replace('-', '_')}": one for name, one in outcome.against.items()}
    for name, one in intervals.items():
        found |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
    return found


def _gallery(wrong: Sequence[Mistake], folder: Path) -> str:
    written = write_pictures(wrong, make_folder(folder))
    return f"{len(written)} pictures of the worst mistakes in {folder}"
