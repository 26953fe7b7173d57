"""Features for any number of images, written part by part as they come, resumable.

A part is computed, written whole and forgotten, so memory stays flat and a process that is killed loses at most one.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil

from snellen.core.lock import FolderLock
from snellen.data.feature_cache import FeatureCache
from snellen.data.features import (
    FeaturePart,
    Features,
    Unread,
    part_files,
    read_record,
    refuse_other,
    sweep,
    write_part,
)
from snellen.data.name_set import NameSet
from snellen.data.sources import ImageRef, image_ref
from snellen.data.writing import make_folder
from snellen.engine.part_embedder import PART_ROWS, EmbedSettings, PartEmbedder
from snellen.engine.signals import StopRequest
from snellen.errors import Interrupted
from snellen.models.backbones.embedders import Embedder

__all__ = [
    "LOCK",
    "PART_ROWS",
    "EmbedReport",
    "EmbedSettings",
    "Finished",
    "PartEmbedder",
    "embed_images",
    "features_of",
    "working_in",
]

LOCK: Final = "lock.json"
"""Who works in a folder of features."""
_PATIENCE: Final = 10.0
"""Seconds that are spent on the part in hand after Ctrl-C."""
_TOLD_EVERY: Final = 0.2
_KEPT: Final = 1000
"""Names of changed files, and points of the curve of memory, that are kept."""


@dataclass(slots=True)
class EmbedReport:
    """What came of it.

    Args:
        folder: Where the features lie.
        done: Images embedded in this call.
        earlier: Images that had features from an earlier call.
        cached: Of `done`, how many came from the cache.
        unread: Images without features, in this call and earlier ones.
        splits: How often a forward pass was split because memory ran out.
        conversions: What had to be changed in pictures of this call before the preprocessing, and in how many.
        seconds: Of this call.
        taken: Images taken up in this call, those of the part in hand included.
        changed: Files that were written after their features were; the first thousand.
        memory: `(images, resident bytes)` after parts, a thousand at most.
    """

    folder: Path
    done: int = 0
    earlier: int = 0
    cached: int = 0
    unread: list[Unread] = field(default_factory=list)
    splits: int = 0
    conversions: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    taken: int = 0
    changed: list[str] = field(default_factory=list)
    memory: list[tuple[int, int]] = field(default_factory=list)

    @property
    def images_per_second(self) -> float:
        """Of this call, files that could not be read not counted."""
        return self.done / self.seconds if self.seconds else 0.0

    def remember_memory(self) -> None:
        """Add a point to the curve of memory; a long curve keeps every second point."""
        self.memory.append((self.done, psutil.Process(os.getpid()).memory_info().rss))
        if len(self.memory) > _KEPT:
            del self.memory[1::2]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "folder": str(self.folder),
            "done": self.done,
            "earlier": self.earlier,
            "cached": self.cached,
            "unread": [{"path": one.name, "reason": one.reason, "slug": one.slug} for one in self.unread],
            "changed": self.changed,
            "splits": self.splits,
            "conversions": dict(self.conversions.most_common()),
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 2),
            "memory": [list(one) for one in self.memory],
        }


class Finished:
    """What a folder of features holds already.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.names = NameSet()
        self.unread: dict[str, Unread] = {}
        self.numbers: set[int] = set()
        self._written = 0.0
        for path in part_files(folder):
            part = read_record(path)
            for name in part.names:
                self.names.add(name)
            self.unread |= {one.name: one for one in part.unread}
            digits = path.stem.removeprefix("part-")
            if digits.isdigit():
                self.numbers.add(int(digits))
            self._written = max(self._written, path.stat().st_mtime)
        self.unread = {name: one for name, one in self.unread.items() if name not in self.names}

    @property
    def next_number(self) -> int:
        """Of the part that comes after all others."""
        return max(self.numbers, default=-1) + 1

    def is_changed(self, ref: ImageRef) -> bool:
        """Whether a file was certainly written after its features were."""
        try:
            return ref.offset is None and ref.path.stat().st_mtime > self._written
        except OSError:
            return False


def embed_images(
    refs: Iterable[ImageRef],
    embedder: Embedder,
    folder: Path,
    *,
    settings: EmbedSettings | None = None,
    cache: FeatureCache | None = None,
    progress: Callable[[EmbedReport], None] | None = None,
) -> EmbedReport:
    """Embed images into a folder of features; what is there already is passed over.

    Images that an earlier call could not read are tried again, after all others.

    Args:
        refs: The images; each name once.
        embedder: The backbone.
        folder: Where the parts are written.
        settings: How it is done.
        cache: Shared by many runs.
        progress: Is told a few times a second.

    Returns:
        What came of it; the features are read with `snellen.data.features.read_features`.

    Raises:
        RunFolderError: The folder cannot be written, is in use by another process, or holds features of another
            backbone.
        Interrupted: Ctrl-C or SIGTERM, once the part in hand is done or ten seconds have passed; the same call goes on
            from there.
    """
    with working_in(folder, embedder.fingerprint, embedder.name):
        return _Run(embedder, folder, settings or EmbedSettings(), cache, progress).embed(refs)


@contextmanager
def working_in(folder: Path, fingerprint: str, backbone: str) -> Iterator[None]:
    """Have a folder of features to oneself, freed of what killed processes left half written.

    Args:
        folder: Is made when it is not there.
        fingerprint: Of what makes the features.
        backbone: Its name.

    Raises:
        RunFolderError: The folder cannot be written, is in use by another process, or holds features of another
            backbone.
    """
    make_folder(folder)
    lock = FolderLock(folder / LOCK)
    lock.acquire()
    try:
        refuse_other(folder, fingerprint, backbone)
        sweep(folder)
        yield
    finally:
        lock.release()


class _Run:
    """One call of `embed_images`."""

    def __init__(
        self,
        embedder: Embedder,
        folder: Path,
        settings: EmbedSettings,
        cache: FeatureCache | None,
        progress: Callable[[EmbedReport], None] | None,
    ) -> None:
        self.report = EmbedReport(folder)
        self._folder, self._limit, self._progress = folder, settings.limit, progress
        self._worker = PartEmbedder(embedder, settings, cache=cache, watch=self._watch)
        self._finished = Finished(folder)
        self._number = self._finished.next_number
        self._again: list[ImageRef] = []
        self._started = self._told = time.perf_counter()
        self._stopped_at: float | None = None
        self._stop = StopRequest()

    def embed(self, refs: Iterable[ImageRef]) -> EmbedReport:
        try:
            with self._stop:
                for part in self._worker.parts(self._missing(refs)):
                    self._write(part)
                    self.report.unread += part.unread
                    self._after_part()
                self._try_again()
        except KeyboardInterrupt:
            raise self._interrupted() from None
        self.report.seconds = time.perf_counter() - self._started
        return self.report

    def _missing(self, refs: Iterable[ImageRef]) -> Iterator[ImageRef]:
        for ref in islice(refs, self._limit):
            if ref.name in self._finished.names:
                self.report.earlier += 1
                if len(self.report.changed) < _KEPT and self._finished.is_changed(ref):
                    self.report.changed.append(ref.name)
            elif ref.name not in self._finished.unread:
                yield ref
            elif ref.content is not None or ref.problem:
                # Bytes in a table that could not be read once will not be read this time.
                self.report.unread.append(self._finished.unread[ref.name])
            else:
                self._again.append(ref)

    def _try_again(self) -> None:
        """Images that could not be read in an earlier call; a part is written only when one can be read now."""
        for part in self._worker.parts(self._again):
            self.report.unread += part.unread
            if part.names:
                # What could not be read stands in an earlier part already.
                self._write(replace(part, unread=()))
            self._after_part()

    def _write(self, part: FeaturePart) -> None:
        write_part(self._folder, part, number=self._number)
        self._number += 1
        self.report.done += len(part.names)

    def _after_part(self) -> None:
        self.report.cached, self.report.splits = self._worker.cached, self._worker.splits
        self.report.conversions = self._worker.conversions
        self.report.remember_memory()
        self._tell()
        if self._stop.requested:
            raise self._interrupted()

    def _watch(self) -> None:
        self.report.taken += 1
        now = time.perf_counter()
        if self._stop.requested:
            self._stopped_at = self._stopped_at or now
            if now - self._stopped_at > _PATIENCE:
                raise self._interrupted()
        if now - self._told > _TOLD_EVERY:
            self._tell()

    def _tell(self) -> None:
        self._told = time.perf_counter()
        self.report.seconds = self._told - self._started
        if self._progress is not None:
            self._progress(self.report)

    def _interrupted(self) -> Interrupted:
        kept = self.report.done + self.report.earlier
        return Interrupted(
            f"stopped; the features of {kept} images are kept in {self._folder}",
            hint="the same command goes on from there",
        )


def features_of(
    images: Iterable[ImageRef | str | Path],
    embedder: Embedder,
    *,
    settings: EmbedSettings | None = None,
    cache: FeatureCache | None = None,
    watch: Callable[[], None] | None = None,
) -> Features:
    """Features of a set that fits in memory, in the order of the images.

    Args:
        images: What `open_sources` yields, or paths; an image that is named twice has two rows.
        embedder: The backbone.
        settings: How it is done.
        cache: Vectors that are known already; what is computed here is added to it.
        watch: Is called for every image that was taken up.

    Example:
        >>> from snellen.models.backbones.embedders import load_embedder
        >>> features_of([], load_embedder("hog")).vectors.shape
        (0, 768)
    """
    settings = settings or EmbedSettings()
    if cache is not None:
        cache.refresh()
    refs = (one if isinstance(one, ImageRef) else image_ref(one) for one in islice(images, settings.limit))
    parts = list(PartEmbedder(embedder, settings, cache=cache, watch=watch).parts(refs))
    return Features(
        tuple(name for part in parts for name in part.names),
        tuple(digest for part in parts for digest in part.digests),
        np.concatenate([np.zeros((0, embedder.width), np.float32), *(part.vectors for part in parts)]),
        embedder.name,
        embedder.fingerprint,
        tuple(unread for part in parts for unread in part.unread),
    )
