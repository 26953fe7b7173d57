"""Embeddings without learned weights: the baselines that a network has to beat, and what works with no download."""

from __future__ import annotations

import math
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snellen.models.backbones.preprocessing import Preprocessing

__all__ = ["CLASSICAL", "ColourHistogram", "OrientedGradients", "RawPixels", "ShapeAndColour"]

_SIDE = 64
_PLAIN: Final = Preprocessing(
    resize=(_SIDE, _SIDE), crop=None, interpolation="bilinear", mean=(0.0,) * 3, std=(1.0,) * 3, source="by definition"
)


class RawPixels(nn.Module):
    """A small copy of the picture, centred: nearest neighbours of it are the oldest baseline.

    Args:
        side: Side of the copy.
    """

    def __init__(self, side: int = 16) -> None:
        super().__init__()
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        """Shape `(B, 3, H, W)`, values 0 to 1, to `(B, 3 * side * side)`."""
        small = F.adaptive_avg_pool2d(images, self.side).flatten(1)
        return small - small.mean(dim=1, keepdim=True)


class ColourHistogram(nn.Module):
    """A joint histogram of the colours, square root taken so that the dot product is Bhattacharyya's coefficient.

    Args:
        bins: Bins for each channel.
    """

    def __init__(self, bins: int = 6) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, images: Tensor) -> Tensor:
        """Shape `(B, 3, H, W)`, values 0 to 1, to `(B, bins ** 3)`."""
        level = (images * self.bins).long().clamp_(0, self.bins - 1)
        index = (level[:, 0] * self.bins + level[:, 1]) * self.bins + level[:, 2]
        counts = images.new_zeros(len(images), self.bins**3)
        counts.scatter_add_(1, index.flatten(1), torch.ones_like(index.flatten(1), dtype=images.dtype))
        return (counts / index[0].numel()).sqrt()


class OrientedGradients(nn.Module):
    """Histograms of oriented gradients (Dalal and Triggs, 2005) at two scales, with a small colour copy beside them.

    Args:
        orientations: Bins of the unsigned angle.
    """

    def __init__(self, orientations: int = 9) -> None:
        super().__init__()
        self.orientations = orientations

    def forward(self, images: Tensor) -> Tensor:
        """Shape `(B, 3, H, W)`, values 0 to 1, to `(B, D)`; each part has length 1."""
        grey = images.mean(dim=1, keepdim=True)
        kernel = images.new_tensor([-0.5, 0.0, 0.5])
        padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")
        across = F.conv2d(padded[:, :, 1:-1], kernel.view(1, 1, 1, 3))
        down = F.conv2d(padded[:, :, :, 1:-1], kernel.view(1, 1, 3, 1))
        strength = torch.sqrt(across**2 + down**2 + 1e-12)
        angle = torch.remainder(torch.atan2(down, across), math.pi) / math.pi * self.orientations
        low = angle.floor()
        share = angle - low
        first = low.long().remainder(self.orientations)
        votes = F.one_hot(first, self.orientations) * (1 - share).unsqueeze(-1)
        votes = votes + F.one_hot((first + 1) % self.orientations, self.orientations) * share.unsqueeze(-1)
        planes = (votes * strength.unsqueeze(-1)).squeeze(1).permute(0, 3, 1, 2)
        parts = []
        for cells in (8, 4):
            histogram = F.adaptive_avg_pool2d(planes, cells)
            histogram = histogram / (histogram.norm(dim=1, keepdim=True) + 0.02)
            parts.append(F.normalize(histogram.flatten(1), dim=1))
        colour = F.adaptive_avg_pool2d(images, 4)
        colour = colour - colour.mean(dim=(2, 3), keepdim=True)
        parts.append(0.5 * F.normalize(colour.flatten(1), dim=1, eps=1e-3))
        return torch.cat(parts, dim=1)


class ShapeAndColour(nn.Module):
    """Oriented gradients beside a joint histogram of the colours, both of the same weight.

    Microscopy and products are told apart by colour as much as by shape, drawings by shape alone; then the histograms
    are nearly the same and change nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shape = OrientedGradients()
        self.colour = ColourHistogram()

    def forward(self, images: Tensor) -> Tensor:
        """Shape `(B, 3, H, W)`, values 0 to 1, to `(B, D)`; each half has length 1."""
        return torch.cat([F.normalize(part(images), dim=1) for part in (self.shape, self.colour)], dim=1)


CLASSICAL: Final = {
    "pixels": (RawPixels, _PLAIN),
    "colour-histogram": (ColourHistogram, _PLAIN),
    "hog": (OrientedGradients, _PLAIN),
    "hog-colour": (ShapeAndColour, _PLAIN),
}
"""Name to network and preprocessing."""
