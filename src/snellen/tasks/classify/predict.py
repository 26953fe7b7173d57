"""Classes of any number of images: probabilities part by part on disk, and one table of the likeliest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from snellen.config.schema import RunConfig
from snellen.core.files import write_csv, write_json
from snellen.data.features import distinct_parts
from snellen.data.sources import open_sources
from snellen.data.writing import make_folder
from snellen.engine.embedding import EmbedReport
from snellen.errors import WeightsError
from snellen.tasks.classify.config import ClassifyRun
from snellen.tasks.classify.model import answer_settings, load_answerer, load_card
from snellen.tasks.streaming import closing_lines, count_lines, done_before, source_remarks, stream_vectors
from snellen.tasks.unread import write_unread

__all__ = ["Classification", "predict_all"]

TABLE: Final = "predictions.csv"
PROBABILITIES: Final = "probabilities"
_COLUMNS: Final = ("image", "class", "probability", "second", "second_probability")


@dataclass(slots=True)
class Classification:
    """What a stream of answers came to.

    Args:
        report: Of the stream.
        counts: Number of images by class.
        remarks: What a reader must know besides.
    """

    report: EmbedReport
    counts: Counter[str] = field(default_factory=Counter)
    remarks: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        """Images without an answer."""
        return len(self.report.unread)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "classes": dict(self.counts),
            "failed": self.failed,
            **self.report.to_dict(),
            "remarks": list(self.remarks),
        }

    def lines(self, *, limit: int = 10) -> list[str]:
        """The summary for people.

        Args:
            limit: At most this many classes and images without an answer are named.
        """
        report = self.report
        took = f"{report.seconds:.1f} s ({report.images_per_second:.1f} images/s)"
        return [
            f"{report.done} images classified in {took}{done_before(report)}, {self.failed} could not be read",
            *count_lines(self.counts, limit=limit),
            *closing_lines(report, self.remarks, limit=limit),
        ]


def predict_all(
    config: RunConfig,
    inputs: Sequence[str | Path],
    *,
    out: Path,
    limit: int | None = None,
    engine: Literal["local", "ray"] = "local",
    quiet: bool = False,
    checkpoints: Path | None = None,
) -> tuple[Classification, list[Path]]:
    """Classes of whatever was named, in one table; the probabilities of all classes stand beside it.

    Args:
        config: The run.
        inputs: Files, folders, patterns, lists, tables, shards.
        out: Where everything is written; a second call goes on where the first one ended.
        limit: Only the first images.
        engine: `ray` spreads the images over a cluster.
        quiet: Show no progress.
        checkpoints: Of the trained run.

    Returns:
        What it came to, and the table.

    Raises:
        WeightsError: A run file alone: it has no trained classifier.
        DataError: A source that does not exist or holds no image.
        RunFolderError: `out` cannot be written, is in use, or holds answers of another run.
        Interrupted: Ctrl-C; what is done is kept.
    """
    if not isinstance(config, ClassifyRun):
        raise TypeError(f"expected a ClassifyRun, given {type(config).__name__}")
    if checkpoints is None:
        raise WeightsError(
            "a run file alone has no trained classifier: its answers would be noise",
            hint="train first, then give the run's folder: snellen train RUN.yaml",
            slug="silent-random-weights",
        )
    source = open_sources(inputs)
    load = partial(load_answerer, checkpoints.absolute())
    answerer = load()
    make_folder(out)
    report = stream_vectors(
        source, answerer, out / PROBABILITIES, load=load, settings=answer_settings(limit=limit), engine=engine,
        what=None if quiet else "classifying",
    )  # fmt: skip
    done = Classification(report, remarks=tuple(source_remarks(source)))
    write_csv(out / TABLE, _COLUMNS, _rows(out / PROBABILITIES, load_card(checkpoints).classes.names, done.counts))
    write_unread(out, report.unread)
    write_json(out / "summary.json", done.to_dict())
    return done, [out / TABLE]


def _rows(folder: Path, classes: Sequence[str], counts: Counter[str]) -> Iterator[tuple[str, ...]]:
    """One row for each image, part by part, so that memory stays flat."""
    for part in distinct_parts(folder):
        best = np.argsort(-part.vectors, axis=1, kind="stable")[:, :2]
        for image, likeliest, found in zip(part.names, best.tolist(), part.vectors, strict=True):
            counts[classes[likeliest[0]]] += 1
            yield image, *(cell for number in likeliest for cell in (classes[number], f"{found[number]:.6f}"))
