"""Long and large videos through a network in overlapping clips and patches, in bounded memory.

In space the outer half of the overlap of a patch is thrown away where another patch is more in the middle, and what
still lies twice is averaged; in time overlapping frames are averaged. This is how VRT was published to be tested.

The overlap rule: a network whose output at a pixel depends on at most `overlap // 2` pixels around it, and which does
the same wherever a patch begins (its windows fall on the same places when patches begin at multiples of them), gives
the same with patches as without. In time nothing is thrown away: frames that two clips share are the mean of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from snellen.errors import ContractError
from snellen.ops.precision import accumulation_dtype

__all__ = ["VideoTiling", "restore", "restored_frames"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoTiling:
    """How a video is cut.

    Args:
        frames: Frames of a clip; 0 for the whole video at once, mirrored at its end up to a multiple of `window`.
        side: Rows and columns of a patch; 0 for whole frames, mirrored at the bottom and the right up to multiples of
            `window`.
        frame_overlap: Frames that clips share.
        overlap: Pixels that patches share.
        window: What frames, rows and columns of an uncut video are made multiples of.
        scale: Enlargement of the output.

    Raises:
        ContractError: An overlap is not smaller than what it is a part of, or a number is out of range.
    """

    frames: int = 12
    side: int = 256
    frame_overlap: int = 2
    overlap: int = 20
    window: tuple[int, int, int] = (6, 8, 8)
    scale: int = 1

    def __post_init__(self) -> None:
        for part, overlap, what in (
            (self.frames, self.frame_overlap, "frame_overlap"),
            (self.side, self.overlap, "overlap"),
        ):
            if part < 0 or overlap < 0 or (part and overlap >= part):
                raise ContractError(f"{what} is {overlap}, expected 0 to {max(part - 1, 0)} for parts of {part}")
        if self.scale < 1 or min(self.window) < 1:
            raise ContractError(f"scale is {self.scale} and window {self.window}, expected all to be at least 1")

    def clips(self, length: int) -> list[range]:
        """Which frames each clip has.

        Example:
            >>> VideoTiling(frames=6, frame_overlap=2).clips(9)
            [range(0, 6), range(3, 9)]
        """
        return _starts(length, self.frames or length, self.frame_overlap)

    def patches(self, side: int) -> list[range]:
        """Which rows, or columns, each patch has."""
        return _starts(side, self.side or side, self.overlap)


def restored_frames(
    network: Callable[..., Tensor],
    read: Callable[[int, int], tuple[Tensor, ...]],
    length: int,
    *,
    tiling: VideoTiling,
    first: int = 0,
) -> Iterator[Tensor]:
    """Restore a video of any length and yield its frames as soon as they are done.

    Held at any time are one clip, what the network makes of it, and the frames shared with the next clip: memory does
    not depend on the length.

    Args:
        network: Takes what `read` gives, cropped: a clip `(B, D, C, H, W)` and what goes with it; returns
            `(B, D, channels, scale * H, scale * W)`.
        read: Frames from the first number up to and without the second, `(B, D, C, H, W)`, and what goes with them,
            such as voxels `(B, D, bins, h, w)`; h and w may differ from H and W by a fixed factor.
        length: Frames of the video.
        tiling: How it is cut.
        first: The first frame that is wanted; what comes before it is read only where a clip reaches beyond it.

    Yields:
        Frame `first`, the one after it and so on, `(B, channels, scale * H, scale * W)` each.

    Raises:
        ContractError: The network gives another number of frames than it takes, or the voxels cannot be cut where the
            frames are.

    Example:
        >>> double = lambda clip: 2 * clip
        >>> frames = restored_frames(double, lambda a, b: (torch.ones(1, b - a, 3, 8, 8),), 100, tiling=VideoTiling())
        >>> sum(frame.mean().item() for frame in frames)
        200.0
    """
    pending: dict[int, tuple[Tensor, int]] = {}
    clips = tiling.clips(length)
    for index, clip in enumerate(clips):
        if clip.stop <= first:
            continue
        made = _restored_clip(network, read(clip.start, clip.stop), tiling)
        for offset, number in enumerate(clip):
            before, count = pending.get(number, (None, 0))
            frame = made[:, offset]
            pending[number] = (frame.clone() if before is None else before + frame, count + 1)
        del made
        done = clips[index + 1].start if index + 1 < len(clips) else length
        for number in sorted(number for number in pending if number < done):
            total, count = pending.pop(number)
            if number >= first:
                yield total / count


def restore(network: Callable[..., Tensor], *video: Tensor, tiling: VideoTiling) -> Tensor:
    """Restore a video that fits into memory.

    Args:
        network: See `restored_frames`.
        video: Frames `(B, D, C, H, W)`, and what goes with them.
        tiling: How it is cut.

    Returns:
        Shape `(B, D, channels, scale * H, scale * W)`.

    Raises:
        ContractError: As `restored_frames`.
    """

    def read(start: int, stop: int) -> tuple[Tensor, ...]:
        return tuple(one[:, start:stop] for one in video)

    return torch.stack(list(restored_frames(network, read, video[0].shape[1], tiling=tiling)), dim=1)


def _starts(length: int, part: int, overlap: int) -> list[range]:
    last = max(0, length - part)
    return [range(start, min(start + part, length)) for start in (*range(0, last, part - overlap), last)]


def _restored_clip(network: Callable[..., Tensor], clip: tuple[Tensor, ...], tiling: VideoTiling) -> Tensor:
    frames, height, width = clip[0].shape[1], *clip[0].shape[3:]
    if not tiling.frames:
        clip = tuple(_mirrored(one, 1, min(-frames % tiling.window[0], frames)) for one in clip)
    if tiling.side:
        made = _from_patches(network, clip, tiling)
    else:
        down, across = -height % tiling.window[1], -width % tiling.window[2]
        padded = [_mirrored(_mirrored(clip[0], 3, down), 4, across)]
        for guide in clip[1:]:
            more = _share(down, guide.shape[3], height), _share(across, guide.shape[4], width)
            padded.append(_mirrored(_mirrored(guide, 3, more[0]), 4, more[1]))
        made = _run(network, tuple(padded), tiling)[..., : height * tiling.scale, : width * tiling.scale]
    return made[:, :frames]


def _from_patches(network: Callable[..., Tensor], clip: tuple[Tensor, ...], tiling: VideoTiling) -> Tensor:
    """All patches of a clip, each without the half of the overlap that another one has nearer to its middle."""
    height, width = clip[0].shape[3:]
    scale = tiling.scale
    rows, columns = tiling.patches(height), tiling.patches(width)
    total = count = torch.empty(0)
    for down in rows:
        for across in columns:
            made = _run(network, tuple(_cropped(one, down, across, height, width) for one in clip), tiling)
            if not total.numel():
                dtype = accumulation_dtype(made.dtype)
                total = made.new_zeros((*made.shape[:3], height * scale, width * scale), dtype=dtype)
                count = total.new_zeros(height * scale, width * scale)
            top, bottom = _kept(down, rows, tiling)
            left, right = _kept(across, columns, tiling)
            inside = made[..., top - down.start * scale : bottom - down.start * scale, :]
            inside = inside[..., left - across.start * scale : right - across.start * scale]
            total[..., top:bottom, left:right] += inside
            count[top:bottom, left:right] += 1
    return total / count


def _kept(part: range, parts: list[range], tiling: VideoTiling) -> tuple[int, int]:
    """First pixel of the output that a patch gives, and the one after its last; the trim is in pixels of the output."""
    start = part.start * tiling.scale + (tiling.overlap // 2 if part.start > parts[0].start else 0)
    stop = part.stop * tiling.scale - ((tiling.overlap + 1) // 2 if part.start < parts[-1].start else 0)
    return start, stop


def _cropped(video: Tensor, down: range, across: range, height: int, width: int) -> Tensor:
    """The patch of a video, or of what goes with it at another resolution."""
    top, bottom = (_share(edge, video.shape[3], height) for edge in (down.start, down.stop))
    left, right = (_share(edge, video.shape[4], width) for edge in (across.start, across.stop))
    return video[..., top:bottom, left:right]


def _share(edge: int, side: int, of: int) -> int:
    if edge * side % of:
        raise ContractError(
            f"a patch that begins or ends at pixel {edge} of {of} falls within a pixel of what goes with the frames, "
            f"which has {side}",
            hint="choose a side and an overlap of the patches, and crop the frames, to multiples of their factor",
        )
    return edge * side // of


def _run(network: Callable[..., Tensor], given: tuple[Tensor, ...], tiling: VideoTiling) -> Tensor:
    made = network(*given)
    frames, (height, width) = given[0].shape[1], given[0].shape[3:]
    wanted = (frames, height * tiling.scale, width * tiling.scale)
    if (made.shape[1], *made.shape[3:]) != wanted:
        raise ContractError(
            f"the network made {tuple(made.shape)} of {tuple(given[0].shape)}, expected {wanted[0]} frames of "
            f"{wanted[1]} x {wanted[2]} (height x width)",
            hint=f"set scale to the network's; it is {tiling.scale}",
        )
    return made


def _mirrored(video: Tensor, dim: int, added: int) -> Tensor:
    """Continued behind its end by its mirror image, the border repeated, as often as needed."""
    if not added:
        return video
    side = video.shape[dim]
    places = torch.arange(side + added, device=video.device) % (2 * side)
    return video.index_select(dim, torch.minimum(places, 2 * side - 1 - places))
