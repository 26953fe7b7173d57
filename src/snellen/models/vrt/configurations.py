"""The architectures of VRT as published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from snellen.errors import ContractError
from snellen.models.vrt.attention import Size

__all__ = ["PUBLISHED", "VrtArchitecture", "published"]

_SCALES = 7
"""Stages with a scale of their own; what follows refines at full size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VrtArchitecture:
    """All that decides which tensors a VRT has; names as published.

    Args:
        upscale: Enlargement of the output: 1, 2, 4 or 8.
        in_chans: Channels of a frame, without the noise level.
        out_chans: Channels of the output.
        frames: Frames of a clip; only a network that interpolates frames (`pa_frames` 0) is bound to it.
        window_size: Frames, rows and columns of an attention window.
        depths: Blocks of the seven stages and of the groups that refine at full size.
        indep_reconsts: Which of `depths` are groups that see every frame by itself.
        embed_dims: Channels, one for each of `depths`.
        num_heads: Heads, one for each of `depths`.
        mul_attn_ratio: Share of a stage's blocks with mutual attention.
        pa_frames: Neighbours that are aligned, 2, 4 or 6, half to either side; 0 for interpolating frames without
            flow and alignment.
        deformable_groups: Groups of the alignment.
        nonblind_denoising: Whether a map of the noise level follows the colours.

    Raises:
        ContractError: The numbers do not belong together.

    Example:
        >>> VrtArchitecture(window_size=(6, 4, 4)).smallest_sides
        (32, 32)
    """

    upscale: int = 1
    in_chans: int = 3
    out_chans: int = 3
    frames: int = 6
    window_size: Size = (6, 8, 8)
    depths: tuple[int, ...] = (8, 8, 8, 8, 8, 8, 8, 4, 4, 4, 4)
    indep_reconsts: tuple[int, ...] = (9, 10)
    embed_dims: tuple[int, ...] = (96, 96, 96, 96, 96, 96, 96, 120, 120, 120, 120)
    num_heads: tuple[int, ...] = (6,) * 11
    mul_attn_ratio: float = 0.75
    pa_frames: int = 2
    deformable_groups: int = 16
    nonblind_denoising: bool = False

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise ContractError(f"this VRT cannot be built: {'; '.join(problems)}")

    @classmethod
    def from_published(cls, arguments: Mapping[str, Any]) -> VrtArchitecture:
        """From the arguments of the published networks; `img_size` gives the frames, paths are left out.

        Example:
            >>> VrtArchitecture.from_published({"img_size": [12, 64, 64], "spynet_path": None}).frames
            12
        """
        known = {field.name for field in fields(cls)}
        taken: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()
        }
        if "img_size" in taken:
            taken["frames"] = taken["img_size"][0]
        return cls(**{name: value for name, value in taken.items() if name in known})

    @property
    def neighbours(self) -> int:
        """Frames to either side that are aligned."""
        return self.pa_frames // 2

    @property
    def side_multiple(self) -> int:
        """What both sides of a frame must be multiples of: it is halved three times."""
        return 8

    @property
    def smallest_sides(self) -> tuple[int, int]:
        """Least height and width: at the smallest scale a frame holds one window."""
        return 8 * self.window_size[1], 8 * self.window_size[2]

    @property
    def refining(self) -> range:
        """Which of `depths` come after the seven stages."""
        return range(_SCALES, len(self.depths))


def _problems(given: VrtArchitecture) -> list[str]:
    problems = []
    if given.upscale not in (1, 2, 4, 8):
        problems.append(f"upscale is {given.upscale}, expected 1, 2, 4 or 8")
    if given.pa_frames not in (0, 2, 4, 6):
        problems.append(f"pa_frames is {given.pa_frames}, expected 0, 2, 4 or 6")
    if len(given.depths) < _SCALES + 1:
        problems.append(f"depths has {len(given.depths)} entries, expected {_SCALES + 1} or more")
    problems += [
        f"{name} has {len(getattr(given, name))} entries, expected {len(given.depths)} as depths"
        for name in ("embed_dims", "num_heads")
        if len(getattr(given, name)) != len(given.depths)
    ]
    problems += [
        f"{width} channels do not divide into {heads} heads"
        for width, heads in zip(given.embed_dims, given.num_heads, strict=False)
        if width % heads
    ]
    # A stage that doubles the resolution splits its channels in four, sines of positions pair them up.
    if any(width % 4 for width in given.embed_dims[:_SCALES]):
        problems.append(f"embed_dims are {given.embed_dims}, expected multiples of 4 in the first {_SCALES}")
    # The alignment takes all neighbours of one side at once: each has its share of the output, and of the groups.
    if any(width % max(given.neighbours, 1) for width in given.embed_dims[:_SCALES]):
        problems.append(
            f"embed_dims are {given.embed_dims}, expected multiples of {given.neighbours}, half of pa_frames"
        )
    if any(given.neighbours * width % given.deformable_groups for width in given.embed_dims[:_SCALES]):
        problems.append(
            f"embed_dims are {given.embed_dims}, {given.neighbours} times which do not divide into "
            f"{given.deformable_groups} deformable_groups"
        )
    if given.pa_frames == 0 and (given.upscale != 1 or given.nonblind_denoising):
        problems.append("interpolating frames (pa_frames 0) goes with upscale 1 and no noise map")
    return list(dict.fromkeys(problems))


_RESTORATION = VrtArchitecture()
_SUPER_RESOLUTION = VrtArchitecture(
    upscale=4,
    depths=(8, 8, 8, 8, 8, 8, 8, 4, 4, 4, 4, 4, 4),
    indep_reconsts=(11, 12),
    embed_dims=(120, 120, 120, 120, 120, 120, 120, 180, 180, 180, 180, 180, 180),
    num_heads=(6,) * 13,
    deformable_groups=12,
)
_SEVEN_FRAMES = replace(_SUPER_RESOLUTION, frames=8, window_size=(8, 8, 8), pa_frames=4, deformable_groups=16)

PUBLISHED: dict[str, VrtArchitecture] = {
    "001_VRT_videosr_bi_REDS_6frames": _SUPER_RESOLUTION,
    "002_VRT_videosr_bi_REDS_16frames": replace(
        _SUPER_RESOLUTION, frames=16, window_size=(8, 8, 8), pa_frames=6, deformable_groups=24
    ),
    "003_VRT_videosr_bi_Vimeo_7frames": _SEVEN_FRAMES,
    "004_VRT_videosr_bd_Vimeo_7frames": _SEVEN_FRAMES,
    "005_VRT_videodeblurring_DVD": _RESTORATION,
    "006_VRT_videodeblurring_GoPro": _RESTORATION,
    "007_VRT_videodeblurring_REDS": _RESTORATION,
    "008_VRT_videodenoising_DAVIS": replace(_RESTORATION, nonblind_denoising=True),
    "009_VRT_videofi_Vimeo_4frames": replace(
        _RESTORATION, frames=4, window_size=(4, 8, 8), indep_reconsts=(), pa_frames=0
    ),
}
"""By name; sources: arXiv:2201.12288, sections 4.1 to 4.5, and the released weights."""


def published(name: str) -> VrtArchitecture:
    """A published architecture by its name or the number in front of it.

    Raises:
        ContractError: There is none of that name.

    Example:
        >>> published("006").deformable_groups
        16
    """
    found = [one for full, one in PUBLISHED.items() if name in (full, full.partition("_")[0])]
    if not found:
        raise ContractError(f"no VRT is named {name!r}", hint=f"one of {', '.join(PUBLISHED)}")
    return found[0]
