"""A small convolutional network that deblurs video: for trying data and settings, and for machines without a GPU."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snellen.errors import ContractError
from snellen.models.vrt.spikes import SpikeContract

__all__ = ["LightDeblur"]

_GAIN = 4.0
"""Differences, to the surroundings and to other frames, are small beside the frames; brought to their size, the first
layer learns from them at once, and not when it has learned to subtract."""
_SURROUNDINGS = 7
_STEP = 0.1
"""What is added to a frame is small: a step of the optimiser should be so, too."""


class LightDeblur(nn.Module):
    """A U-net at half, quarter and eighth size that sees each frame among its neighbours.

    What it takes in is what deblurring is about, ready to be used: the frame, how it differs from its surroundings, and
    how each neighbour differs from it. Exposures that overlap differ by what came and what went, which is nearly sharp.

    Args:
        width: Channels at half size.
        blocks: Residual blocks at each size.
        reach: Neighbours before and after a frame that are seen with it.
        spikes: What the voxels of a spike camera are; without it, frames alone are taken.

    Input shape: `(B, T, 3, H, W)`, RGB of values 0 to 1, sides multiples of 8; voxels `(B, T, bins, h, w)`. Output
    shape: `(B, T, 3, H, W)`.

    Example:
        >>> LightDeblur(width=8)(torch.zeros(1, 3, 3, 16, 24)).shape
        torch.Size([1, 3, 3, 16, 24])
    """

    side_multiple = 8
    smallest_sides = (16, 16)

    def __init__(
        self, *, width: int = 32, blocks: int = 2, reach: int = 2, spikes: SpikeContract | None = None
    ) -> None:
        super().__init__()
        self.spikes, self.reach = spikes, reach
        self.first = nn.Conv2d(4 * 3 * (2 + 2 * reach), width, 3, padding=1)
        self.voxels = None if spikes is None else nn.Conv2d(4 * spikes.bins, width, 3, padding=1)
        widths = (width, 2 * width, 4 * width)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in pairwise(widths))
        self.encode = nn.ModuleList(_blocks(one, blocks) for one in widths)
        self.decode = nn.ModuleList(_blocks(one, blocks) for one in widths[:-1])
        self.last = nn.Conv2d(width, 12, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        if self.last.bias is not None:
            nn.init.zeros_(self.last.bias)

    def forward(self, clip: Tensor, voxels: Tensor | None = None) -> Tensor:
        """Deblur.

        Raises:
            ContractError: The clip or the voxels are not what the network takes.
        """
        self._check(clip, voxels)
        x: Tensor = self.first(_halved(self._differences(clip).flatten(0, 1)))
        if self.voxels is not None and voxels is not None:
            x = x + self.voxels(_halved(_resized(voxels.flatten(0, 1).to(clip.dtype), clip)))
        kept = []
        for encode, down in zip(self.encode, self.down, strict=False):
            x = encode(x)
            kept.append(x)
            x = down(x)
        x = self.encode[-1](x)
        for decode, up in zip(reversed(self.decode), reversed(self.up), strict=True):
            x = decode(up(x) + kept.pop())
        return torch.unflatten(F.pixel_shuffle(self.last(x) * _STEP, 2), 0, clip.shape[:2]) + clip

    def _differences(self, clip: Tensor) -> Tensor:
        """Shape `(B, T, 3 * (2 + 2 * reach), H, W)`; beyond the ends of a clip its first and last frame stay."""
        places, last = torch.arange(clip.shape[1], device=clip.device), clip.shape[1] - 1
        offsets = [one for away in range(1, self.reach + 1) for one in (-away, away)]
        others = [(clip[:, (places + one).clamp(0, last)] - clip) * _GAIN for one in offsets]
        return torch.cat([clip - 0.5, (clip - _surroundings(clip)) * _GAIN, *others], dim=2)

    def _check(self, clip: Tensor, voxels: Tensor | None) -> None:
        if clip.ndim != 5 or clip.shape[2] != 3 or clip.shape[3] % 8 or clip.shape[4] % 8:
            raise ContractError(
                f"the light network takes clips (B, T, 3, H, W) with sides that are multiples of 8, given "
                f"{tuple(clip.shape)}",
                slug="padding-not-lcm",
            )
        if voxels is not None:
            if self.spikes is None:
                raise ContractError("voxels are given to a network without a spike branch")
            self.spikes.check(clip, voxels)


def _halved(images: Tensor) -> Tensor:
    """Half the size, four times the channels, which lie together in memory: convolutions on a CPU are faster so."""
    return F.pixel_unshuffle(images, 2).contiguous(memory_format=torch.channels_last)


def _surroundings(clip: Tensor) -> Tensor:
    """The mean of the pixels around each, `(B, T, 3, H, W)`."""
    half = _SURROUNDINGS // 2
    rows = F.avg_pool2d(clip.flatten(0, 1), (_SURROUNDINGS, 1), 1, (half, 0), count_include_pad=False)
    both = F.avg_pool2d(rows, (1, _SURROUNDINGS), 1, (0, half), count_include_pad=False)
    return torch.unflatten(both, 0, clip.shape[:2])


def _resized(voxels: Tensor, clip: Tensor) -> Tensor:
    """Voxels at the size of the frames; nothing is lost where they have it."""
    size = (clip.shape[3], clip.shape[4])
    if voxels.shape[2:] == size:
        return voxels
    smaller = size[0] < voxels.shape[2]
    return F.interpolate(voxels, size=size, mode="bilinear", align_corners=False, antialias=smaller)


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(channels, channels, 3, padding=1)
        self.two = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.two(F.gelu(self.one(x)))
        return x + made


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(_Block(channels) for _ in range(count)))
