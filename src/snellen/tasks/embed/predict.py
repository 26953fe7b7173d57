"""Images into a folder of features, with a page that says how it went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from snellen.config.schema import RunConfig
from snellen.core.files import write_json, write_text
from snellen.data.feature_cache import FeatureCache
from snellen.data.sources import ImageRef, ImageSource, open_sources
from snellen.engine.embedding import EmbedReport, EmbedSettings
from snellen.models.backbones.embedders import Embedder
from snellen.report.progress import note
from snellen.report.text import harmless
from snellen.tasks.embed.config import EmbedRun
from snellen.tasks.embed.page import render_embedding
from snellen.tasks.streaming import closing_lines, done_before, source_remarks, stream_vectors
from snellen.tasks.trained_backbone import backbone_loader
from snellen.tasks.unread import UNREAD, write_unread

__all__ = ["Embedding", "predict_all"]

PAGE = "report.html"
SUMMARY = "summary.json"
_PICTURES = 400


@dataclass(frozen=True, slots=True)
class Embedding:
    """What a stream of embeddings came to.

    Args:
        report: The figures.
        embedder: The backbone.
        remarks: What a reader must know besides: caches that could not be written, files passed over.
    """

    report: EmbedReport
    embedder: Embedder
    remarks: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        """Images without features."""
        return len(self.report.unread)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "backbone": self.embedder.name,
            "fingerprint": self.embedder.fingerprint,
            "width": self.embedder.width,
            "failed": self.failed,
            **self.report.to_dict(),
            "remarks": list(self.remarks),
        }

    def lines(self, *, limit: int = 10) -> list[str]:
        """The summary for people.

        Args:
            limit: At most this many images without features are named.
        """
        report = self.report
        cached = f", {report.cached} of them known to the cache" if report.cached else ""
        took = f"{report.seconds:.1f} s ({report.images_per_second:.1f} images/s)"
        lines = [
            f"{report.done} images embedded in {took}{cached}{done_before(report)}, {self.failed} could not be read",
            f"{self.embedder.name}: vectors of {self.embedder.width} numbers, fingerprint {self.embedder.fingerprint}",
            *_conversion_lines(report),
            *closing_lines(report, self.remarks, limit=limit, where=report.folder / UNREAD),
        ]
        if self.failed:
            lines.append("next: mend these files and type the same command again: it tries them, and nothing else")
        if report.changed:
            lines.append(
                f"{len(report.changed)} files were written after their features were, {harmless(report.changed[0])} "
                "for one: choose another output folder to embed them anew"
            )
        return lines


def predict_all(
    config: RunConfig,
    inputs: Sequence[str | Path],
    *,
    out: Path,
    limit: int | None = None,
    engine: Literal["local", "ray"] = "local",
    quiet: bool = False,
) -> tuple[Embedding, list[Path]]:
    """Embed whatever was named.

    Args:
        config: An embedding run.
        inputs: Files, folders, patterns, lists, tables, shards.
        out: Where features and page are written; a second call goes on where the first one ended.
        limit: Only the first images.
        engine: `ray` spreads the parts over a cluster.
        quiet: Show no progress.

    Returns:
        What it came to, and the files that concern all images.

    Raises:
        DataError: A source that does not exist or holds no image.
        WeightsError: Weights that cannot be had.
        RunFolderError: `out` cannot be written, is in use, or holds features of another backbone.
        Interrupted: Ctrl-C; what is done is kept.
    """
    if not isinstance(config, EmbedRun):
        raise TypeError(f"expected an EmbedRun, given {type(config).__name__}")
    source = open_sources(inputs)
    model = config.model
    load = backbone_loader(
        model.backbone, weights=model.weights, pretrained=model.pretrained, root=config.output.parent
    )
    embedder = load()
    workers = config.data.workers if isinstance(config.data.workers, int) else 1
    settings = EmbedSettings(device=config.device, workers=max(1, workers), limit=limit)
    cache = FeatureCache(config.cache, embedder.fingerprint, embedder.name) if isinstance(config.cache, Path) else None
    sample = _Sample(source)
    report = stream_vectors(
        sample, embedder, out, load=load, settings=settings, engine=engine, cache=cache,
        what=None if quiet else "embedding",
    )  # fmt: skip
    done = Embedding(report, embedder, tuple(source_remarks(source, cache)))
    return done, _write(done, sample.refs, out, quiet=quiet)


def _conversion_lines(report: EmbedReport, *, limit: int = 5) -> list[str]:
    """What had to be changed in pictures, the most frequent first."""
    lines = [
        f"changed before embedding: {count:,} image{'s' * (count != 1)}, {harmless(what)}"
        for what, count in report.conversions.most_common(limit)
    ]
    more = len(report.conversions) - limit
    return [*lines, f"and {more} more kinds of changes, in {report.folder / SUMMARY}"] if more > 0 else lines


def _write(done: Embedding, refs: Sequence[ImageRef], out: Path, *, quiet: bool) -> list[Path]:
    if not quiet:
        note(f"writing {out / PAGE}")
    write_json(out / SUMMARY, done.to_dict())
    write_unread(out, done.report.unread)
    write_text(out / PAGE, render_embedding(done.report, done.embedder, refs))
    return [out / PAGE]


class _Sample:
    """Passes images on and remembers some of them, evenly spread, for the page."""

    def __init__(self, source: ImageSource) -> None:
        self._source = source
        self.refs: list[ImageRef] = []

    def count(self) -> int | None:
        return self._source.count()

    def __iter__(self) -> Iterator[ImageRef]:
        step = 1
        for index, ref in enumerate(self._source):
            if index % step == 0 and ref.content is None:
                self.refs.append(ref)
                if len(self.refs) > 2 * _PICTURES:
                    del self.refs[1::2]
                    step *= 2
            yield ref
