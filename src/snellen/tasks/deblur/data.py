"""Clips as samples: crops of training clips, whole frames to evaluate; frames are read, and kept, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from snellen.core.facts.data import Sample
from snellen.data.cache.arena import Arrays
from snellen.data.cache.items import Items
from snellen.data.clips import Clip, ClipFrame, ClipListing, Motion, list_clips
from snellen.data.layouts import read_layout
from snellen.data.reading import read_image
from snellen.data.spikes.geometry import SpikeHints, find_format
from snellen.data.spikes.streams import read_voxels, steps_of
from snellen.data.spikes.voxel_files import compact, read_voxel_file
from snellen.engine.recipe import Batch
from snellen.errors import DataError
from snellen.ops.clip_crops import cut_clip, draw_view
from snellen.tasks.deblur.config import DeblurData, DeblurRun

__all__ = [
    "FrameReader",
    "TrainingClips",
    "WholeClips",
    "clips_of",
    "collate",
    "frame_reader",
    "largest_count",
    "motion_of",
    "samples_of",
    "spread",
]

Array = npt.NDArray[Any]

_LOOKED_AT = 16
"""Voxel grids that tell the largest count."""
_SIDE = 8
"""What both sides of a crop are multiples of: the networks halve them three times."""


def samples_of(root: Path | None, data: DeblurData, *, key: str) -> list[Sample]:
    """The frames of a split.

    Raises:
        DataError: No folder, or none of blurred and sharp frames.
    """
    if root is None:
        raise DataError(f"{key} is not set", hint=f"add {key}: FOLDER to the run file")
    if data.layout not in ("auto", "frame-pairs"):
        raise DataError(f"data.layout is {data.layout}, deblurring takes frame-pairs", hint="data.layout: frame-pairs")
    return list(read_layout(root, key=key, name="frame-pairs").samples)


def clips_of(config: DeblurRun, split: str, *, length: int | None = None, step: int | None = None) -> ClipListing:
    """The clips of a split, and why other frames are in none.

    Raises:
        DataError: There is no clip; every reason is counted.
    """
    root = getattr(config.data, split, None)
    samples = samples_of(root, config.data, key=f"data.{split}")
    length = length or config.data.clip_length
    step = step or (config.data.clip_step if split == "train" else length)
    motion: Motion = config.data.motion if config.data.motion != "auto" else "none"
    return list_clips(samples, length=length, step=step, motion=motion, where=f"{root} (data.{split})")


def motion_of(samples: Sequence[Sample]) -> Motion:
    """What lies beside most frames; grids that were computed before are taken first, for they cost less."""
    voxels = sum(one.voxels is not None for one in samples)
    spikes = sum(one.spikes is not None for one in samples)
    return "voxels" if voxels and voxels >= spikes else "spikes" if spikes else "none"


@dataclass(frozen=True, slots=True)
class FrameReader:
    """Reads a frame, its sharp partner and its voxel grid.

    Args:
        motion: What lies beside the frames.
        bins: Time bins of a grid.
        hints: How spike streams are stored.
    """

    motion: Motion
    bins: int
    hints: SpikeHints

    def read(self, frame: ClipFrame) -> tuple[Array, ...]:
        """Blurred and sharp `(H, W, 3)` uint8, and counts `(bins, h, w)` where there are any.

        Raises:
            DataError: One cannot be read, or they do not belong together.
        """
        blur = read_image(frame.blur).pixels
        sharp = read_image(frame.sharp).pixels
        if blur.shape != sharp.shape:
            raise DataError(
                f"{frame.blur} is {blur.shape[1]} x {blur.shape[0]} pixels, {frame.sharp} {sharp.shape[1]} x "
                f"{sharp.shape[0]}",
                slug="pair-size-mismatch",
            )
        grid = self.voxels(frame.motion, frame.window, (blur.shape[0], blur.shape[1]))
        return (blur, sharp) if grid is None else (blur, sharp, grid)

    def voxels(self, path: str | None, window: tuple[int, int], size: tuple[int, int]) -> Array | None:
        """The counts of a frame, `None` where nothing lies beside it.

        Args:
            path: The stream or the grid.
            window: Place of the frame among those that share the stream.
            size: Height and width of the frame.
        """
        if self.motion == "none" or path is None:
            return None
        if self.motion == "voxels":
            grid = read_voxel_file(path)
        else:
            form = find_format(path, replace(self.hints, frames=size))
            steps = steps_of(path, form)[0]
            place, of = window
            begin, end = steps * place // of, steps * (place + 1) // of
            grid = read_voxels(path, form, self.bins, begin=begin, count=end - begin)
        if grid.shape[0] != self.bins:
            raise DataError(
                f"{path} holds {grid.shape[0]} time bins, the network takes {self.bins}",
                hint=f"set model.bins: {grid.shape[0]}, or voxelise again: snellen data voxelise --bins {self.bins}",
                slug="channel-mismatch",
            )
        if size[0] * grid.shape[2] != size[1] * grid.shape[1]:
            raise DataError(
                f"{path} is {grid.shape[2]} x {grid.shape[1]} pixels of spikes for frames of {size[1]} x {size[0]}: "
                "they do not see the same field",
                hint="crop both to the field of view that they share",
                slug="spatial-mismatch",
            )
        return compact(grid)


def frame_reader(config: DeblurRun) -> FrameReader:
    """The reader that the settings ask for."""
    motion: Motion = config.data.motion if config.data.motion != "auto" else "none"
    return FrameReader(
        motion if config.model.spikes != "none" else "none", config.model.bins, config.data.spikes.hints()
    )


def largest_count(config: DeblurRun, motion: Literal["spikes", "voxels"]) -> tuple[float, str]:
    """The largest count of a bin in some grids of the training set, and where that comes from."""
    samples = samples_of(config.data.train, config.data, key="data.train")
    try:
        # One by one, with the part of a stream that each of them has where they share it.
        frames = [clip.frames[0] for clip in list_clips(samples, length=1, motion=motion).clips]
    except DataError:
        frames = []
    chosen = frames[:: max(1, len(frames) // _LOOKED_AT)][:_LOOKED_AT]
    base = frame_reader(config)
    reader = FrameReader(motion, base.bins, base.hints)
    highest = 0.0
    for one in chosen:
        blur = read_image(one.blur).pixels
        grid = reader.voxels(one.motion, one.window, (blur.shape[0], blur.shape[1]))
        highest = max(highest, float(grid.max()) if grid is not None and grid.size else 0.0)
    return max(highest, 1.0), f"the largest count in {len(chosen)} grids of the training set"


class _Clips:
    """Clips over frames that are read one by one, and kept one by one in the cache of the run."""

    def __init__(self, clips: Sequence[Clip], reader: FrameReader) -> None:
        self.clips = list(clips)
        self.reader = reader
        self.frames = list(dict.fromkeys(frame for clip in self.clips for frame in clip.frames))
        self._numbers = {frame: number for number, frame in enumerate(self.frames)}
        files = [
            [path for path in (frame.blur, frame.sharp, frame.motion) if path is not None] for frame in self.frames
        ]
        self.items = Items(files, self._load, how=f"deblur: RGB, sharp RGB, {reader}")

    def _load(self, number: int) -> Arrays:
        return self.reader.read(self.frames[number])

    def read(self, index: int) -> dict[str, Array]:
        """Arrays of a clip, `(T, ...)`, and views of nothing that is shared."""
        read = [self.items.read(self._numbers[frame]) for frame in self.clips[index].frames]
        names = ("blur", "sharp", "voxels")[: len(read[0])]
        found = {}
        for place, name in enumerate(names):
            shapes = {arrays[place].shape for arrays in read}
            if len(shapes) > 1:
                raise DataError(
                    f"{self.clips[index].frames[0].blur}: frames of one clip have the sizes {sorted(shapes)}",
                    slug="clip-size-mismatch",
                )
            found[name] = np.stack([arrays[place] for arrays in read])
        return found


class TrainingClips(Dataset[dict[str, Any]]):
    """Random crops of clips, flipped, transposed and reversed in time, all that belongs to a clip alike.

    Args:
        clips: To draw from.
        reader: Of frames.
        side: Side of the square crops.
        scale: What counts are divided by.
    """

    def __init__(self, clips: Sequence[Clip], reader: FrameReader, *, side: int, scale: float) -> None:
        self._clips = _Clips(clips, reader)
        self.side, self.scale = side, scale

    @property
    def items(self) -> Items:
        """The frames that the clips are made of."""
        return self._clips.items

    def __len__(self) -> int:
        return len(self._clips.clips)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A sample: `blur` and `sharp` uint8 `(T, 3, S, S)`, `voxels` float32 `(T, bins, s, s)`, `file`."""
        arrays = self._clips.read(index)
        first = self._clips.clips[index].frames[0].blur
        size = (arrays["blur"].shape[1], arrays["blur"].shape[2])
        multiple = 1
        if "voxels" in arrays:
            multiple = Fraction(size[0], arrays["voxels"].shape[2]).numerator
        # Crops, too, must end on whole pixels of the sensor.
        side = self.side // lcm(multiple, _SIDE) * lcm(multiple, _SIDE)
        if min(size) < side or not side:
            raise DataError(
                f"{first} is {size[1]} x {size[0]} pixels, smaller than crops of {self.side}",
                hint=f"set data.image_size: {max(_SIDE, min(size) // _SIDE * _SIDE)}",
                slug="spatial-mismatch",
            )
        numbers = np.random.default_rng(int(torch.randint(2**62, ())))
        view = draw_view(size, (side, side), numbers, multiple=multiple)
        cut = cut_clip(arrays, size, view)
        sample: dict[str, Any] = {
            name: torch.from_numpy(cut[name]).permute(0, 3, 1, 2).contiguous() for name in ("blur", "sharp")
        }
        if "voxels" in cut:
            sample["voxels"] = torch.from_numpy(cut["voxels"]).float().div_(self.scale)
        return {**sample, "file": _told(self._clips.clips[index])}


class WholeClips(Dataset[dict[str, Any]]):
    """Clips of whole frames.

    Args:
        clips: In order.
        reader: Of frames.
        scale: What counts are divided by.
    """

    def __init__(self, clips: Sequence[Clip], reader: FrameReader, *, scale: float) -> None:
        self._clips = _Clips(clips, reader)
        self.scale = scale

    @property
    def items(self) -> Items:
        """The frames that the clips are made of."""
        return self._clips.items

    def __len__(self) -> int:
        return len(self._clips.clips)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A sample: `blurred`, `truth` `(T, H, W, 3)`, `grids` float32 or `None`, `frames`, `sequence`, `file`."""
        clip, arrays = self._clips.clips[index], self._clips.read(index)
        grids = arrays.get("voxels")
        return {
            "blurred": arrays["blur"],
            "truth": arrays["sharp"],
            "grids": None if grids is None else grids.astype(np.float32) / np.float32(self.scale),
            "frames": [frame.blur for frame in clip.frames],
            "sequence": clip.sequence,
            "file": _told(clip),
        }


def _told(clip: Clip) -> str:
    first, last = clip.frames[0], clip.frames[-1]
    return f"{first.blur} to {Path(last.blur).name}"


def spread(clips: Sequence[Clip], most: int | None) -> list[Clip]:
    """At most so many clips, evenly spread."""
    if most is None or len(clips) <= most:
        return list(clips)
    return [clips[place * len(clips) // most] for place in range(most)]


def collate(samples: Sequence[dict[str, Any]]) -> Batch:
    """Stack crops; keep whole frames, which differ in size, in lists."""
    batch: Batch = {"files": [sample["file"] for sample in samples]}
    for name in samples[0]:
        if name != "file":
            values = [sample[name] for sample in samples]
            batch[name] = torch.stack(values) if isinstance(values[0], Tensor) else values
    return batch
