"""A folder of spike streams to a folder of voxel grids beside each, once and resumably."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from snellen.core.file_kinds import is_image
from snellen.core.files import writing
from snellen.data.layouts.frame_pairs import BLUR, SHARP
from snellen.data.spikes.geometry import SpikeHints, find_format
from snellen.data.spikes.streams import SpikeFormat, read_voxels, steps_of
from snellen.data.spikes.voxel_files import write_voxel_file
from snellen.data.writing import write_json
from snellen.errors import DataError

__all__ = ["STREAMS", "VoxelReport", "voxelise_folder"]

_RECORD = "voxel_format.json"
"""Beside grids: how the streams that they were made of were read."""
_HOW = ("bits", "flip", "bit_order")

STREAMS = frozenset({".dat", ".bin"})
"""Suffixes of spike streams."""
_FOLDERS = {"spike": "spike_vox", "spikes": "spike_vox"}


@dataclass(frozen=True, slots=True)
class VoxelReport:
    """What was made.

    Args:
        made: Grids written now.
        kept: Grids that were there and still fit.
        empty: Streams without a single spike.
        skipped: Streams that cannot be read, with the reason.
        hints: What would make them readable.
        notes: What a reader should know, one sentence each.
    """

    made: int
    kept: int
    empty: tuple[Path, ...]
    skipped: tuple[tuple[Path, str], ...]
    hints: tuple[str, ...]
    notes: tuple[str, ...]


def voxelise_folder(
    folder: str | Path,
    *,
    bins: int,
    hints: SpikeHints | None = None,
    again: bool = False,
    tell: Callable[[str, int, int], None] | None = None,
) -> VoxelReport:
    """Sum each stream below a folder into a voxel grid: `spike/00000012.dat` into `spike_vox/00000012.npy`.

    A grid that is younger than its stream, with these bins, of the sensor's size and of a stream that was read in the
    same way, is kept.

    Args:
        folder: Holds streams, at any depth.
        bins: 1 to 32.
        hints: How the streams are stored, as far as it is known.
        again: Keep none.
        tell: Is told how far it is.

    Raises:
        DataError: There is no stream.
        RunFolderError: A grid cannot be written.
    """
    folder = Path(folder)
    streams = sorted(_streams(folder))
    if not streams:
        raise DataError(
            f"{folder} holds no spike stream" if folder.is_dir() else f"{folder} is no folder",
            hint="expected files such as SEQUENCE/spike/00000012.dat",
            slug="empty-dataset",
        )
    work = _Work(bins, hints, again)
    done = 0
    for place, members in groupby(streams, key=lambda stream: _target(stream).parent):
        ready = work.prepare(place, list(members))
        for stream, form in ready.items():
            if form is not None:
                work.make(stream, form)
            done += 1
            if tell is not None:
                tell("voxelise", done, len(streams))
        work.close(place)
    return work.report()


class _Work:
    """Makes the grids of one folder after the other, and counts."""

    def __init__(self, bins: int, hints: SpikeHints | None, again: bool) -> None:
        self.bins, self.hints, self.again = bins, hints, again
        self.made = self.kept = self.torn = self.remade = 0
        self.empty: list[Path] = []
        self.skipped: list[tuple[Path, str]] = []
        self.advice: dict[str, None] = {}
        self._ways: list[dict[str, Any]] = []
        self._same = True

    def prepare(self, place: Path, streams: Sequence[Path]) -> dict[Path, SpikeFormat | None]:
        """How each stream of a folder is stored, `None` where it cannot be used; and how its grids were made before."""
        ready = {stream: self._format(stream) for stream in streams}
        ways = {(one.bits, one.flip, one.bit_order) for one in ready.values() if one is not None}
        self._ways = [dict(zip(_HOW, way, strict=True)) for way in sorted(ways)]
        self._same = _read_record(place) in (None, self._ways)
        if ways:
            with writing(place):
                place.mkdir(exist_ok=True)
            # Until all are made anew the folder has grids of both kinds, and keeps none if this is cut short.
            _write_record(place, self._ways if self._same else [*self._ways, {}])
            self.remade += not self._same
        return ready

    def make(self, stream: Path, form: SpikeFormat) -> None:
        """Make one grid, unless it is there."""
        target = _target(stream)
        if not self.again and self._same and _fits(target, stream, (self.bins, *form.size)):
            self.kept += 1
            return
        try:
            self.torn += steps_of(stream, form)[1] > 0
            grid = read_voxels(stream, form, self.bins)
        except DataError as error:
            self._skip(stream, error)
            return
        if not grid.any():
            self.empty.append(stream)
        write_voxel_file(target, grid)
        self.made += 1

    def close(self, place: Path) -> None:
        """All grids of a folder are of one kind."""
        if self._ways:
            _write_record(place, self._ways)

    def report(self) -> VoxelReport:
        """What was made."""
        notes = [f"{self.torn} streams end within a step, which was left out"] if self.torn else []
        if self.remade:
            notes.append(f"grids of {self.remade} folders were made anew: they had been read in another way")
        return VoxelReport(
            self.made, self.kept, tuple(self.empty), tuple(self.skipped), tuple(self.advice), tuple(notes)
        )

    def _format(self, stream: Path) -> SpikeFormat | None:
        try:
            _refuse_shared(stream)
            return find_format(stream, self.hints)
        except DataError as error:
            self._skip(stream, error)
            return None

    def _skip(self, stream: Path, error: DataError) -> None:
        self.skipped.append((stream, error.message))
        self.advice |= {error.hint: None} if error.hint else {}


def _refuse_shared(stream: Path) -> None:
    """A stream that belongs to all frames of a sequence is cut when it is read; its sum is no frame's grid."""
    if stream.parent.name.casefold() not in _FOLDERS:
        return
    sequence = stream.parent.parent
    folders = [one for one in sequence.iterdir() if one.is_dir() and one.name.casefold() in (*BLUR, *SHARP)]
    stems = {file.stem for folder in folders for file in folder.iterdir() if is_image(file.name)}
    others = (one for one in stream.parent.iterdir() if one != stream and one.suffix.lower() in STREAMS)
    if len(stems) > 1 and stream.stem not in stems and next(others, None) is None:
        raise DataError(
            f"{stream} belongs to all {len(stems)} frames of its sequence: one grid of it would be the same for each",
            hint="leave it as it is: with data.motion: spikes, or auto, each frame gets its part of the stream",
        )


def _read_record(place: Path) -> Any:
    """How the grids of a folder were made; `None` where nothing tells."""
    try:
        return json.loads((place / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write_record(place: Path, ways: list[dict[str, Any]]) -> None:
    if _read_record(place) != ways:
        write_json(place / _RECORD, ways)


def _streams(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix.lower() in STREAMS and path.is_file())


def _target(stream: Path) -> Path:
    name = _FOLDERS.get(stream.parent.name.casefold(), "spike_vox")
    place = stream.parent.parent if stream.parent.name.casefold() in _FOLDERS else stream.parent
    return place / name / f"{stream.stem}.npy"


def _fits(target: Path, stream: Path, shape: tuple[int, int, int]) -> bool:
    try:
        if target.stat().st_mtime_ns < stream.stat().st_mtime_ns:
            return False
        found: tuple[int, ...] = np.load(target, mmap_mode="r", allow_pickle=False).shape
    except (OSError, ValueError, EOFError):
        return False
    return found == shape
