"""A folder of spike streams to a folder of voxel grids beside each, once and resumably."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snellen.core.files import writing
from snellen.data.spikes.geometry import SpikeHints, find_format
from snellen.data.spikes.streams import read_voxels, steps_of
from snellen.data.spikes.voxel_files import write_voxel_file
from snellen.errors import DataError

__all__ = ["STREAMS", "VoxelReport", "voxelise_folder"]

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

    A grid that is younger than its stream, with these bins and of the sensor's size, is kept.

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
    made = kept = torn = 0
    empty: list[Path] = []
    skipped: list[tuple[Path, str]] = []
    advice: dict[str, None] = {}
    for number, stream in enumerate(streams):
        target = _target(stream)
        try:
            form = find_format(stream, hints)
            if not again and _fits(target, stream, (bins, *form.size)):
                kept += 1
                continue
            torn += steps_of(stream, form)[1] > 0
            grid = read_voxels(stream, form, bins)
        except DataError as error:
            skipped.append((stream, error.message))
            advice |= {error.hint: None} if error.hint else {}
            continue
        finally:
            if tell is not None:
                tell("voxelise", number + 1, len(streams))
        if not grid.any():
            empty.append(stream)
        with writing(target.parent):
            target.parent.mkdir(exist_ok=True)
        write_voxel_file(target, grid)
        made += 1
    notes = (f"{torn} streams end within a step, which was left out",) if torn else ()
    return VoxelReport(made, kept, tuple(empty), tuple(skipped), tuple(advice), notes)


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
