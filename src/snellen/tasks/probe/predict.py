"""All heads' answers for any number of images: features are streamed to disk, and the heads read them from there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from snellen.config.schema import RunConfig
from snellen.core.files import write_csv, write_json
from snellen.data.features import distinct_parts
from snellen.data.sources import open_sources
from snellen.data.writing import make_folder
from snellen.engine.embedding import EmbedReport
from snellen.tasks.probe.answers import PREDICTIONS, answer_of
from snellen.tasks.probe.config import ProbeRun, columns_of
from snellen.tasks.probe.features import FrozenFeatures, embed_settings
from snellen.tasks.probe.model import ProbeNet, load_probe
from snellen.tasks.streaming import closing_lines, done_before, source_remarks, stream_vectors
from snellen.tasks.unread import write_unread

__all__ = ["Probing", "predict_all"]

FEATURES: Final = "features"


@dataclass(frozen=True, slots=True)
class Probing:
    """What a stream of answers came to.

    Args:
        report: Of the features.
        heads: Their names.
        remarks: What a reader must know besides.
    """

    report: EmbedReport
    heads: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        """Images without an answer."""
        return len(self.report.unread)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "heads": list(self.heads),
            "failed": self.failed,
            **self.report.to_dict(),
            "remarks": list(self.remarks),
        }

    def lines(self, *, limit: int = 10) -> list[str]:
        """The summary for people.

        Args:
            limit: At most this many images without an answer are named.
        """
        report = self.report
        by = f"{len(self.heads)} heads ({', '.join(self.heads)})"
        first = f"{report.done} images answered by {by}{done_before(report)}, {self.failed} could not be read"
        return [first, *closing_lines(report, self.remarks, limit=limit)]


def predict_all(
    config: RunConfig,
    inputs: Sequence[str | Path],
    *,
    out: Path,
    limit: int | None = None,
    engine: Literal["local", "ray"] = "local",
    quiet: bool = False,
    checkpoints: Path | None = None,
) -> tuple[Probing, list[Path]]:
    """Answers of all heads for whatever was named, in one table.

    Args:
        config: The run.
        inputs: Files, folders, patterns, lists, tables, shards.
        out: Where everything is written; a second call goes on where the first one ended.
        limit: Only the first images.
        engine: `ray` spreads the features over a cluster; the heads answer here.
        quiet: Show no progress.
        checkpoints: Of the trained run.

    Returns:
        What it came to, and the table.

    Raises:
        WeightsError: There is no trained run, or its backbone is another one.
        DataError: A source that does not exist or holds no image.
        RunFolderError: `out` cannot be written, or holds features of another backbone.
        Interrupted: Ctrl-C; what is done is kept.
    """
    if not isinstance(config, ProbeRun):
        raise TypeError(f"expected a ProbeRun, given {type(config).__name__}")
    features = FrozenFeatures(config)
    net, notes = load_probe(checkpoints, features.embedder)
    source = open_sources(inputs)
    make_folder(out)
    cache = features.cache()
    report = stream_vectors(
        source, features.embedder, out / FEATURES, load=features.load, settings=embed_settings(config, limit=limit),
        engine=engine, cache=cache, what=None if quiet else "answering",
    )  # fmt: skip
    done = Probing(report, tuple(net.classes), (*notes, *source_remarks(source, cache)))
    _write(done, net, out)
    return done, [out / PREDICTIONS]


def _write(done: Probing, net: ProbeNet, out: Path) -> None:
    write_csv(out / PREDICTIONS, columns_of(done.heads), _rows(net, out / FEATURES))
    write_unread(out, done.report.unread)
    write_json(out / "summary.json", done.to_dict())


def _rows(net: ProbeNet, folder: Path) -> Iterator[list[str]]:
    """One row for each image, part by part, so that memory stays flat."""
    for part in distinct_parts(folder):
        answers = net.probabilities(part.vectors)
        for row, image in enumerate(part.names):
            cells = [image]
            for name, classes in net.classes.items():
                answer, probability = answer_of(classes, answers[name][row])
                cells += [answer, f"{probability:.6f}"]
            yield cells
