"""SpyNet: optical flow from coarse to fine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from snellen.errors import ContractError
from snellen.ops.warping import warp

__all__ = ["SpyNet"]

_LEVELS = 6
_MULTIPLE = 2 ** (_LEVELS - 1)


class SpyNet(nn.Module):
    """Flow between two images, refined at six scales.

    Args:
        return_levels: Scales whose flow is returned; 5 is the full size, 4 half of it, down to 0.
        checkpointing: Whether each scale is computed again in the backward pass instead of being kept.

    Shapes: reference and other `(B, 3, H, W)`, RGB of values 0 to 1; every flow `(B, 2, H // s, W // s)`, in pixels of
    its own size, x first. Where the other image is sampled at the flow, it looks like the reference.

    Source: Ranjan and Black, Optical Flow Estimation using a Spatial Pyramid Network, arXiv:1611.00850.

    Example:
        >>> network = SpyNet(return_levels=(4, 5))
        >>> [tuple(flow.shape) for flow in network(torch.zeros(1, 3, 40, 48), torch.zeros(1, 3, 40, 48))]
        [(1, 2, 40, 48), (1, 2, 20, 24)]
    """

    mean: Tensor
    std: Tensor

    def __init__(self, return_levels: Sequence[int] = (5,), *, checkpointing: bool = False) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        unknown = sorted(set(return_levels) - set(range(_LEVELS)))
        if unknown or not return_levels:
            raise ContractError(f"return_levels is {list(return_levels)}, expected some of 0 to {_LEVELS - 1}")
        self.return_levels = tuple(sorted(return_levels, reverse=True))
        self.basic_module = nn.ModuleList(_Refinement() for _ in range(_LEVELS))
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, reference: Tensor, other: Tensor) -> list[Tensor]:
        """Flows from the finest of the wanted levels to the coarsest."""
        height, width = reference.shape[-2:]
        size = [math.ceil(side / _MULTIPLE) * _MULTIPLE for side in (height, width)]
        references, others = self._pyramid(reference, size), self._pyramid(other, size)

        flow = references[0].new_zeros(len(reference), 2, *references[0].shape[-2:])
        found: dict[int, Tensor] = {}
        for level, module in enumerate(self.basic_module):
            if level > 0:
                flow = 2.0 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)
            given = (module, references[level], others[level], flow)
            if self.checkpointing and self.training:
                flow = checkpoint(_refined, *given, use_reentrant=False, preserve_rng_state=False)
            else:
                flow = _refined(*given)
            if level in self.return_levels:
                step = 2 ** (_LEVELS - 1 - level)
                found[level] = _resized(flow, (height // step, width // step), (size[0] // step, size[1] // step))
        return [found[level] for level in self.return_levels]

    def _pyramid(self, image: Tensor, size: list[int]) -> list[Tensor]:
        """The normalised image at all scales, the coarsest first."""
        image = F.interpolate((image - self.mean) / self.std, size=size, mode="bilinear", align_corners=False)
        images = [image]
        for _ in range(_LEVELS - 1):
            images.append(F.avg_pool2d(images[-1], kernel_size=2, stride=2))
        return images[::-1]


class _Refinement(nn.Module):
    """What to add to a flow: `(B, 8, h, w)`, reference, moved image and flow, to `(B, 2, h, w)`."""

    def __init__(self) -> None:
        super().__init__()
        widths = (8, 32, 64, 32, 16, 2)
        layers: list[nn.Module] = []
        for given, made in pairwise(widths):
            layers += [nn.Conv2d(given, made, kernel_size=7, padding=3), nn.ReLU()]
        self.basic_module = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Refine."""
        moved: Tensor = self.basic_module(x)
        return moved


def _refined(module: nn.Module, reference: Tensor, other: Tensor, flow: Tensor) -> Tensor:
    """The flow of one scale, from that of the scale before at this size."""
    moved = warp(other, flow, outside="border")
    refined: Tensor = flow + module(torch.cat((reference, moved, flow), dim=1))
    return refined


def _resized(flow: Tensor, size: tuple[int, int], made_for: tuple[int, int]) -> Tensor:
    """The flow at another size, its vectors stretched with it."""
    flow = F.interpolate(flow, size=size, mode="bilinear", align_corners=False)
    across, down = size[1] / made_for[1], size[0] / made_for[0]
    return torch.stack((flow[:, 0] * across, flow[:, 1] * down), dim=1)
