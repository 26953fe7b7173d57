"""Backbones for tests: small ones of torch, and some with faults."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.models.backbones.embedders import Embedder
from snellen.models.backbones.preprocessing import Preprocessing
from snellen.models.contract import Contract

__all__ = ["Means", "embedder_of"]

SQUARE = Preprocessing(resize=(16, 16), crop=None, mean=(0.0,) * 3, std=(1.0,) * 3)


class Means(nn.Module):
    """The mean of each channel.

    Args:
        most: Images from which on memory runs out.
        poison: Mean of red, rounded to two digits, whose image gets NaN.
        message: Raise this instead of `torch.OutOfMemoryError`.
    """

    def __init__(self, *, most: int | None = None, poison: float | None = None, message: str = "") -> None:
        super().__init__()
        self.most, self.poison, self.message = most, poison, message
        self.batches: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(tuple(images.shape))
        if self.most is not None and len(images) > self.most:
            raise RuntimeError(self.message) if self.message else torch.OutOfMemoryError("CUDA out of memory.")
        means = images.mean(dim=(2, 3))
        if self.poison is not None:
            means[(means[:, 0] - self.poison).abs() < 0.005] = float("nan")
        return means


def embedder_of(network: nn.Module, preprocessing: Preprocessing = SQUARE, *, fingerprint: str = "0123") -> Embedder:
    """An embedder that gives three numbers for an image."""
    return Embedder("means", network.eval(), preprocessing, 3, Contract(part="means"), fingerprint)
