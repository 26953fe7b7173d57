"""Any number of images recognised: features part by part on disk, then one table of answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from snellen.config.schema import RunConfig
from snellen.data.features import distinct_parts
from snellen.data.sources import open_sources
from snellen.engine.embedding import EmbedReport, EmbedSettings
from snellen.errors import DataError
from snellen.models.backbones.embedders import Embedder
from snellen.tasks.fewshot.config import FewShotRun
from snellen.tasks.fewshot.data import read_supports
from snellen.tasks.fewshot.episodes import UNKNOWN, Episode, available_shots, shuffled, taken
from snellen.tasks.fewshot.evaluate import RECORD, folder_of, source_of
from snellen.tasks.fewshot.model import build_embedder, cache_of, embed, loader_of, settings_of
from snellen.tasks.fewshot.recognise import Comparison, Method, centre_of, told_recall, vectors_of
from snellen.tasks.fewshot.records import read_choice, write_rows
from snellen.tasks.streaming import closing_lines, count_lines, source_remarks, stream_vectors
from snellen.tasks.unread import write_unread

__all__ = ["Recognition", "predict_all"]

TABLE: Final = "predictions.csv"
FEATURES: Final = "features"


@dataclass(slots=True)
class Recognition:
    """What a stream of recognitions came to.

    Args:
        report: Of the embedding.
        what: How queries were compared, in words.
        counts: Number of images by answer.
        remarks: What a reader must know.
    """

    report: EmbedReport
    what: str
    counts: dict[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        """Images without an answer."""
        return len(self.report.unread)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "compared": self.what,
            "answers": self.counts,
            "failed": self.failed,
            **self.report.to_dict(),
            "remarks": list(self.remarks),
        }

    def lines(self, *, limit: int = 10) -> list[str]:
        """The summary for people.

        Args:
            limit: At most this many classes and images without an answer are named.
        """
        return [
            f"{sum(self.counts.values())} images recognised, {self.failed} could not be read; {self.what}",
            *count_lines(self.counts, limit=limit),
            *closing_lines(self.report, self.remarks, limit=limit),
        ]


def predict_all(
    config: RunConfig,
    inputs: Sequence[str | Path],
    *,
    out: Path,
    limit: int | None = None,
    engine: Literal["local", "ray"] = "local",
    quiet: bool = False,
) -> tuple[Recognition, list[Path]]:
    """Recognise whatever was named.

    Args:
        config: A few-shot run.
        inputs: Files, folders, patterns, lists, tables, shards.
        out: Where features and answers are written; a second call goes on where the first one ended.
        limit: Only the first images.
        engine: `ray` spreads the features over a cluster; they are compared here.
        quiet: Show no progress.

    Returns:
        What it came to, and the table of answers.

    Raises:
        DataError: No support set, no threshold yet, or a source that holds no image.
        RunFolderError: `out` cannot be written, is in use, or holds features of another backbone.
        Interrupted: Ctrl-C; what is done is kept.
    """
    if not isinstance(config, FewShotRun):
        raise TypeError(f"expected a FewShotRun, given {type(config).__name__}")
    source = open_sources(inputs)
    embedder = build_embedder(config)
    examples = _examples(config, embedder)
    cache = cache_of(config, embedder)
    report = stream_vectors(
        source, embedder, out / FEATURES, load=loader_of(config), settings=_limited(config, limit), engine=engine,
        cache=cache, what=None if quiet else "recognising",
    )  # fmt: skip
    done = Recognition(report, examples.what)
    write_rows(
        out / TABLE, ("image", "answer", "score", "margin", "best", "second"),
        _rows(out / FEATURES, examples, done.counts),
    )  # fmt: skip
    remarks = [*examples.notes, *source_remarks(source, cache)]
    recall = examples.comparison.recall
    if recall is not None:
        remarks.append(told_recall(recall))
    done.remarks = tuple(remarks)
    write_unread(out, report.unread)
    return done, [out / TABLE]


@dataclass(frozen=True, slots=True)
class _Examples:
    """What queries are compared with, and how."""

    comparison: Comparison
    classes: tuple[str, ...]
    threshold: float
    what: str
    notes: tuple[str, ...]


def _examples(config: FewShotRun, embedder: Embedder) -> _Examples:
    threshold, method, shots = _choice(config, embedder.fingerprint)
    supports, notes = read_supports(source_of(config, "test"))
    episode = Episode("", shuffled(supports, config.seed), ())
    shots = shots or max(available_shots([episode], config.data.shots)[0], default=0)
    chosen, fewer = taken(episode, shots)
    known = embed(
        [one.image for one in chosen], embedder, settings=settings_of(config), cache=cache_of(config, embedder),
        features=config.data.features,
    )  # fmt: skip
    chosen = [one for one in chosen if one.image in known.rows]
    if not chosen:
        raise DataError(f"none of the examples of {shots} shots can be read", slug="support-set-short")
    classes = (*episode.classes, UNKNOWN)
    comparison = Comparison(
        vectors_of(chosen, known), np.array([classes.index(str(one.label)) for one in chosen]), method,
        index_from=config.recognition.index_from,
        centre=centre_of(chosen, known) if config.recognition.centre else None,
    )  # fmt: skip
    notes += [f"{label} has {count} of {shots} examples" for label, count in fewer.items()]
    notes += [f"example not read: {one.reason}" for one in known.unread]
    what = f"{embedder.name}, {method} of {shots} shots, {UNKNOWN} under {threshold:.4f}"
    return _Examples(comparison, classes, threshold, what, tuple(notes))


def _choice(config: FewShotRun, fingerprint: str) -> tuple[float, Method, int]:
    """Threshold, method and shots: as the run file says, else as its evaluation chose."""
    recognition, shots = config.recognition, config.data.shots
    if recognition.threshold is not None and len(recognition.methods) == 1:
        return recognition.threshold, recognition.methods[0], max(shots, default=0)
    threshold, method, best = read_choice(folder_of(config) / RECORD, fingerprint)
    threshold = threshold if recognition.threshold is None else recognition.threshold
    return threshold, "prototypes" if method == "prototypes" else "nearest", best


def _limited(config: FewShotRun, limit: int | None) -> EmbedSettings:
    return replace(settings_of(config), limit=limit)


def _rows(folder: Path, examples: _Examples, counts: dict[str, int]) -> Iterator[tuple[str, ...]]:
    """One row for each image, part by part."""
    classes = examples.classes
    for part in distinct_parts(folder):
        found = examples.comparison.answer(part.vectors)
        for row, name in enumerate(part.names):
            best = classes[found.label[row]]
            answer = best if found.score[row] >= examples.threshold else UNKNOWN
            second = classes[found.second_label[row]] if found.second_label[row] >= 0 else ""
            counts[answer] = counts.get(answer, 0) + 1
            yield name, answer, f"{found.score[row]:.6f}", f"{found.margin[row]:.6f}", best, second
