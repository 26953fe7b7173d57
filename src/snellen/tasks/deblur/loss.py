"""Charbonnier loss on pixels and, where VGG-19's weights are at hand, a distance of its features."""

from __future__ import annotations

from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from snellen.errors import WeightsError
from snellen.models.weights.loading import load_into, read_state_dict

__all__ = ["VGG_MEAN", "VGG_STD", "Perceptual", "charbonnier"]

VGG_MEAN = (0.485, 0.456, 0.406)
VGG_STD = (0.229, 0.224, 0.225)
_RELU3_3 = 16
"""Layers of `features` up to and with relu3_3."""


def charbonnier(made: Tensor, sharp: Tensor, *, delta: float = 1e-3) -> Tensor:
    """Mean of `sqrt(error ** 2 + delta ** 2)`: as the absolute error, with a slope that is finite at 0.

    Args:
        made: Any shape.
        sharp: The same shape.
        delta: Above 0. In float32 its square must not be lost beside 1: 1e-3 is not.

    Source: Charbonnier et al., Two deterministic half-quadratic regularization algorithms, ICIP 1994.

    Example:
        >>> round(charbonnier(torch.zeros(2), torch.zeros(2)).item(), 6)
        0.001
    """
    error = made.float() - sharp.float()
    return torch.sqrt(error * error + delta * delta).mean()


class Perceptual(nn.Module):
    """Mean absolute difference of VGG-19 features at relu3_3; never trained, never saved.

    Args:
        weights: torchvision's VGG-19, whole or its `features` alone; `None` fetches it.

    Input shapes: `(B, T, 3, H, W)` twice, RGB in 0 to 1; they are clamped to that range and normalised as VGG-19 was
    trained. Output shape: scalar.

    Source: Johnson et al., Perceptual losses for real-time style transfer and super-resolution, arXiv:1603.08155.

    Raises:
        WeightsError: They cannot be read or fetched, or are of another network.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: Path | None) -> None:
        super().__init__()
        features = torchvision.models.vgg19(weights=None).features[:_RELU3_3]
        load_into(features, _features_of(weights), source=str(weights or "torchvision's VGG-19"))
        # In place, a layer would overwrite what the one before gave; nothing here needs it twice.
        self.features = features.eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor(VGG_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(VGG_STD).view(1, 3, 1, 1))

    def forward(self, made: Tensor, sharp: Tensor) -> Tensor:
        """The distance."""
        with torch.no_grad():
            wanted = self._seen(sharp)
        return (self._seen(made) - wanted).abs().mean()

    def _seen(self, video: Tensor) -> Tensor:
        frames = video.float().flatten(0, 1).clamp(0, 1)
        seen: Tensor = self.features((frames - self.mean) / self.std)
        return seen


def _features_of(weights: Path | None) -> dict[str, Tensor]:
    if weights is None:
        try:
            state = torchvision.models.VGG19_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True)
        except Exception as error:  # whatever the network between here and the server leads to
            raise WeightsError(
                f"torchvision's VGG-19 cannot be fetched: {error}",
                hint="give a local file: loss.perceptual.weights; or loss.perceptual.weight: 0",
                slug="hub-offline",
            ) from error
    else:
        state = read_state_dict(weights)
    found = {name.removeprefix("features."): one for name, one in state.items() if not name.startswith("classifier")}
    return {name: one for name, one in found.items() if int(name.split(".")[0]) < _RELU3_3}
