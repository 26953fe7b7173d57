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


@dataclass(frozen=True, slots=True)
class FrameSequence:
    """Frames of one size that follow each other.

    Args:
        name: Unique among the sequences of one input, made of letters that every file system takes.
        source: The file, or the folder.
        open: Gives the frames, RGB `(H, W, 3)`, anew at each call.
        notes: What a reader should know of it, one sentence each.
    """

    name: str
    source: Path
    open: Callable[[], Iterator[Frame]]
    notes: tuple[str, ...] = ()


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
    return FrameSequence(_plain(name), path, lambda: read_video(path), _uneven(path))


def _uneven(path: Path) -> tuple[str, ...]:
    """Whether the frames are unequally far apart in time, by the stamps of the first few hundred."""
    capture = cv2.VideoCapture(str(path))
    stamps: list[float] = []
    try:
        while len(stamps) < 300 and capture.grab():
            stamps.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    finally:
        capture.release()
    steps = [later - earlier for earlier, later in pairwise(stamps)]
    usual = float(np.median(steps)) if steps else 0.0
    if usual <= 0 or max(abs(step - usual) for step in steps) <= max(1.5, _UNEVEN * usual):
        return ()
    return (f"frames are {min(steps):.0f} to {max(steps):.0f} ms apart: the blur takes them as equally far apart",)


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
