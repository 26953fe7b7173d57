"""Vectors of images, part by part: decoded ahead in threads, forward passes kept full, split where memory runs out.

Forward passes of images of one size have the same shape whatever the settings, because the last bits of a matrix
product depend on it: the same images give the same bytes for any number of workers.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from snellen.core.environment import cpu_count
from snellen.data.feature_cache import FeatureCache
from snellen.data.features import FeaturePart, Unread
from snellen.data.isolated import IsolatedReader
from snellen.data.pictures import content_digest
from snellen.data.sources import ImageRef
from snellen.errors import SnellenError, UsageError
from snellen.models.backbones.embedders import Embedder

__all__ = ["PART_ROWS", "EmbedSettings", "PartEmbedder", "is_out_of_memory", "rows_of_part", "usable_device"]

PART_ROWS: Final = 1024
"""Images of a part, at most."""
_FEWEST_ROWS: Final = 32
_PASS: Final = {"cpu": 32, "mps": 64, "cuda": 128}
"""Images of 224 x 224 pixels in a forward pass, by kind of device; of larger ones as many pixels."""
_USUAL: Final = 224 * 224
_USUAL_WORK: Final = 25_000_000 * _USUAL
"""ResNet-50: parameters times pixels. Of heavier work, a part has fewer images on a CPU: what a kill may cost."""
_AHEAD_BYTES: Final = 256 * 2**20
"""Decoded images, or files of such, that may wait."""
_NO_MEMORY: Final = ("out of memory", "can't allocate memory", "not enough memory")
_MANY: Final = 8
"""Images without one finite vector that mean broken weights rather than odd images."""
_CONVERSIONS: Final = 50
"""Kinds of changes to pictures that are told apart; what is odd may be odd in a million ways."""
_NOT_FINITE: Final = "its features are not finite (NaN or Inf)"

Levels = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EmbedSettings:
    """How features are computed; none of it changes them.

    Args:
        device: `cpu`, `cuda`, `cuda:1`, `mps`.
        workers: Threads that read and decode; Pillow lets them run side by side.
        limit: Only the first images.
        rows: Images of a part: what a kill may cost; chosen by the work that they are without it.
    """

    device: str = "cpu"
    workers: int = 2
    limit: int | None = None
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class _Decoded:
    """One image ready for the network, or why it is not."""

    name: str
    digest: str = ""
    levels: Levels | None = None
    vector: Vectors | None = None
    unread: Unread | None = None
    notes: tuple[str, ...] = ()


def rows_of_part(embedder: Embedder, device: str) -> int:
    """Images of a part: fewer where a CPU would work long on them; the same for the same backbone and device.

    Args:
        embedder: The backbone.
        device: Where it computes.
    """
    if torch.device(device).type != "cpu":
        return PART_ROWS
    height, width = embedder.preprocessing.input_size or (224, 224)
    work = max(1, sum(one.numel() for one in embedder.network.parameters())) * height * width
    rows = PART_ROWS
    while rows > _FEWEST_ROWS and rows * work > PART_ROWS * _USUAL_WORK:
        rows //= 2
    return rows


class PartEmbedder:
    """Computes one part after the other.

    Args:
        embedder: The backbone; its network is moved to the device.
        settings: How.
        cache: Vectors that are known already, by the content of the file.
        watch: Is called for every image that was taken up; what it raises ends the work.
    """

    def __init__(
        self,
        embedder: Embedder,
        settings: EmbedSettings,
        *,
        cache: FeatureCache | None = None,
        watch: Callable[[], None] | None = None,
    ) -> None:
        self.embedder = embedder
        self.settings = settings
        self.cache = cache
        self.splits = 0
        self.cached = 0
        self.conversions: Counter[str] = Counter()
        self._any_good = False
        # A network that computes on all cores is not disturbed by threads that decode: they would take turns with it
        # for every operation, and both would wait for the one that the system has put to sleep.
        self._decoding = threading.Event()
        self._decoding.set()
        self._watch = watch or (lambda: None)
        self._device = usable_device(settings.device)
        self._all_cores = self._device.type == "cpu" and torch.get_num_threads() >= cpu_count()
        size = embedder.preprocessing.input_size
        height, width = size or (224, 224)
        self._same_size = size is not None
        self._pass = max(1, _PASS.get(self._device.type, 32) * _USUAL // max(_USUAL, height * width))
        self._waiting = max(2 * self._pass, min(512, _AHEAD_BYTES // (3 * height * width)))
        self._rows = settings.rows or rows_of_part(embedder, settings.device)
        embedder.network.to(self._device)
        # CPUs compute convolutions in a quarter less time when the channels come last in memory.
        self._memory_format = torch.channels_last if self._device.type == "cpu" else torch.contiguous_format
        for module in embedder.network.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=self._memory_format)  # type: ignore[call-overload]  # the stub lacks it

    def parts(self, refs: Iterable[ImageRef], *, rows: int | None = None) -> Iterator[FeaturePart]:
        """Cut images into parts and compute them; decoding runs ahead over the borders of parts.

        Args:
            refs: The images.
            rows: Images of a part; `rows_of_part` without it.

        Raises:
            UsageError: Not even one image fits into the device's memory, or no vector of a part is finite.
        """
        workers = max(1, self.settings.workers)
        pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        with IsolatedReader(min(workers, 2)) as apart:
            try:
                decoded = self._ahead(pool, apart, refs)
                while True:
                    part = self._part(islice(decoded, rows or self._rows))
                    if not part.names and not part.unread:
                        return
                    yield part
            finally:
                pool.shutdown(cancel_futures=True)

    def _ahead(self, pool: ThreadPoolExecutor, apart: IsolatedReader, refs: Iterable[ImageRef]) -> Iterator[_Decoded]:
        waiting: deque[tuple[int, Future[_Decoded]]] = deque()
        held = 0
        for ref in refs:
            size = len(ref.content or b"")
            waiting.append((size, pool.submit(self._decode, ref, apart)))
            held += size
            while len(waiting) > self._waiting or held > _AHEAD_BYTES:
                size, future = waiting.popleft()
                held -= size
                yield future.result()
        while waiting:
            yield waiting.popleft()[1].result()

    def _decode(self, ref: ImageRef, apart: IsolatedReader) -> _Decoded:
        try:
            content = ref.read()
            if self.cache is not None:
                digest = content_digest(content)
                known = self.cache.get(digest)
                if known is not None:
                    return _Decoded(ref.name, digest, vector=known)
            self._decoding.wait()
            picture = apart.read_fragile_apart(ref.name, content)
            levels = self.embedder.preprocessing.levels(picture.image)
            return _Decoded(ref.name, picture.digest, levels, notes=picture.notes)
        except SnellenError as error:
            return _Decoded(ref.name, unread=Unread(ref.name, error.message, error.slug))
        except Exception as error:  # noqa: BLE001 - one image must not take the others with it
            reason = f"{type(error).__name__}: {error}"
            return _Decoded(ref.name, unread=Unread(ref.name, reason, "corrupt-image"))

    def _part(self, decoded: Iterable[_Decoded]) -> FeaturePart:
        """One part; pixels are dropped as soon as they have been through the network."""
        kept: list[tuple[str, str]] = []
        unread: list[Unread] = []
        vectors: dict[int, Vectors] = {}
        fresh: list[int] = []
        groups: dict[tuple[int, ...], list[tuple[int, Levels]]] = {}
        held = 0
        for one in decoded:
            self._watch()
            if one.unread is not None:
                unread.append(one.unread)
                continue
            row = len(kept)
            kept.append((one.name, one.digest))
            if one.vector is not None:
                vectors[row] = one.vector
            if one.levels is None:
                continue
            fresh.append(row)
            self._remember(one.notes)
            # Images of one size go together, so that passes are full whatever the order of sizes.
            shape = one.levels.shape if self.embedder.preprocessing.pad is None else ()
            groups.setdefault(shape, []).append((row, one.levels))
            held += one.levels.nbytes
            if len(groups[shape]) >= self._pass or held > _AHEAD_BYTES:
                full = max(groups, key=lambda key: sum(levels.nbytes for _, levels in groups[key]))
                full = shape if len(groups[shape]) >= self._pass else full
                group = groups.pop(full)
                held -= sum(levels.nbytes for _, levels in group)
                vectors |= self._through(group)
        for group in groups.values():
            vectors |= self._through(group)
        self.cached += len(kept) - len(fresh)
        return self._finished(kept, vectors, fresh, unread)

    def _remember(self, notes: Iterable[str]) -> None:
        for note in notes:
            known = note in self.conversions or len(self.conversions) < _CONVERSIONS
            self.conversions[note if known else "other changes"] += 1

    def _finished(
        self, kept: Sequence[tuple[str, str]], vectors: dict[int, Vectors], fresh: Sequence[int], unread: list[Unread]
    ) -> FeaturePart:
        """The part of the rows that have finite vectors; the other images are listed with those not read."""
        good = [row for row in range(len(kept)) if np.isfinite(vectors[row]).all()]
        if len(kept) >= _MANY and not good and not self._any_good:
            raise UsageError(
                f"{kept[0][0]}: {_NOT_FINITE}, and so are those of all {len(kept)} images of this part",
                hint="the weights may be damaged: snellen weights inspect FILE",
                slug="nan-loss",
            )
        self._any_good = self._any_good or bool(good)
        lost = set(range(len(kept))).difference(good)
        unread += [Unread(kept[row][0], f"{kept[row][0]}: {_NOT_FINITE}", "nan-loss") for row in sorted(lost)]
        matrix = np.stack([vectors[row] for row in good]) if good else np.zeros((0, self.embedder.width), np.float32)
        place = {row: index for index, row in enumerate(good)}
        if self.cache is not None:
            new = [row for row in fresh if row in place]
            self.cache.put([kept[row][1] for row in new], matrix[[place[row] for row in new]])
        names, digests = tuple(kept[row][0] for row in good), tuple(kept[row][1] for row in good)
        return FeaturePart(names, digests, matrix, self.embedder.name, self.embedder.fingerprint, tuple(unread))

    def _through(self, group: Sequence[tuple[int, Levels]]) -> dict[int, Vectors]:
        if self._all_cores:
            self._decoding.clear()
        try:
            vectors = self._forward([levels for _, levels in group])
        finally:
            self._decoding.set()
        return {row: vectors[index] for index, (row, _) in enumerate(group)}

    def _forward(self, levels: Sequence[Levels]) -> Vectors:
        """Vectors of images of one size, in as few passes as memory allows."""
        results: list[Vectors] = []
        start = 0
        while start < len(levels):
            batch = levels[start : start + self._pass]
            found = self._one_pass(batch)
            if found is not None:
                results.append(found)
                start += len(batch)
            elif self._pass == 1:
                height, width, _ = batch[0].shape
                raise UsageError(
                    f"not even one image of {height} x {width} fits into the memory of {self._device}",
                    hint="a smaller backbone, or another device",
                    slug="cuda-oom",
                )
            else:
                # The next passes are smaller, too: what did not fit once will not fit again.
                self._pass //= 2
                self.splits += 1
                torch.cuda.empty_cache()
        return np.concatenate(results)

    def _one_pass(self, levels: Sequence[Levels]) -> Vectors | None:
        """Vectors of one pass, filled up with its last image; `None` when it does not fit into memory."""
        size = self._pass if self._same_size else min(self._pass, 1 << (len(levels) - 1).bit_length())
        filled = [*levels, *[levels[-1]] * (size - len(levels))]
        try:
            images = self.embedder.preprocessing.collate(filled, device=self._device)
            images = images.contiguous(memory_format=self._memory_format)
            found: Vectors = self.embedder.embed(images).cpu().numpy()[: len(levels)]
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return None
        return found


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch has said that memory ran out; what the CPU and Apple's GPUs raise has no class of its own.

    Args:
        error: What a pass raised.

    Example:
        >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"))
        True
    """
    said = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or any(words in said for words in _NO_MEMORY)


def usable_device(name: str) -> torch.device:
    """A device by its name, tried.

    Raises:
        UsageError: It cannot be used.

    Example:
        >>> usable_device("cpu")
        device(type='cpu')
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"the device {name!r} cannot be used: {reason}", hint="device: cpu", slug="invalid-device-ordinal"
        ) from error
    return device
