"""Features for any number of images: decoded ahead in threads, batches kept full, written as they come, resumable.

Work is cut into parts of a fixed number of images. A part is computed, written whole and forgotten, so memory stays
flat and a process that is killed loses at most one. Forward passes have the same shape whatever the settings, because
the last bits of a matrix product depend on it: the same images give the same bytes for any number of workers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import psutil
import torch

from snellen.data.feature_cache import FeatureCache
from snellen.data.features import FeaturePart, Features, Unread, part_files, read_part, refuse_other, write_part
from snellen.data.pictures import content_digest, read_picture
from snellen.data.sources import ImageRef
from snellen.engine.signals import StopRequest
from snellen.errors import Interrupted, SnellenError
from snellen.models.backbones.embedders import Embedder

__all__ = ["PART_ROWS", "EmbedReport", "EmbedSettings", "PartEmbedder", "embed_images", "features_of"]

PART_ROWS: Final = 1024
"""Images of a part."""
_PASS: Final = {"cpu": 32, "mps": 64, "cuda": 128}
"""Images of 224 x 224 pixels in a forward pass, by kind of device; of larger ones as many pixels."""
_USUAL: Final = 224 * 224
_AHEAD_BYTES: Final = 256 * 2**20
"""Decoded images that may wait."""


@dataclass(frozen=True, slots=True)
class EmbedSettings:
    """How features are computed; none of it changes them.

    Args:
        device: `cpu`, `cuda`, `cuda:1`, `mps`.
        workers: Threads that read and decode; Pillow lets them run side by side.
        limit: Only the first images.
    """

    device: str = "cpu"
    workers: int = 2
    limit: int | None = None


@dataclass(slots=True)
class EmbedReport:
    """What came of it.

    Args:
        folder: Where the features lie.
        done: Images embedded in this call.
        earlier: Images that had features from an earlier call.
        cached: Of `done`, how many came from the cache.
        unread: Images that could not be read, in this call and earlier ones.
        splits: How often a forward pass was split because memory ran out.
        seconds: Of this call.
        memory: `(images, resident bytes)` after each part.
    """

    folder: Path
    done: int = 0
    earlier: int = 0
    cached: int = 0
    unread: list[Unread] = field(default_factory=list)
    splits: int = 0
    seconds: float = 0.0
    memory: list[tuple[int, int]] = field(default_factory=list)

    @property
    def images_per_second(self) -> float:
        """Of this call, files that could not be read not counted."""
        return self.done / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "folder": str(self.folder),
            "done": self.done,
            "earlier": self.earlier,
            "cached": self.cached,
            "unread": [{"path": one.name, "reason": one.reason, "slug": one.slug} for one in self.unread],
            "splits": self.splits,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 2),
            "memory": [list(one) for one in self.memory],
        }


@dataclass(frozen=True, slots=True)
class _Decoded:
    """One image ready for the network, or why it is not."""

    name: str
    digest: str = ""
    levels: npt.NDArray[np.uint8] | None = None
    vector: npt.NDArray[np.float32] | None = None
    unread: Unread | None = None


class PartEmbedder:
    """Computes one part after the other.

    Args:
        embedder: The backbone; its network is moved to the device.
        settings: How.
        cache: Vectors that are known already, by the content of the file.
    """

    def __init__(self, embedder: Embedder, settings: EmbedSettings, *, cache: FeatureCache | None = None) -> None:
        self.embedder = embedder
        self.settings = settings
        self.cache = cache
        self.splits = 0
        self.cached = 0
        self._device = torch.device(settings.device)
        height, width = embedder.preprocessing.input_size or (224, 224)
        self._pass = max(1, _PASS.get(self._device.type, 32) * _USUAL // max(_USUAL, height * width))
        self._waiting = max(2 * self._pass, min(512, _AHEAD_BYTES // (3 * height * width)))
        embedder.network.to(self._device)

    def parts(self, refs: Iterable[ImageRef], *, rows: int = PART_ROWS) -> Iterator[FeaturePart]:
        """Cut images into parts and compute them; decoding runs ahead over the borders of parts."""
        with ThreadPoolExecutor(self.settings.workers, thread_name_prefix="decode") as pool:
            decoded = self._ahead(pool, refs)
            while True:
                part = self._part(islice(decoded, rows))
                if not part.names and not part.unread:
                    return
                yield part

    def _ahead(self, pool: ThreadPoolExecutor, refs: Iterable[ImageRef]) -> Iterator[_Decoded]:
        waiting: list[Future[_Decoded]] = []
        try:
            for ref in refs:
                waiting.append(pool.submit(self._decode, ref))
                if len(waiting) > self._waiting:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()

    def _decode(self, ref: ImageRef) -> _Decoded:
        try:
            content = ref.read()
            if self.cache is not None:
                digest = content_digest(content)
                known = self.cache.get(digest)
                if known is not None:
                    return _Decoded(ref.name, digest, vector=known)
            picture = read_picture(ref.name, content=content)
            return _Decoded(ref.name, picture.digest, self.embedder.preprocessing.levels(picture.image))
        except SnellenError as error:
            return _Decoded(ref.name, unread=Unread(ref.name, error.message, error.slug))
        except (OSError, ValueError, MemoryError) as error:
            reason = f"{type(error).__name__}: {error}"
            return _Decoded(ref.name, unread=Unread(ref.name, reason, "corrupt-image"))

    def _part(self, decoded: Iterable[_Decoded]) -> FeaturePart:
        """One part; pixels are dropped as soon as they have been through the network."""
        names: list[str] = []
        digests: list[str] = []
        unread: list[Unread] = []
        vectors: dict[int, npt.NDArray[np.float32]] = {}
        fresh: list[int] = []
        waiting: dict[tuple[int, ...], list[tuple[int, npt.NDArray[np.uint8]]]] = {}
        for one in decoded:
            if one.unread is not None:
                unread.append(one.unread)
                continue
            row = len(names)
            names.append(one.name)
            digests.append(one.digest)
            if one.levels is None:
                vectors[row] = one.vector if one.vector is not None else np.zeros(self.embedder.width, np.float32)
                continue
            fresh.append(row)
            # Images of one size go together, so that passes are full whatever the order of sizes.
            shape = one.levels.shape if self.embedder.preprocessing.pad is None else ()
            group = waiting.setdefault(shape, [])
            group.append((row, one.levels))
            if len(group) == self._pass:
                vectors |= self._through(waiting.pop(shape))
        for group in waiting.values():
            vectors |= self._through(group)
        self.cached += len(names) - len(fresh)
        matrix = np.zeros((len(names), self.embedder.width), np.float32)
        for row, vector in vectors.items():
            matrix[row] = vector
        if self.cache is not None:
            self.cache.put([digests[row] for row in fresh], matrix[fresh])
        return FeaturePart(
            tuple(names), tuple(digests), matrix, self.embedder.name, self.embedder.fingerprint, tuple(unread)
        )

    def _through(self, group: Sequence[tuple[int, npt.NDArray[np.uint8]]]) -> dict[int, npt.NDArray[np.float32]]:
        vectors = self._forward([levels for _, levels in group])
        return {row: vectors[index] for index, (row, _) in enumerate(group)}

    def _forward(self, levels: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """Vectors of at most one pass of images of one size; an incomplete pass is filled up with its last image."""
        filled = [*levels, *[levels[-1]] * (self._pass - len(levels))]
        try:
            images = self.embedder.preprocessing.collate(filled, device=self._device)
            vectors: npt.NDArray[np.float32] = self.embedder.embed(images).cpu().numpy()[: len(levels)]
        except torch.OutOfMemoryError:
            if self._pass == 1:
                raise
            # The next passes are smaller, too: what did not fit once will not fit again.
            torch.cuda.empty_cache()
            self._pass //= 2
            self.splits += 1
        else:
            return vectors
        halves = [levels[start : start + self._pass] for start in range(0, len(levels), self._pass)]
        return np.concatenate([self._forward(half) for half in halves])


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

    Args:
        refs: The images; each name once.
        embedder: The backbone.
        folder: Where the parts are written.
        settings: How it is done.
        cache: Shared by many runs.
        progress: Is told after each part.

    Returns:
        What came of it; the features are read with `snellen.data.features.read_features`.

    Raises:
        RunFolderError: The folder cannot be written, or holds features of another backbone.
        Interrupted: Ctrl-C or SIGTERM, after the part in hand; the same call goes on from there.
    """
    settings = settings or EmbedSettings()
    report = EmbedReport(folder)
    refuse_other(folder, embedder.fingerprint, embedder.name)
    finished, number = _finished(folder, report)
    worker = PartEmbedder(embedder, settings, cache=cache)
    started, process = time.perf_counter(), psutil.Process(os.getpid())

    def missing() -> Iterator[ImageRef]:
        for ref in islice(refs, settings.limit):
            if ref.name in finished:
                report.earlier += 1
            else:
                yield ref

    with StopRequest() as stop:
        for part in worker.parts(missing()):
            write_part(folder, part, number=number)
            number += 1
            report.done += len(part.names)
            report.unread += part.unread
            report.cached, report.splits = worker.cached, worker.splits
            report.seconds = time.perf_counter() - started
            report.memory.append((report.done, process.memory_info().rss))
            if progress is not None:
                progress(report)
            if stop.requested:
                raise Interrupted(
                    f"stopped after {report.done + report.earlier} images; what is done is kept in {folder}",
                    hint="the same command goes on from there",
                )
    report.seconds = time.perf_counter() - started
    return report


def features_of(
    images: Iterable[ImageRef | str | Path],
    embedder: Embedder,
    *,
    settings: EmbedSettings | None = None,
    cache: FeatureCache | None = None,
) -> Features:
    """Features of a set that fits in memory, in the order of the images.

    Args:
        images: What `open_sources` yields, or paths; an image that is named twice has two rows.
        embedder: The backbone.
        settings: How it is done.
        cache: Vectors that are known already; what is computed here is added to it.

    Example:
        >>> from snellen.models.backbones.embedders import load_embedder
        >>> features_of([], load_embedder("hog")).vectors.shape
        (0, 768)
    """
    refs = (one if isinstance(one, ImageRef) else ImageRef(str(one), Path(one)) for one in images)
    worker = PartEmbedder(embedder, settings or EmbedSettings(), cache=cache)
    parts = list(worker.parts(refs))
    return Features(
        tuple(name for part in parts for name in part.names),
        tuple(digest for part in parts for digest in part.digests),
        np.concatenate([np.zeros((0, embedder.width), np.float32), *(part.vectors for part in parts)]),
        embedder.name,
        embedder.fingerprint,
        tuple(unread for part in parts for unread in part.unread),
    )


def _finished(folder: Path, report: EmbedReport) -> tuple[set[str], int]:
    """Names that need no features any more, and the number of the next part."""
    names: set[str] = set()
    number = 0
    for path in part_files(folder):
        part = read_part(path)
        names.update(part.names, (one.name for one in part.unread))
        report.unread += part.unread
        digits = path.stem.removeprefix("part-")
        number = max(number, int(digits) + 1) if digits.isdigit() else number
    return names, number
