"""Which few samples stand for a data folder, and a copy of the folder that holds only them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from snellen.core.facts.data import FolderAudit, Sample
from snellen.core.file_kinds import is_image

__all__ = ["choose", "copy_few"]

_SIBLINGS: Final = 12
"""Frames of one sequence that come with a chosen one: clips of the networks of video are 2 to 12 frames long."""
_MOST_BYTES: Final = 600_000_000
_MOST_FILE_BYTES: Final = 50_000_000
_MOST_FOLDERS: Final = 5_000


def choose(audit: FolderAudit, count: int) -> list[Sample]:
    """Samples that are likely to break something first: the largest, the longest, the smallest, one of each kind.

    Damaged files are left out; the checks name them.

    Args:
        audit: The folder.
        count: About how many; frames of one sequence come together.
    """
    sound = [sample for sample in audit.samples if _is_sound(sample, audit)]
    if not sound:
        return []
    sizes = {sample.image: _size(sample, audit) for sample in sound}
    known = [sample for sample in sound if min(sizes[sample.image]) > 0]
    chosen: dict[str, Sample] = {}
    if known:
        largest = max(known, key=lambda sample: sizes[sample.image][0] * sizes[sample.image][1])
        longest = max(known, key=lambda sample: max(sizes[sample.image]) / min(sizes[sample.image]))
        smallest = min(known, key=lambda sample: sizes[sample.image][0] * sizes[sample.image][1])
        chosen = {sample.image: sample for sample in (largest, longest, smallest)}
    kinds: dict[tuple[str, str | None], list[Sample]] = {}
    for sample in sound:
        kinds.setdefault((sample.role, sample.label), []).append(sample)
    for turn in range(count):
        for samples in kinds.values():
            if len(chosen) < count or not turn:
                sample = samples[min(turn, len(samples) - 1)]
                chosen.setdefault(sample.image, sample)
    return _with_siblings(list(chosen.values())[: max(count, min(len(kinds), 64)) + 3], sound)


def _is_sound(sample: Sample, audit: FolderAudit) -> bool:
    record = audit.images.get(sample.image)
    masks = [audit.masks[mask] for mask in sample.masks if mask in audit.masks]
    return not (record is not None and record.problem) and not any(mask.problem for mask in masks)


def _size(sample: Sample, audit: FolderAudit) -> tuple[int, int]:
    record = audit.images.get(sample.image)
    return record.upright_size if record is not None else (0, 0)


def _with_siblings(chosen: Sequence[Sample], among: Iterable[Sample]) -> list[Sample]:
    groups = {sample.group: sample.index for sample in chosen if sample.group and sample.index is not None}
    near = [
        sample
        for sample in among
        if sample.group in groups
        and sample.index is not None
        and abs(sample.index - (groups[sample.group] or 0)) <= _SIBLINGS
    ]
    return list({sample.image: sample for sample in (*chosen, *near)}.values())


def copy_few(audit: FolderAudit, samples: Iterable[Sample], to: Path) -> Path:
    """A folder as the audited one, with the files of a few samples only.

    Every folder is there, so that class folders keep their numbers, and so are the tables and lists at the top.

    Args:
        audit: The folder.
        samples: From `choose`.
        to: Is made.

    Raises:
        OSError: It cannot be written.
    """
    root = Path(audit.path)
    for folder in _folders(root):
        (to / folder.relative_to(root)).mkdir(parents=True, exist_ok=True)
    files = dict.fromkeys([audit.classes_from, *_top_files(root)])
    for sample in samples:
        boxes = [box.path for box in sample.boxes or ()]
        beside = [path for path in (sample.partner, sample.spikes, sample.voxels) if path]
        files.update(dict.fromkeys([sample.image, *sample.masks, *boxes, *beside]))
    left = _MOST_BYTES
    for name in files:
        source = root / name if name else root
        if not source.is_file() or not source.is_relative_to(root):
            continue
        left -= source.stat().st_size
        if left < 0:
            break
        target = to / source.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return to


def _folders(root: Path) -> list[Path]:
    found = [root]
    for place, names, _ in os.walk(root):
        names[:] = [name for name in names if not name.startswith(".")]
        found += [Path(place, name) for name in names]
        if len(found) > _MOST_FOLDERS:
            break
    return found[:_MOST_FOLDERS]


def _top_files(root: Path) -> list[str]:
    with os.scandir(root) as entries:
        return [
            entry.path
            for entry in entries
            if entry.is_file() and not is_image(entry.name) and entry.stat().st_size <= _MOST_FILE_BYTES
        ]
