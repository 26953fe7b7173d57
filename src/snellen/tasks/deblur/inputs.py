"""Videos to restore: files, folders of frames, and sequences with spikes beside them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snellen.core.facts.data import Sample
from snellen.data.layouts import read_layout
from snellen.data.layouts.frame_pairs import BLUR
from snellen.data.layouts.groups import frame_of
from snellen.data.listing import natural_key
from snellen.data.reading import read_image
from snellen.data.video import find_sequences
from snellen.errors import DataError, SnellenError
from snellen.tasks.deblur.data import FrameReader

__all__ = ["Frames", "Video", "find_videos"]

Array = npt.NDArray[Any]
Frame = tuple[Array, Callable[[], Array | None] | None]
"""`(H, W, 3)` uint8, and what reads the counts of spikes beside it: to count frames, they are not needed."""


@dataclass(frozen=True, slots=True)
class Video:
    """One video.

    Args:
        name: Unique among the inputs.
        source: File or folder.
        open: Gives its frames anew at each call.
        notes: What a reader should know of it.
        rate: Frames a second, where it says.
    """

    name: str
    source: Path
    open: Callable[[], Iterator[Frame]]
    notes: tuple[str, ...] = ()
    rate: float | None = None

    def __str__(self) -> str:
        return f"{self.source}#{self.name}"


class Frames:
    """Frames by number, read forwards once: those that were passed are let go.

    Args:
        video: To be read.
    """

    def __init__(self, video: Video) -> None:
        self._frames = video.open()
        self._kept: deque[Frame] = deque()
        self._first = 0

    def read(self, start: int, stop: int) -> list[Frame]:
        """Frames from one number up to and without another; the first number never falls.

        Raises:
            DataError: A frame cannot be read, or the video ends before.
        """
        while self._first < start:
            if self._kept:
                self._kept.popleft()
            else:
                self._next()
            self._first += 1
        while len(self._kept) < stop - start:
            self._kept.append(self._next())
        return [self._kept[number] for number in range(stop - start)]

    def _next(self) -> Frame:
        found = next(self._frames, None)
        if found is None:
            raise DataError(f"the video ends before frame {self._first + len(self._kept)}")
        return found


def find_videos(inputs: Sequence[Path], reader: FrameReader) -> tuple[list[Video], list[str]]:
    """The videos in files and folders, and what was passed over.

    A folder of sequences with blurred frames is read with the spikes beside them.

    Args:
        inputs: Files and folders.
        reader: Of spikes; one that reads none takes frames alone.

    Raises:
        DataError: None of the inputs holds a video.
    """
    found: list[Video] = []
    problems: list[str] = []
    for path in inputs:
        try:
            found += _videos(path, reader)
        except SnellenError as error:
            problems.append(f"passed over {path}: {error.message}")
    if not found:
        reasons = "; ".join(problems) or "nothing was given"
        raise DataError(f"there is no video to restore: {reasons}", hint="give videos, or folders of numbered frames")
    names: dict[str, int] = {}
    unique = []
    for video in found:
        names[video.name] = names.get(video.name, 0) + 1
        count = names[video.name]
        name = video.name if count == 1 else f"{video.name}_{count}"
        unique.append(replace(video, name=name))
    return unique, problems


def _videos(path: Path, reader: FrameReader) -> list[Video]:
    if path.is_dir() and _has_blur(path):
        groups: dict[str, list[Sample]] = {}
        for sample in read_layout(path, key="the input", name="frame-pairs").samples:
            if sample.role != "frame" or reader.motion == "none":
                groups.setdefault(sample.group, []).append(sample)
        # A sequence's own folder has no name inside itself.
        return [_of_samples(group or path.resolve().name, path, members, reader) for group, members in groups.items()]
    if reader.motion != "none":
        raise DataError(
            f"{path} holds no folder of blurred frames with spikes beside it, and this network takes spikes",
            hint="expected SEQUENCE/blur and SEQUENCE/spike",
        )
    return [Video(one.name, one.source, _plain(one.open), one.notes, one.rate) for one in find_sequences(path)]


def _has_blur(path: Path) -> bool:
    places = (path, *(entry for entry in sorted(path.iterdir()) if entry.is_dir()))
    return any((place / name).is_dir() for place in places for name in BLUR)


def _plain(source: Callable[[], Iterator[npt.NDArray[np.uint8]]]) -> Callable[[], Iterator[Frame]]:
    return lambda: ((frame, None) for frame in source())


def _of_samples(group: str, path: Path, members: Sequence[Sample], reader: FrameReader) -> Video:
    ordered = sorted(members, key=lambda one: (one.index if one.index is not None else -1, natural_key(one.image)))
    lacking = [one.image for one in ordered if reader.motion != "none" and getattr(one, reader.motion) is None]
    if lacking:
        raise DataError(f"{lacking[0]} has no {reader.motion} beside it, nor have {len(lacking) - 1} more frames")
    shared = reader.motion == "spikes" and len(ordered) > 1 and len({one.spikes for one in ordered}) == 1
    unnumbered = [one.image for one in ordered if frame_of(Path(one.image).stem) is None]
    notes = (f"{len(unnumbered)} frames have no number in their name: sorted by name",) if unnumbered else ()

    def frames() -> Iterator[Frame]:
        for place, one in enumerate(ordered):
            pixels = read_image(one.image).pixels
            beside = one.spikes if reader.motion == "spikes" else one.voxels
            window = (place, len(ordered)) if shared else (0, 1)
            yield pixels, partial(reader.voxels, beside, window, (pixels.shape[0], pixels.shape[1]))

    name = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in group)
    return Video(name or "video", path, frames, notes)
