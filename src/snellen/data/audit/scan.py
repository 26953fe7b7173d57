"""Every image of a list opened, the pixels of all or of an even sample measured; what is known already is not read."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from snellen.core.facts.data import ImageRecord, MaskRecord
from snellen.data.audit.cache import AuditCache, FileState, state_of
from snellen.data.audit.measuring import CHANGED
from snellen.data.audit.worker import image_from, mask_from
from snellen.data.audit.workers import Job, Outcome, work

__all__ = ["MAX_BYTES", "MAX_MASKS", "MAX_MEASURED", "MIN_MEASURED", "Scan", "sample_evenly", "scan"]

MAX_MEASURED: Final = 20_000
"""Images whose pixels are measured at most."""
MAX_BYTES: Final = 500_000_000
"""Size of the files that are decoded, about: 4,000 photographs of 125 kB, some ten seconds of two cores."""
MIN_MEASURED: Final = 300
"""Images that are measured however large they are."""
MAX_MASKS: Final = 5_000
"""Masks that are decoded at most: they are decoded at full size."""

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Scan:
    """What became of a list of files.

    Args:
        images: By path, in the order given.
        masks: By path, those that were decoded.
        sample: The images whose pixels were decoded, or found not to be decodable.
        notes: What was left out or could not be remembered, one sentence each.
    """

    images: dict[str, ImageRecord] = field(default_factory=dict)
    masks: dict[str, MaskRecord] = field(default_factory=dict)
    sample: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def scan(
    images: Iterable[str],
    masks: Iterable[str] = (),
    *,
    cache: Path | None = None,
    max_measured: int = MAX_MEASURED,
    max_bytes: int = MAX_BYTES,
    workers: int | None = None,
    tell: Tell | None = None,
) -> Scan:
    """Open every image, measure the pixels of all or of an even sample, and count the values of masks.

    Args:
        images: Files.
        masks: Files.
        cache: Folder of what was measured before; nothing is remembered without it.
        max_measured: Images whose pixels are measured at most.
        max_bytes: Size of the files that are decoded at most, all together; `MIN_MEASURED` are decoded even so.
        workers: Number of processes; without it, as many as pay.
        tell: Is told how far it is.

    Returns:
        A record of every image; those that cannot be read have a `problem`.
    """
    files = list(dict.fromkeys(images))
    all_masks = list(dict.fromkeys(masks))
    some_masks = sample_evenly(all_masks, MAX_MASKS)
    # Taken before anything is read: a file that changes later is read again the next time.
    states = _states(files)
    sample = frozenset(_sample(files, states, max_measured, max_bytes))
    sizes = Counter(state.size for state in states.values())
    wanted = [
        Job("image", path)
        if path in sample
        # Files of a size of their own are equal to no other.
        else Job("header", path, digest=path in states and sizes[states[path].size] > 1)
        for path in files
    ]
    wanted += [Job("mask", path) for path in some_masks]
    states |= _states(some_masks)
    with AuditCache(cache) as remembered:
        found = _measure(wanted, states, remembered, workers, tell or _say_nothing)
        notes = list(remembered.notes)
    if len(some_masks) < len(all_masks):
        notes.append(f"decoded {len(some_masks)} of {len(all_masks)} masks")
    return Scan(
        {path: found.images[path] for path in files},
        {path: found.masks[path] for path in some_masks},
        sample,
        tuple(notes),
    )


def sample_evenly(files: Sequence[str], count: int) -> list[str]:
    """So many of the files, evenly spaced; the same ones every time.

    Example:
        >>> sample_evenly(["a", "b", "c", "d", "e"], 2)
        ['a', 'c']
    """
    step = max(1.0, len(files) / max(1, count))
    return [files[int(index * step)] for index in range(min(len(files), count))]


def _sample(files: Sequence[str], states: dict[str, FileState], max_measured: int, max_bytes: int) -> list[str]:
    there = [path for path in files if path in states]
    total = sum(state.size for state in states.values())
    affordable = len(there) if total <= max_bytes else max(MIN_MEASURED, len(there) * max_bytes // total)
    return sample_evenly(there, min(affordable, max_measured))


def _states(files: Iterable[str]) -> dict[str, FileState]:
    return {path: state for path in files if (state := state_of(path)) is not None}


@dataclass(slots=True)
class _Found:
    """Records by path, as they come."""

    images: dict[str, ImageRecord] = field(default_factory=dict)
    masks: dict[str, MaskRecord] = field(default_factory=dict)

    def add(self, record: ImageRecord | MaskRecord) -> None:
        if isinstance(record, MaskRecord):
            self.masks[record.path] = record
        else:
            self.images[record.path] = record


def _measure(
    jobs: Sequence[Job], states: dict[str, FileState], cache: AuditCache, workers: int | None, tell: Tell
) -> _Found:
    found = _Found()
    unknown: list[Job] = []
    for job in jobs:
        known = _recall(job, states.get(job.path), cache)
        if known is None:
            unknown.append(job)
        else:
            found.add(known)
    done = len(jobs) - len(unknown)
    for outcome in work(unknown, cache=cache.place, workers=workers):
        job = outcome.job
        record = _read(job, outcome.text) if outcome.text else _failed(job, outcome, states)
        found.add(record)
        if outcome.text:
            _remember(job, states.get(job.path), outcome, record, cache)
        done += 1
        tell("opening images", done, len(jobs))
    return found


def _recall(job: Job, state: FileState | None, cache: AuditCache) -> ImageRecord | MaskRecord | None:
    if state is None:
        return None
    digest = cache.digest_of(job.path, state) if job.digest else _name_of(job.path, state)
    text = cache.get(job.stored_as, digest) if digest else None
    try:
        return _read(job, text) if text is not None else None
    except (ValueError, TypeError, KeyError):
        return None  # written by another version, or by nobody we know


def _remember(
    job: Job, state: FileState | None, outcome: Outcome, record: ImageRecord | MaskRecord, cache: AuditCache
) -> None:
    if state is None or record.problem.startswith(CHANGED):
        return
    if record.digest:
        cache.put(job.stored_as, record.digest, outcome.text, path=job.path, state=state)
    elif not job.digest:
        cache.put(job.stored_as, _name_of(job.path, state), outcome.text)


def _name_of(path: str, state: FileState) -> str:
    """Stands for the content of a file that is not hashed."""
    name = hashlib.blake2b(os.fsencode(Path(path).absolute()), digest_size=16).hexdigest()
    return f"{name}-{state.size}-{state.mtime}-{state.ctime}"


def _read(job: Job, text: str) -> ImageRecord | MaskRecord:
    return mask_from(job.path, text) if job.kind == "mask" else image_from(job.path, text)


def _failed(job: Job, outcome: Outcome, states: dict[str, FileState]) -> ImageRecord | MaskRecord:
    if job.kind == "mask":
        return MaskRecord(job.path, problem=outcome.problem)
    state = states.get(job.path)
    return ImageRecord(job.path, state.size if state else 0, problem=outcome.problem)


def _say_nothing(_what: str, _done: int, _total: int) -> None:
    pass
