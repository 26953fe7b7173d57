"""Position embeddings of vision transformers on another grid, computed as DINOv2 computes them.

timm resizes them with antialiasing to the exact grid. DINOv2 without registers was published with neither, and with an
offset of 0.1 in the scale; with its weights and timm's resizing, features of any input but the one trained on differ.
"""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["DINOV2_PLAIN", "DINOV2_REGISTERS", "Interpolation", "interpolate_positions", "use_interpolation"]


@dataclass(frozen=True, slots=True)
class Interpolation:
    """How a grid of position embeddings is resized, always bicubic.

    Args:
        offset: Added to the wanted sides before the scale is computed; 0 resizes to the exact sides.
        antialias: Whether to filter when the grid gets smaller.
    """

    offset: float = 0.0
    antialias: bool = True


DINOV2_PLAIN: Final = Interpolation(offset=0.1, antialias=False)
"""As the weights without registers were published (facebookresearch/dinov2, `hub/backbones.py`)."""
DINOV2_REGISTERS: Final = Interpolation(offset=0.0, antialias=True)
"""As the weights with registers were published."""


def interpolate_positions(patches: Tensor, grid: tuple[int, int], how: Interpolation) -> Tensor:
    """Resize position embeddings of patches.

    Args:
        patches: Shape `(1, N * N, C)`, row by row.
        grid: `(rows, columns)` that are wanted.
        how: The resizing.

    Returns:
        Shape `(1, rows * columns, C)`, in the dtype of `patches`; computed in float32.

    Example:
        >>> interpolate_positions(torch.zeros(1, 16, 8), (2, 6), DINOV2_PLAIN).shape
        torch.Size([1, 12, 8])
    """
    side = round(patches.shape[1] ** 0.5)
    if grid == (side, side):
        return patches
    table = patches.float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    if how.offset:
        scale = tuple((wanted + how.offset) / side for wanted in grid)
        table = F.interpolate(table, scale_factor=scale, mode="bicubic", antialias=how.antialias)
    else:
        table = F.interpolate(table, size=grid, mode="bicubic", antialias=how.antialias)
    return table.flatten(2).transpose(1, 2).to(patches.dtype)


def use_interpolation(network: Any, how: Interpolation) -> None:
    """Let one timm vision transformer resize its positions in another way than timm's.

    Args:
        network: A `timm.models.vision_transformer.VisionTransformer` made with `dynamic_img_size=True`; changed in
            place.
        how: The resizing.
    """
    network.position_interpolation = how
    network._pos_embed = types.MethodType(_embed, network)


def _embed(network: Any, tokens: Tensor) -> Tensor:
    """What `VisionTransformer._pos_embed` does, with the network's own resizing.

    Args:
        network: The network.
        tokens: Shape `(B, rows, columns, C)`.
    """
    batch, rows, columns, width = tokens.shape
    prefix = 0 if network.no_embed_class else network.num_prefix_tokens
    table = network.pos_embed
    positions = interpolate_positions(table[:, prefix:], (rows, columns), network.position_interpolation)
    extra = [token for token in (network.cls_token, network.reg_token) if token is not None]
    front = [token.expand(batch, -1, -1) for token in extra]
    if prefix:
        front = [torch.cat(front, dim=1) + table[:, :prefix]]
    patches = tokens.reshape(batch, -1, width) + positions
    result: Tensor = network.pos_drop(torch.cat([*front, patches], dim=1))
    return result
