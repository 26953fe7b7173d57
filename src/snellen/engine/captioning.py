"""Answers about any number of images, written part by part as they come, resumable; memory stays flat.

Each picture is looked at once, whatever the number of prompts. What a pass gives is on the CPU, and in words, before
the next pass begins; a part is written whole and forgotten, so a process that is killed loses the part in hand.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from snellen.data.captions import Caption, CaptionPart, write_caption_part
from snellen.data.features import Unread
from snellen.data.isolated import IsolatedReader
from snellen.data.sources import ImageRef
from snellen.engine.embedding import EmbedReport, Finished, working_in
from snellen.engine.part_embedder import is_out_of_memory, usable_device
from snellen.engine.signals import StopRequest
from snellen.errors import Interrupted, SnellenError, UsageError
from snellen.models.captioning.florence import Captioner
from snellen.models.captioning.prompts import Prompt

__all__ = ["CaptionSettings", "caption_images", "identity_of"]

_AHEAD: Final = 2
"""Passes whose pictures may wait, decoded."""
_TOLD_EVERY: Final = 0.2


@dataclass(frozen=True, slots=True)
class CaptionSettings:
    """How answers are computed.

    Args:
        device: `cpu`, `cuda`, `cuda:1`, `mps`.
        workers: Threads that read and decode.
        limit: Only the first images.
        batch_size: Pictures of a pass.
        rows: Images of a part: what a kill may cost.
        max_tokens: Longer answers are cut, and marked as not complete.
        beams: Of the search.
        features: Keep a vector of each image.
    """

    device: str = "cpu"
    workers: int = 2
    limit: int | None = None
    batch_size: int = 8
    rows: int = 16
    max_tokens: int = 256
    beams: int = 3
    features: bool = False


@dataclass(frozen=True, slots=True)
class _Decoded:
    name: str
    digest: str = ""
    size: tuple[int, int] = (0, 0)
    pixels: Tensor | None = None
    unread: Unread | None = None


def identity_of(captioner: Captioner, prompts: Sequence[Prompt], settings: CaptionSettings) -> str:
    """What answers depend on: model, prompts and search; a folder holds those of one."""
    asked = [captioner.fingerprint, *(prompt.name for prompt in prompts), settings.max_tokens, settings.beams]
    asked += [settings.features, str(captioner.network.dtype)]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def caption_images(
    refs: Iterable[ImageRef],
    captioner: Captioner,
    prompts: Sequence[Prompt],
    folder: Path,
    *,
    settings: CaptionSettings | None = None,
    progress: Callable[[EmbedReport], None] | None = None,
) -> EmbedReport:
    """Ask about images; those that have answers already are passed over.

    Images that an earlier call could not read are tried again, after all others.

    Args:
        refs: The images; each name once.
        captioner: The model; it is moved to the device.
        prompts: What it is asked.
        folder: Where the parts are written; `snellen.data.captions.read_captions` reads them.
        settings: How it is done.
        progress: Is told a few times a second.

    Raises:
        RunFolderError: The folder cannot be written, is in use, or holds answers of another model or to other prompts.
        UsageError: Not even one image fits into the device's memory.
        Interrupted: Ctrl-C or SIGTERM, after the part in hand; the same call goes on from there.
    """
    settings = settings or CaptionSettings()
    with working_in(folder, identity_of(captioner, prompts, settings), captioner.name):
        return _Run(captioner, prompts, folder, settings, progress).go(refs)


class _Run:
    """One call of `caption_images`."""

    def __init__(
        self,
        captioner: Captioner,
        prompts: Sequence[Prompt],
        folder: Path,
        settings: CaptionSettings,
        progress: Callable[[EmbedReport], None] | None,
    ) -> None:
        self.report = EmbedReport(folder)
        self._captioner, self._prompts, self._folder, self._settings = captioner, tuple(prompts), folder, settings
        self._progress, self._pass = progress, settings.batch_size
        self._fingerprint = identity_of(captioner, prompts, settings)
        self._finished = Finished(folder)
        self._number = self._finished.next_number
        self._again: list[ImageRef] = []
        self._started = self._told = time.perf_counter()
        self._stop = StopRequest()
        captioner.network.to(usable_device(settings.device))

    def go(self, refs: Iterable[ImageRef]) -> EmbedReport:
        try:
            with self._stop:
                self._parts(self._missing(refs), keep_unread=True)
                # A part is written only when one of them can be read now.
                self._parts(self._again, keep_unread=False)
        except KeyboardInterrupt:
            raise self._interrupted() from None
        self.report.seconds = time.perf_counter() - self._started
        return self.report

    def _missing(self, refs: Iterable[ImageRef]) -> Iterator[ImageRef]:
        for ref in islice(refs, self._settings.limit):
            if ref.name in self._finished.names:
                self.report.earlier += 1
            elif ref.name in self._finished.unread:
                self._again.append(ref)
            else:
                yield ref

    def _parts(self, refs: Iterable[ImageRef], *, keep_unread: bool) -> None:
        workers = max(1, self._settings.workers)
        pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        with IsolatedReader(min(workers, 2)) as apart:
            try:
                decoded = self._ahead(pool, apart, refs)
                while True:
                    rows, unread = self._part(islice(decoded, self._settings.rows))
                    if not rows and not unread:
                        return
                    self.report.unread += unread
                    if rows or keep_unread:
                        names = tuple(prompt.name for prompt in self._prompts)
                        part = CaptionPart(rows, names, self._captioner.name, self._fingerprint, tuple(unread))
                        write_caption_part(self._folder, part, number=self._number)
                        self._number += 1
                        self.report.done += len(rows)
                    self.report.remember_memory()
                    self._tell()
                    if self._stop.requested:
                        raise self._interrupted()
            finally:
                pool.shutdown(cancel_futures=True)

    def _ahead(self, pool: ThreadPoolExecutor, apart: IsolatedReader, refs: Iterable[ImageRef]) -> Iterator[_Decoded]:
        waiting: deque[Future[_Decoded]] = deque()
        for ref in refs:
            waiting.append(pool.submit(self._decode, ref, apart))
            if len(waiting) > _AHEAD * self._settings.batch_size:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _decode(self, ref: ImageRef, apart: IsolatedReader) -> _Decoded:
        try:
            content = ref.read()
            picture = apart.read_fragile_apart(ref.name, content)
            return _Decoded(ref.name, picture.digest, picture.image.size, self._captioner.prepare(picture.image))
        except SnellenError as error:
            return _Decoded(ref.name, unread=Unread(ref.name, error.message, error.slug))
        except Exception as error:  # noqa: BLE001 - one image must not take the others with it
            return _Decoded(ref.name, unread=Unread(ref.name, f"{type(error).__name__}: {error}", "corrupt-image"))

    def _part(self, decoded: Iterable[_Decoded]) -> tuple[tuple[Caption, ...], list[Unread]]:
        rows: list[Caption] = []
        unread: list[Unread] = []
        batch: list[_Decoded] = []
        for one in decoded:
            self.report.taken += 1
            if one.unread is not None:
                unread.append(one.unread)
                continue
            batch.append(one)
            if len(batch) >= self._pass:
                rows += self._answers(batch)
                batch = []
            if time.perf_counter() - self._told > _TOLD_EVERY:
                self._tell()
        rows += self._answers(batch)
        return tuple(rows), unread

    def _answers(self, batch: Sequence[_Decoded]) -> list[Caption]:
        """Of pictures in as few passes as memory allows."""
        found: list[Caption] = []
        while len(found) < len(batch):
            some = batch[len(found) : len(found) + self._pass]
            rows = self._one_pass(some)
            if rows is not None:
                found += rows
            elif self._pass == 1:
                raise UsageError(
                    f"not even one picture fits into the memory of {self._settings.device}",
                    hint="fewer beams, a smaller model, or another device",
                    slug="cuda-oom",
                )
            else:
                # The next passes are smaller, too: what did not fit once will not fit again.
                self._pass //= 2
                self.report.splits += 1
                torch.cuda.empty_cache()
        return found

    def _one_pass(self, batch: Sequence[_Decoded]) -> list[Caption] | None:
        """Answers of one pass, filled up with its last picture so that its shape is the same; `None` without memory."""
        captioner, settings = self._captioner, self._settings
        pixels = [one.pixels for one in batch if one.pixels is not None]
        try:
            filled = torch.stack([*pixels, *[pixels[-1]] * (self._pass - len(pixels))])
            tokens = captioner.look(filled.to(captioner.device))
            vectors = captioner.vectors(tokens).cpu().numpy() if settings.features else None
            asked = [
                captioner.ask(tokens, prompt, max_tokens=settings.max_tokens, beams=settings.beams)
                for prompt in self._prompts
            ]
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return None
        rows = []
        for place, one in enumerate(batch):
            answers = {}
            for prompt, numbers in zip(self._prompts, asked, strict=True):
                answer = captioner.read(numbers[place], prompt, one.size, max_tokens=settings.max_tokens)
                regions = [{"label": region.label, "points": list(region.points)} for region in answer.regions]
                answers[prompt.name] = {"text": answer.text, "regions": regions, "complete": answer.complete}
            vector = None if vectors is None else vectors[place].copy()
            rows.append(Caption(one.name, one.digest, one.size, answers, vector))
        return rows

    def _tell(self) -> None:
        self._told = time.perf_counter()
        self.report.seconds = self._told - self._started
        if self._progress is not None:
            self._progress(self.report)

    def _interrupted(self) -> Interrupted:
        kept = self.report.done + self.report.earlier
        return Interrupted(
            f"stopped; the answers about {kept} images are kept in {self._folder}",
            hint="the same command goes on from there",
        )
