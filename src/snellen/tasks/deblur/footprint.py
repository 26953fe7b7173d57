"""What a long video takes of the device: one part of it at a time, so that only the size of the parts counts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from snellen.config.schema import RunConfig
from snellen.models.light_deblur import LightDeblur
from snellen.models.vrt import VRT
from snellen.tasks.base import Inference
from snellen.tasks.deblur.config import DeblurRun, TileConfig
from snellen.tasks.deblur.model import Padded, tiling_of

__all__ = ["inference", "smaller_parts"]

_LEAST_SIDE, _LEAST_FRAMES = 64, 4


def inference(config: RunConfig, size: tuple[int, int]) -> Inference:
    """As prediction goes about one clip of a video.

    On the device are a clip of whole frames and what was made of it so far, and one part of it inside the network.

    Args:
        config: The run.
        size: Height and width of the frames.
    """
    if not isinstance(config, DeblurRun):
        raise TypeError(f"expected a DeblurRun, given {type(config).__name__}")
    tiling = tiling_of(config.model.tile)
    frames = tiling.frames or config.data.clip_length
    down, across = tiling.patches(size[0]), tiling.patches(size[1])
    part = (len(down[0]), len(across[0]))
    bins = config.model.bins if config.model.spikes != "none" else 0

    def make() -> list[Tensor]:
        given = [torch.empty(1, frames, 3, *part)]
        if bins:
            given.append(torch.empty(1, frames, bins, *part))
        # The whole clip, its voxels, the sum of what was made, and the frames that wait for the next clip.
        kept = [torch.empty(1, frames, 3, *size) for _ in range(3)]
        return [*given, *kept, *([torch.empty(1, frames, bins, *size)] if bins else [])]

    def call(model: nn.Module, given: list[Tensor]) -> Tensor:
        network = next(part for part in model.modules() if isinstance(part, (VRT, LightDeblur)))
        made: Tensor = Padded(network)(*given[: 2 if bins else 1])
        return made

    what = f"{frames} frames of {size[0]} x {size[1]} in {len(down) * len(across)} parts of {part[0]} x {part[1]}"
    return Inference(make, call, len(down) * len(across), what, full=True)


def smaller_parts(config: RunConfig) -> list[tuple[str, Any]]:
    """Parts of half the side, or of half the frames.

    Args:
        config: The run.
    """
    if not isinstance(config, DeblurRun):
        raise TypeError(f"expected a DeblurRun, given {type(config).__name__}")
    tile, usual = config.model.tile, TileConfig()
    side = tile.side // 2 if tile.side else usual.side
    frames = tile.frames // 2 if tile.frames else usual.frames
    found: list[tuple[str, Any]] = []
    if side >= max(_LEAST_SIDE, 2 * tile.overlap):
        found.append(("model.tile.side", side))
    if frames >= max(_LEAST_FRAMES, 2 * tile.frame_overlap):
        found.append(("model.tile.frames", frames))
    return found
