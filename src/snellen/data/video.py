"""Sharp videos as sequences of frames: files that OpenCV decodes, and folders of numbered images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from snellen.core.file_kinds import is_image
from snellen.data.layouts import read_layout
from snellen.data.layouts.groups import frame_of
from snellen.data.listing import natural_key
from snellen.data.reading import probe_image, read_image
from snellen.errors import DataError

__all__ = ["VIDEO_SUFFIXES", "FrameSequence", "find_sequences", "read_video"]

Frame: TypeAlias = npt.NDArray[np.uint8]

VIDEO_SUFFIXES: Final = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm"})
_UNEVEN: Final = 0.25
"""Of the usual distance between two frames; time stamps in milliseconds round by less in any video under 240 Hz."""
_ROUNDING: Final = 0.02
"""Of a stated rate; the last frame of a short video is often given another length."""
_TORN: Final = 0.1
"""Of the stated length; sound that goes on a little longer than the picture is no reason for a word."""


@dataclass(frozen=True, slots=True)
class FrameSequence:
    """Frames of one size that follow each other.

    Args:
        name: Unique among the sequences of one input, made of letters that every file system takes.
        source: The file, or the folder.
        open: Gives the frames, RGB `(H, W, 3)`, anew at each call.
        notes: What a reader should know of it, one sentence each.
        rate: Frames a second, where it says.
    """

    name: str
    source: Path
    open: Callable[[], Iterator[Frame]]
    notes: tuple[str, ...] = ()
    rate: float | None = None


def find_sequences(path: str | Path) -> list[FrameSequence]:
    """The sequences in a video file, in a folder of frames, or in a folder of such.

    A number that is missing ends a sequence, and the next frame begins another.

    Args:
        path: The file or folder.

    Raises:
        DataError: It does not exist, or holds no frames.
    """
    path = Path(path)
    if path.is_file():
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            known = ", ".join(sorted(VIDEO_SUFFIXES))
            raise DataError(f"{path} is no video by its name, expected one of {known}, or a folder of frames")
        return [_of_video(path, path.stem)]
    if not path.is_dir():
        hint = "give a video, a folder of frames such as 00000.png, or a folder of those"
        raise DataError(f"{path} does not exist", hint=hint, slug="missing-file")
    own = sorted((entry for entry in path.iterdir() if entry.is_file() and is_image(entry.name)), key=_order)
    found = _of_frames(path.name, path, own) if own else _of_folders(path)
    videos = sorted(entry for entry in path.rglob("*") if entry.suffix.lower() in VIDEO_SUFFIXES and entry.is_file())
    taken = {sequence.name for sequence in found}
    for video in videos:
        name = _plain("_".join(video.relative_to(path).with_suffix("").parts))
        found.append(_of_video(video, name if name not in taken else f"{name}_{video.suffix[1:]}"))
    if not found:
        raise DataError(
            f"{path} holds no video and no folder of numbered frames",
            hint="give a video, a folder of frames such as 00000.png, or a folder of those",
            slug="empty-dataset",
        )
    return found


def read_video(path: Path) -> Iterator[Frame]:
    """The frames of a video file.

    Raises:
        DataError: It cannot be decoded, or ends before its first frame.
    """
    capture = cv2.VideoCapture(str(path))
    try:
        count = 0
        while True:
            whole, frame = capture.read()
            if not whole:
                break
            count += 1
            yield np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
        if not count:
            raise DataError(f"{path} cannot be decoded as a video", hint="play it, or write it again as H.264 in MP4")
    finally:
        capture.release()


def _of_video(path: Path, name: str) -> FrameSequence:
    rate, notes = _rate(path)
    return FrameSequence(_plain(name), path, lambda: read_video(path), notes, rate)


def _rate(path: Path) -> tuple[float | None, tuple[str, ...]]:
    """Frames a second, and notes where they are unequally far apart in time, or end too early: by all their stamps."""
    capture = cv2.VideoCapture(str(path))
    stamps: list[float] = []
    try:
        stated = given if (given := capture.get(cv2.CAP_PROP_FPS)) > 0 else None
        length = 1000 * capture.get(cv2.CAP_PROP_FRAME_COUNT) / stated if stated else 0.0
        while capture.grab():
            stamps.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    finally:
        capture.release()
    steps = [later - earlier for earlier, later in pairwise(stamps)]
    usual = float(np.median(steps)) if steps else 0.0
    if usual <= 0 or stamps[-1] <= stamps[0]:
        return stated, ()
    mean = 1000 * len(steps) / (stamps[-1] - stamps[0])
    # A container states the rate of some frames, or that of the encoder's clock, where it varies.
    rate = stated if stated is not None and abs(stated - mean) <= _ROUNDING * mean else mean
    notes = []
    if max(abs(step - usual) for step in steps) > max(1.5, _UNEVEN * usual):
        apart = f"frames are {min(steps):.0f} to {max(steps):.0f} ms apart"
        notes.append(f"{apart}: they are taken as equally far apart, {rate:.3g} a second")
    end = stamps[-1] + max(steps)
    if end + max(steps) < (1 - _TORN) * length:
        notes.append(f"its {len(stamps)} frames end after {end / 1000:.2f} of the {length / 1000:.2f} s that it states")
    return rate, tuple(notes)


def _of_folders(path: Path) -> list[FrameSequence]:
    groups: dict[str, list[Path]] = {}
    for sample in read_layout(path, key="the input", name="frames").samples:
        groups.setdefault(sample.group, []).append(Path(sample.image))
    found = []
    for group, frames in groups.items():
        found += _of_frames(group, path / group, sorted(frames, key=_order))
    return found


def _of_frames(name: str, folder: Path, frames: Sequence[Path]) -> list[FrameSequence]:
    """Sequences of a folder: one, or one for each run of numbers."""
    numbers = [(frame_of(frame.stem) or ("", -1))[1] for frame in frames]
    if -1 in numbers:
        odd = frames[numbers.index(-1)]
        raise DataError(f"{odd} has no number in its name, so that its place among the frames is not known")
    spacing = min((b - a for a, b in pairwise(numbers)), default=1)
    if spacing < 1:
        raise DataError(f"{folder}: two frames have the same number")
    runs: list[list[Path]] = [[]]
    for place, frame in enumerate(frames):
        if place and numbers[place] - numbers[place - 1] != spacing:
            runs.append([])
        runs[-1].append(frame)
    _one_size(frames)
    names = [name] if len(runs) == 1 else [f"{name}_{number + 1}" for number in range(len(runs))]
    gap = (f"frames are missing: cut into {len(runs)} sequences",) if len(runs) > 1 else ()
    return [
        FrameSequence(_plain(each), folder, _reader(tuple(run)), gap) for each, run in zip(names, runs, strict=True)
    ]


def _one_size(frames: Sequence[Path]) -> None:
    sizes = {frame: probe_image(frame).upright_size for frame in frames}
    first = sizes[frames[0]]
    for frame, size in sizes.items():
        if size != first:
            raise DataError(
                f"{frame} is {size[0]} x {size[1]}, {frames[0].name} is {first[0]} x {first[1]}: frames of a sequence "
                "have one size",
                slug="clip-size-mismatch",
            )


def _reader(frames: tuple[Path, ...]) -> Callable[[], Iterator[Frame]]:
    return lambda: (read_image(frame).pixels for frame in frames)


def _order(path: Path) -> tuple[int, Any]:
    found = frame_of(path.stem)
    return found[1] if found else -1, natural_key(path.name)


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name) or "sequence"
