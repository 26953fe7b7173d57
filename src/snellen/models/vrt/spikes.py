"""The spike branch: what a spike camera saw during each frame, fused into the first features of a VRT."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from snellen.errors import ContractError

__all__ = ["SpikeBranch", "SpikeContract", "VoxelEncoder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikeContract:
    """What the spike branch takes, in relation to the frames.

    Both cameras see the same field of view: along both axes one pixel of the sensor covers the same number of pixels of
    the image. There is one voxel grid for each frame.

    Args:
        bins: Time bins of a voxel grid.
        scale: Pixels of the image for one of the sensor, along each axis: 4 for an image of 1000 x 1600 and a sensor of
            250 x 400, 1/2 for a sensor of twice the resolution. `None`: any, as long as both axes agree.

    Example:
        >>> SpikeContract(bins=8, scale=Fraction(4)).voxel_size(1000, 1600)
        (250, 400)
    """

    bins: int = 32
    scale: Fraction | None = None

    def voxel_size(self, height: int, width: int) -> tuple[int, int] | None:
        """Rows and columns of the voxels for an image, `None` where any scale is taken.

        Raises:
            ContractError: The image is no multiple of a pixel of the sensor.
        """
        if self.scale is None:
            return None
        sides = height / self.scale, width / self.scale
        if any(side.denominator != 1 for side in sides):
            raise ContractError(
                f"spike branch: at {self.scale} pixels of the image to one of the sensor, an image of {height} x "
                f"{width} (height x width) ends within a pixel of the sensor",
                hint=f"take sides that are multiples of {self.scale.numerator}",
            )
        return int(sides[0]), int(sides[1])

    def check(self, clip: Tensor, voxels: Tensor) -> None:
        """Refuse voxels that do not belong to a clip.

        Args:
            clip: Shape `(B, D, C, H, W)`.
            voxels: Shape `(B, D, bins, h, w)`.

        Raises:
            ContractError: Names what the clip says, what the voxels are, and what would do.
        """
        batch, frames, _, height, width = clip.shape
        expected = f"({batch}, {frames}, {self.bins}, h, w) for frames of shape {tuple(clip.shape)}"
        if voxels.ndim != 5 or voxels.shape[:3] != (batch, frames, self.bins):
            raise ContractError(
                f"spike branch: voxels of shape {tuple(voxels.shape)}, expected {expected}",
                hint="one voxel grid for each frame, its time bins as channels",
            )
        given = tuple(voxels.shape[3:])
        wanted = self.voxel_size(height, width)
        if wanted is None and height * given[1] != width * given[0]:
            raise ContractError(
                f"spike branch: frames of {height} x {width} and voxels of {given[0]} x {given[1]} (height x width) do "
                f"not see the same field: {height / given[0]:g} pixels of the image to one of the sensor down, "
                f"{width / given[1]:g} across",
                hint="crop both to the field of view that they share",
            )
        if wanted is not None and given != wanted:
            raise ContractError(
                f"spike branch: frames of {height} x {width} and voxels of {given[0]} x {given[1]} (height x width); "
                f"at {self.scale} pixels of the image to one of the sensor the voxels are {wanted[0]} x {wanted[1]}",
                hint="crop both to the same field of view, or set the scale to what the cameras have",
            )


class VoxelEncoder(nn.Module):
    """Features of voxel grids at their own resolution.

    Args:
        bins: Time bins.
        channels: C.
        blocks: Residual blocks after the first convolution.

    Shapes: `(B * D, bins, h, w)` to `(B * D, C, h, w)`.
    """

    def __init__(self, bins: int, channels: int, *, blocks: int = 2) -> None:
        super().__init__()
        self.first = nn.Conv2d(bins, channels, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1), nn.GELU(), nn.Conv2d(channels, channels, 3, padding=1)
            )
            for _ in range(blocks)
        )

    def forward(self, voxels: Tensor) -> Tensor:
        """Encode."""
        features: Tensor = self.first(voxels)
        for block in self.blocks:
            features = features + block(features)
        return features


class SpikeBranch(nn.Module):
    """Encodes voxels and adds what they tell to the first features of the frames.

    Its last layer starts at zero, so that a network with published weights begins as what it was.

    Args:
        channels: C, of the first features: `embed_dims[0]`.
        contract: What it takes.
        fusion: `attention`: every pixel of a frame looks at the spikes at its place in all frames. `addition`: the
            spikes of the frame itself are added; light.
        heads: Of the attention; divides `channels`.
        most_tokens: Pixels are taken to the attention in chunks of this many tokens (of frames and spikes together).
        checkpointing: Whether each chunk is computed again in the backward pass instead of being kept.

    Shapes: features `(B, D, H, W, C)` and voxels `(B, D, bins, h, w)` to `(B, D, H, W, C)`.

    Example:
        >>> branch = SpikeBranch(8, contract=SpikeContract(bins=4, scale=Fraction(2)), heads=2)
        >>> branch(torch.zeros(1, 3, 16, 24, 8), torch.zeros(1, 3, 4, 8, 12)).shape
        torch.Size([1, 3, 16, 24, 8])
    """

    def __init__(
        self,
        channels: int,
        *,
        contract: SpikeContract | None = None,
        fusion: Literal["attention", "addition"] = "attention",
        heads: int = 4,
        most_tokens: int = 2**18,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if channels % heads:
            raise ContractError(f"spike branch: {channels} channels do not divide into {heads} heads")
        if most_tokens < 1:
            raise ContractError(f"spike branch: most_tokens is {most_tokens}, expected at least 1")
        self.contract = contract or SpikeContract()
        self.most_tokens = most_tokens
        self.checkpointing = checkpointing
        self.encoder = VoxelEncoder(self.contract.bins, channels)
        self.norm = nn.LayerNorm(channels)
        self.attention = TemporalCrossAttention(channels, heads) if fusion == "attention" else None
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def check(self, clip: Tensor, voxels: Tensor) -> None:
        """Refuse voxels that do not belong to a clip; see `SpikeContract.check`."""
        self.contract.check(clip, voxels)

    def forward(self, features: Tensor, voxels: Tensor) -> Tensor:
        """The features with what the spikes add."""
        spikes = self.norm(self._encoded(voxels, (features.shape[2], features.shape[3])))
        seen = spikes if self.attention is None else self._attended(self.attention, features, spikes)
        told: Tensor = self.out(seen)
        return features + told

    def _encoded(self, voxels: Tensor, size: tuple[int, int]) -> Tensor:
        """Features of the voxels at the resolution of the frames, `(B, D, H, W, C)`."""
        encoded: Tensor = self.encoder(voxels.flatten(0, 1).to(self.encoder.first.weight.dtype))
        if encoded.shape[2:] != size:
            smaller = size[0] < encoded.shape[2]
            encoded = F.interpolate(encoded, size=size, mode="bilinear", align_corners=False, antialias=smaller)
        return torch.unflatten(encoded.permute(0, 2, 3, 1), 0, voxels.shape[:2])

    def _attended(self, attention: Callable[[Tensor, Tensor], Tensor], features: Tensor, spikes: Tensor) -> Tensor:
        batch, frames, height, width, _ = features.shape
        step = max(1, self.most_tokens // (2 * batch * frames))
        pixels, seen = features.flatten(2, 3), spikes.flatten(2, 3)
        parts = []
        for start in range(0, height * width, step):
            part = pixels[:, :, start : start + step], seen[:, :, start : start + step]
            if self.checkpointing and self.training:
                parts.append(checkpoint(attention, *part, use_reentrant=False, preserve_rng_state=False))
            else:
                parts.append(attention(*part))
        return torch.unflatten(torch.cat(parts, dim=2), 2, (height, width))


class TemporalCrossAttention(nn.Module):
    """Every pixel of a frame attends to the spikes at its place in all frames.

    Args:
        channels: C.
        heads: Number of heads.

    Shapes: pixels and spikes `(B, D, P, C)` to `(B, D, P, C)`.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)

    def forward(self, pixels: Tensor, spikes: Tensor) -> Tensor:
        """Attend."""
        # Without the time, frames could not be told apart.
        time = _times(pixels.shape[1], pixels.shape[3], pixels).unsqueeze(1)
        query = self._heads(self.query(self.norm(pixels) + time))
        key, value = (self._heads(part) for part in self.key_value(spikes + time).chunk(2, dim=3))
        attended = F.scaled_dot_product_attention(query, key, value)
        return attended.permute(0, 3, 1, 2, 4).flatten(3)

    def _heads(self, tokens: Tensor) -> Tensor:
        """`(B, D, P, C)` to `(B, P, heads, D, C / heads)`."""
        return torch.unflatten(tokens, 3, (self.heads, -1)).permute(0, 2, 3, 1, 4)


def _times(frames: int, channels: int, like: Tensor) -> Tensor:
    """Sines and cosines of the number of the frame, `(D, C)`."""
    places = torch.arange(frames, device=like.device, dtype=torch.float32).unsqueeze(1)
    wavelength = torch.exp(
        torch.arange(0, channels, 2, device=like.device, dtype=torch.float32) * (-math.log(10000.0) / channels)
    )
    angle = places * wavelength
    return torch.stack((angle.sin(), angle.cos()), dim=2).flatten(1)[:, :channels].to(like.dtype)
