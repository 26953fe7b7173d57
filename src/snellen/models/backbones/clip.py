"""CLIP's image tower as published: timm's layers, the official key names, the activation of the official weights.

Source: openai/CLIP (Radford et al., arXiv:2103.00020).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from timm.layers.activations import QuickGELU
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

__all__ = ["clip_visual", "renamed_from_official"]

_PREFIX = "visual."


def clip_visual(
    *,
    image_size: int = 224,
    patch_size: int = 32,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    output: int = 512,
) -> VisionTransformer:
    """An image tower of CLIP with random weights.

    Its activation is `x * sigmoid(1.702 x)`, which the released weights need: with the exact GELU they load just as
    well and give other features.

    Args:
        image_size: Side of the square input.
        patch_size: Side of a patch in pixels.
        width: Channels of a token.
        depth: Number of blocks.
        heads: Attention heads of a block.
        output: Length of the embedding.

    Returns:
        Takes `(B, 3, image_size, image_size)`, normalised; gives `(B, output)`, not normalised.

    Example:
        >>> import torch
        >>> clip_visual(image_size=32, width=24, depth=1, heads=2, output=8)(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 8])
    """
    return VisionTransformer(
        img_size=image_size,
        patch_size=patch_size,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        num_classes=output,
        pre_norm=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
        act_layer=QuickGELU,
    )


def renamed_from_official(state: Mapping[str, Tensor], network: VisionTransformer) -> dict[str, Tensor]:
    """Official names, of a whole CLIP or of its image tower alone, turned into those of timm's vision transformer.

    The text side is left out. The released archives hold float16, which is turned into float32 without loss.
    """
    names = set(state)
    if f"{_PREFIX}class_embedding" not in names and "class_embedding" in names:
        state = {f"{_PREFIX}{name}": value for name, value in state.items()}
    visual: dict[str, Any] = {name: value.float() for name, value in state.items() if name.startswith(_PREFIX)}
    renamed: dict[str, Tensor] = checkpoint_filter_fn(visual or dict(state), network)
    return renamed
