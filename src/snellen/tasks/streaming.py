"""Vectors of any number of images, for every task whose first step they are: in this process or over a Ray cluster.

And what the summaries of such tasks say alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from snellen.data.feature_cache import FeatureCache
from snellen.data.sources import ImageRef, ImageSource
from snellen.engine.embedding import EmbedReport, EmbedSettings, embed_images
from snellen.models.backbones.embedders import Embedder
from snellen.report.progress import Throughput
from snellen.report.text import harmless
from snellen.tasks.unread import UNREAD, unread_lines

__all__ = ["Source", "closing_lines", "count_lines", "done_before", "source_remarks", "stream_vectors"]


class Source(Protocol):
    """Images to be read one after the other."""

    def __iter__(self) -> Iterator[ImageRef]:
        """The images."""
        ...

    def count(self) -> int | None:
        """How many there are, `None` when nobody knows."""
        ...


def stream_vectors(
    source: Source,
    embedder: Embedder,
    folder: Path,
    *,
    load: Callable[[], Embedder],
    settings: EmbedSettings,
    engine: str = "local",
    cache: FeatureCache | None = None,
    what: str | None = "embedding",
) -> EmbedReport:
    """Vectors of all images of a source in a folder of features, with a line that says how fast it goes.

    Args:
        source: The images.
        embedder: The backbone.
        folder: Where the parts are written; a second call goes on where the first one ended.
        load: Makes the same backbone in another process; it is pickled.
        settings: How it is done.
        engine: `local`, or `ray` for a cluster.
        cache: Shared by many runs.
        what: For the line; `None` shows none.

    Raises:
        MissingExtraError: Ray is asked for and not installed.
        RunFolderError: The folder cannot be written, is in use, or holds vectors of another backbone.
        Interrupted: Ctrl-C; what is done is kept.
    """
    total, limit = source.count(), settings.limit
    total = total if total is None or limit is None else min(total, limit)
    with Throughput(what or "", total=total, silent=what is None) as bar:

        def tell(report: EmbedReport) -> None:
            bar(report.earlier + report.taken, problems=len(report.unread), skipped=report.earlier)

        if engine == "ray":
            from snellen.engine.ray_embedding import embed_on_ray  # noqa: PLC0415 - an extra

            return embed_on_ray(source, embedder, folder, load=load, settings=settings, cache=cache, progress=tell)
        return embed_images(source, embedder, folder, settings=settings, cache=cache, progress=tell)


def source_remarks(source: ImageSource, cache: FeatureCache | None = None) -> list[str]:
    """What a reader must know of a stream that has ended: files passed over, a cache that does not help."""
    remarks = [f"passed over: {count} {reason}" for reason, count in source.skipped.items() if count]
    if cache is not None and cache.problem:
        remarks.append(f"the cache does not help: {cache.problem}")
    return remarks


def done_before(report: EmbedReport) -> str:
    """The part of a summary's first line that tells what an earlier call had done, `""` when there was none."""
    return f", {report.earlier} done before" if report.earlier else ""


def count_lines(counts: Mapping[str, int], *, limit: int) -> list[str]:
    """How many images each answer has, the most frequent first.

    Args:
        counts: Number of images by answer.
        limit: At most this many answers are named.

    Example:
        >>> count_lines({"cat": 1, "dog": 20}, limit=1)
        ['      20  dog', '  and 1 more classes']
    """
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    lines = [f"  {count:6d}  {harmless(name)}" for name, count in ordered[:limit]]
    return [*lines, f"  and {len(ordered) - limit} more classes"] if len(ordered) > limit else lines


def closing_lines(report: EmbedReport, remarks: Sequence[str], *, limit: int, where: str | Path = UNREAD) -> list[str]:
    """The last lines of a stream's summary: memory that ran out, images that could not be read, remarks.

    Args:
        report: Of the stream.
        remarks: What a reader must know besides.
        limit: At most this many images that could not be read are named.
        where: The file that lists all of them.
    """
    split = [f"memory ran out {report.splits} times: smaller batches were taken"] if report.splits else []
    notes = [f"note: {harmless(one)}" for one in remarks]
    return [*split, *unread_lines(report.unread, limit=limit, where=where), *notes]
