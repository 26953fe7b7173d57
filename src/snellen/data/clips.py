"""Clips of a deblurring set: runs of frames with their sharp partners and spikes, and why other frames are in none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from snellen.core.facts.data import Sample
from snellen.errors import DataError

__all__ = ["Clip", "ClipFrame", "ClipListing", "Motion", "list_clips"]

Motion = Literal["none", "spikes", "voxels"]
"""What lies beside the frames: nothing, spike streams, or voxel grids that were computed from them."""

_SHOWN = 4


@dataclass(frozen=True, slots=True)
class ClipFrame:
    """One frame of a clip.

    Args:
        blur: The blurred frame.
        sharp: The sharp frame.
        number: Its number in the sequence.
        motion: Its spike stream or voxel grid.
        window: `(place, of)` of the frame, where one stream belongs to a whole sequence; `(0, 1)` for one of its own.
    """

    blur: str
    sharp: str
    number: int
    motion: str | None = None
    window: tuple[int, int] = (0, 1)


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames that follow each other.

    Args:
        sequence: What they were taken from.
        frames: In order.
    """

    sequence: str
    frames: tuple[ClipFrame, ...]


@dataclass(frozen=True, slots=True)
class ClipListing:
    """Clips, and what is in none.

    Args:
        clips: By sequence, then by number.
        skipped: Reason to the sequences it concerns, with what was found there.
        frames: Frames in all sequences.
        used: Frames in at least one clip.
    """

    clips: tuple[Clip, ...]
    skipped: dict[str, tuple[str, ...]] = field(default_factory=dict)
    frames: int = 0
    used: int = 0

    def told(self) -> tuple[str, ...]:
        """For people: one sentence about the clips, and one for each reason."""
        sequences = len({clip.sequence for clip in self.clips})
        lines = [f"{len(self.clips)} clips of {sequences} sequences, {self.used} of {self.frames} frames in use"]
        for reason, names in self.skipped.items():
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            lines.append(f"{reason}: {len(names)} ({', '.join(names[:_SHOWN])}{more})")
        return tuple(lines)


def list_clips(
    samples: Sequence[Sample], *, length: int, step: int = 1, motion: Motion = "none", where: str = "the data"
) -> ClipListing:
    """Cut sequences into clips.

    A number that is missing ends a run: a clip never jumps over a gap. What a frame lacks ends a run, too.

    Args:
        samples: Of the layout `frame-pairs`.
        length: Frames of a clip.
        step: Frames from the start of a clip to the start of the next.
        motion: What each frame must have beside it.
        where: For messages.

    Raises:
        DataError: There is no clip; the message counts every reason.

    Example:
        >>> frames = [Sample(f"a/blur/{n}.png", group="a", index=n, partner=f"a/sharp/{n}.png") for n in (1, 2, 3, 5)]
        >>> listing = list_clips(frames, length=2)
        >>> [[frame.number for frame in clip.frames] for clip in listing.clips]
        [[1, 2], [2, 3]]
        >>> listing.told()[1:]
        ('numbers missing in between: 1 (a: 4)',)
    """
    if length < 1 or step < 1:
        raise DataError(f"clips of {length} frames every {step} frames, expected at least 1 and 1")
    sequences: dict[str, list[Sample]] = {}
    for sample in samples:
        sequences.setdefault(sample.group, []).append(sample)
    skipped: dict[str, list[str]] = {}
    clips: list[Clip] = []
    used = 0
    for name, members in sequences.items():
        runs = list(_runs(name or "frames", members, motion, skipped))
        longest = max((len(run) for run in runs), default=0)
        if longest < length:
            skipped.setdefault(f"shorter than {length} frames", []).append(f"{name or 'frames'}: {longest}")
        for run in runs:
            starts = range(0, len(run) - length + 1, step)
            clips += [Clip(name, tuple(run[start : start + length])) for start in starts]
            used += length + (len(starts) - 1) * min(step, length) if starts else 0
    listing = ClipListing(tuple(clips), {why: tuple(names) for why, names in skipped.items()}, len(samples), used)
    if not clips:
        reasons = "; ".join(listing.told()[1:]) or "there is no frame"
        raise DataError(
            f"{where} gives no clip of {length} frames: {reasons}",
            hint="expected SEQUENCE/blur and SEQUENCE/sharp with frames numbered in one row",
            slug="empty-dataset",
        )
    return listing


def _runs(
    name: str, members: Sequence[Sample], motion: Motion, skipped: dict[str, list[str]]
) -> Iterator[list[ClipFrame]]:
    """Frames that follow each other without a gap and lack nothing."""
    numbered = [(sample.index, sample) for sample in members if sample.index is not None and not sample.role]
    numbered.sort(key=lambda one: one[0])
    lacks: Counter[str] = Counter()
    lacks["frames without a number in their name"] = sum(one.index is None and not one.role for one in members)
    lacks["frames without a blurred one"] = sum(one.role == "frame" for one in members)
    shared = _shared(members, motion)
    numbers = [number for number, _ in numbered]
    spacing = min((b - a for a, b in pairwise(numbers) if b > a), default=1)
    run: list[ClipFrame] = []
    former: int | None = None
    for place, (number, sample) in enumerate(numbered):
        found = {"none": None, "spikes": sample.spikes, "voxels": sample.voxels}[motion]
        lack = "frames without a sharp one" if sample.partner is None else ""
        lack = lack or (f"frames without {motion}" if motion != "none" and found is None else "")
        lack = lack or ("frames that share a number" if number == former else "")
        if lack:
            lacks[lack] += 1
        if former is not None and number - former > spacing:
            missing = ", ".join(map(str, range(former + spacing, number, spacing)[:_SHOWN]))
            skipped.setdefault("numbers missing in between", []).append(f"{name}: {missing}")
        if run and (lack or (former is not None and number - former > spacing)):
            yield run
            run = []
        if not lack and sample.partner is not None:
            window = (place, len(numbered)) if shared else (0, 1)
            run.append(ClipFrame(sample.image, sample.partner, number, found, window))
        former = number
    if run:
        yield run
    for why, count in lacks.items():
        if count:
            skipped.setdefault(why, []).append(f"{name}: {count}")


def _shared(members: Sequence[Sample], motion: Motion) -> bool:
    """Whether one stream belongs to all frames of a sequence."""
    streams = {member.spikes for member in members}
    return motion == "spikes" and len(members) > 1 and len(streams) == 1 and None not in streams
