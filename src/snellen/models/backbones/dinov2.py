"""DINOv2 as published: timm's layers, the official key names, position resizing, masks and intermediate layers.

Source: facebookresearch/dinov2 (Oquab et al., arXiv:2304.07193; registers: Darcet et al., arXiv:2309.16588).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from timm.layers.mlp import SwiGLUPacked
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from snellen.models.backbones.positions import DINOV2_PLAIN, DINOV2_REGISTERS, Interpolation, use_interpolation
from snellen.models.weights.loading import LoadReport, load_into

__all__ = ["Dinov2", "Tokens", "dinov2", "renamed_from_official"]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Normalised tokens of the last block.

    Args:
        cls: Class token, shape `(B, C)`.
        registers: Shape `(B, R, C)`, R being 0 without registers.
        patches: Shape `(B, H * W, C)`, row by row.
        grid: `(H, W)`.
    """

    cls: Tensor
    registers: Tensor
    patches: Tensor
    grid: tuple[int, int]


class Dinov2(nn.Module):
    """A DINOv2 backbone.

    Args:
        network: timm's vision transformer, made with `dynamic_img_size=True`.
        interpolation: How its positions are resized.

    Input shape: `(B, 3, H, W)`, normalised, both sides multiples of the patch size.

    Output shape: `(B, C)`, the normalised class token.
    """

    def __init__(self, network: VisionTransformer, interpolation: Interpolation) -> None:
        super().__init__()
        use_interpolation(network, interpolation)
        self.network: Any = network
        self.mask_token = nn.Parameter(torch.zeros(1, network.embed_dim))

    def forward(self, images: Tensor) -> Tensor:
        """The class token, which is what DINOv2 is evaluated with."""
        return self.tokens(images).cls

    def tokens(self, images: Tensor, masks: Tensor | None = None) -> Tokens:
        """All tokens of the last block.

        Args:
            images: Shape `(B, 3, H, W)`.
            masks: Bool, shape `(B, patches)`: these patches are replaced by the mask token.
        """
        tokens, grid = self._embed(images, masks)
        for block in self.network.blocks:
            tokens = block(tokens)
        prefix = self.network.num_prefix_tokens
        tokens = self.network.norm(tokens)
        return Tokens(tokens[:, 0], tokens[:, 1:prefix], tokens[:, prefix:], grid)

    def intermediate_layers(
        self, images: Tensor, layers: int | Sequence[int] = 1, *, normalised: bool = True
    ) -> list[Tokens]:
        """Tokens after some blocks, in ascending order.

        Args:
            images: Shape `(B, 3, H, W)`.
            layers: That many of the last blocks, or their indices.
            normalised: Whether the final norm is applied to each.
        """
        depth = len(self.network.blocks)
        wanted = range(depth - layers, depth) if isinstance(layers, int) else layers
        tokens, grid = self._embed(images, None)
        prefix = self.network.num_prefix_tokens
        taken = []
        for index, block in enumerate(self.network.blocks):
            tokens = block(tokens)
            if index in wanted:
                given = self.network.norm(tokens) if normalised else tokens
                taken.append(Tokens(given[:, 0], given[:, 1:prefix], given[:, prefix:], grid))
        return taken

    def load_official(self, state: Mapping[str, Tensor], *, source: str) -> LoadReport:
        """Load weights under the names of the official release.

        Raises:
            WeightsError: They are of another architecture, or would leave a part at random.
        """
        renamed = {f"network.{name}": value for name, value in renamed_from_official(state, self.network).items()}
        if "mask_token" in state:
            renamed["mask_token"] = state["mask_token"]
        return load_into(self, renamed, source=source)

    def _embed(self, images: Tensor, masks: Tensor | None) -> tuple[Tensor, tuple[int, int]]:
        patches = self.network.patch_embed(images)
        grid = (int(patches.shape[1]), int(patches.shape[2]))
        if masks is not None:
            hidden = masks.view(len(images), *grid, 1)
            patches = torch.where(hidden, self.mask_token.to(patches.dtype), patches)
        return self.network.norm_pre(self.network._pos_embed(patches)), grid


def dinov2(
    *,
    image_size: int = 518,
    patch_size: int = 14,
    width: int = 384,
    depth: int = 12,
    heads: int = 6,
    feed_forward: Literal["mlp", "swiglu"] = "mlp",
    registers: int = 0,
    interpolation: Interpolation | None = None,
) -> Dinov2:
    """A DINOv2 network of any size, with random weights.

    Args:
        image_size: Side that its position embeddings are made for.
        patch_size: Side of a patch in pixels.
        width: Channels of a token.
        depth: Number of blocks.
        heads: Attention heads of a block.
        feed_forward: Kind of the feed-forward layer; DINOv2 giant has `swiglu`.
        registers: Number of register tokens.
        interpolation: As published for networks with or without registers, unless given.

    Example:
        >>> network = dinov2(image_size=28, width=12, depth=1, heads=2, registers=4)
        >>> network(torch.zeros(1, 3, 28, 56)).shape
        torch.Size([1, 12])
    """
    options: dict[str, Any] = {}
    if feed_forward == "swiglu":
        # Two thirds of four times the width, up to a multiple of 8, and twice that for value and gate in one layer.
        hidden = (int(width * 4 * 2 / 3) + 7) // 8 * 8
        options = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU, "mlp_ratio": 2 * hidden / width}
    network = VisionTransformer(
        img_size=image_size,
        patch_size=patch_size,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        init_values=1.0,
        num_classes=0,
        reg_tokens=registers,
        no_embed_class=registers > 0,
        dynamic_img_size=True,
        **options,
    )
    return Dinov2(network, interpolation or (DINOV2_REGISTERS if registers else DINOV2_PLAIN))


def renamed_from_official(state: Mapping[str, Tensor], network: VisionTransformer) -> dict[str, Tensor]:
    """Official names and layouts turned into those of timm's vision transformer."""
    renamed: dict[str, Tensor] = checkpoint_filter_fn(dict(state), network)
    return renamed
