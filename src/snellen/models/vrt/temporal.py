"""Temporal mutual self-attention: the blocks and groups that a VRT is built of.

Videos are `(B, D, H, W, C)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from snellen.models.vrt.attention import Size, WindowAttention, Windows, from_windows, shift_masks, to_windows

__all__ = ["Checkpointing", "GatedFeedForward", "MutualBlock", "MutualGroup", "ResidualGroup", "survival"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpointing:
    """Which parts are computed again in the backward pass instead of being kept.

    Args:
        attention: The attention of a block with its norm.
        feed_forward: The feed-forward layer of a block with its norm.
        flow: The flow network, scale by scale; of use only while it is trained.
    """

    attention: bool = False
    feed_forward: bool = False
    flow: bool = False


class GatedFeedForward(nn.Module):
    """Feed-forward layer with a gate: `(..., C)` to `(..., made)`.

    Args:
        channels: C.
        hidden: Channels inside.
        made: Channels of the output.

    Source: GEGLU of Shazeer, GLU Variants Improve Transformer, arXiv:2002.05202.
    """

    def __init__(self, channels: int, hidden: int, made: int) -> None:
        super().__init__()
        self.fc11 = nn.Linear(channels, hidden)
        self.fc12 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, made)

    def forward(self, x: Tensor) -> Tensor:
        """Gate and project."""
        gated = nn.functional.gelu(self.fc11(x)) * self.fc12(x)
        made: Tensor = self.fc2(gated)
        return made


class MutualBlock(nn.Module):
    """Attention in windows, then a feed-forward layer, both added to what came in.

    Args:
        channels: C.
        heads: Heads of the attention.
        window: The largest window.
        shift: How far the windows are moved.
        mutual: Whether the two frames of a window also attend to each other; `window` has two frames then.
        checkpointing: What is computed again in the backward pass.

    Shapes: `(B, D, H, W, C)` in and out.
    """

    def __init__(
        self, channels: int, heads: int, window: Size, shift: Size, *, mutual: bool, checkpointing: Checkpointing
    ) -> None:
        super().__init__()
        self.window = window
        self.shift = shift
        self.checkpointing = checkpointing
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, window, heads, mutual=mutual)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = GatedFeedForward(channels, 2 * channels, channels)

    def forward(self, video: Tensor, keep: Tensor | None = None) -> Tensor:
        """Both halves.

        Args:
            video: Shape `(B, D, H, W, C)`.
            keep: Factors of the two branches for each video, shape `(2, B)`; see `survival`.
        """
        attended = _again(self._attend, video, self.checkpointing.attention and self.training)
        video = video + _scaled(attended, keep, 0)
        fed = _again(self._feed_forward, video, self.checkpointing.feed_forward and self.training)
        return video + _scaled(fed, keep, 1)

    def _attend(self, video: Tensor) -> Tensor:
        size = (video.shape[1], video.shape[2], video.shape[3])
        windows = Windows.fit(size, self.window, self.shift)
        masks = kinds = None
        if windows.shifted:
            masks = shift_masks(windows.size, windows.shift, device=video.device)
            kinds = windows.kinds(video.device)
        attended = self.attn(to_windows(self.norm1(video), windows), masks, kinds)
        return from_windows(attended, windows, size)

    def _feed_forward(self, video: Tensor) -> Tensor:
        fed: Tensor = self.mlp(self.norm2(video))
        return fed


class MutualGroup(nn.Module):
    """Blocks whose windows are moved by half a window in every other one.

    Args:
        channels: C.
        depth: Number of blocks.
        heads: Heads of the attention.
        window: The largest window.
        mutual: See `MutualBlock`.
        checkpointing: What is computed again in the backward pass.

    Shapes: `(B, D, H, W, C)` in and out.
    """

    def __init__(
        self, channels: int, depth: int, heads: int, window: Size, *, mutual: bool, checkpointing: Checkpointing
    ) -> None:
        super().__init__()
        half = (window[0] // 2, window[1] // 2, window[2] // 2)
        self.blocks = nn.ModuleList(
            MutualBlock(
                channels, heads, window, half if index % 2 else (0, 0, 0), mutual=mutual, checkpointing=checkpointing
            )
            for index in range(depth)
        )

    def forward(self, video: Tensor, keep: Tensor | None = None) -> Tensor:
        """All blocks; `keep` is `(depth, 2, B)`."""
        for index, block in enumerate(self.blocks):
            video = block(video, None if keep is None else keep[index])
        return video


class ResidualGroup(nn.Module):
    """A group without mutual attention and a linear layer, added to what came in.

    Args:
        channels: C.
        depth: Number of blocks.
        heads: Heads of the attention.
        window: The largest window.
        checkpointing: What is computed again in the backward pass.

    Shapes: `(B, D, H, W, C)` in and out.
    """

    def __init__(self, channels: int, depth: int, heads: int, window: Size, *, checkpointing: Checkpointing) -> None:
        super().__init__()
        self.residual_group = MutualGroup(channels, depth, heads, window, mutual=False, checkpointing=checkpointing)
        self.linear = nn.Linear(channels, channels)

    def forward(self, video: Tensor, keep: Tensor | None = None) -> Tensor:
        """The group; `keep` is `(depth, 2, B)`."""
        made: Tensor = self.linear(self.residual_group(video, keep))
        return video + made


def survival(rate: float, blocks: int, batch: int, device: torch.device) -> Tensor:
    """Draw which branches of which blocks are left out for which videos (stochastic depth).

    Everything is drawn in one go before the first block: nothing branches on a value, and a checkpointed part has no
    random numbers to draw again.

    Args:
        rate: Probability of the last block; it rises from 0 at the first.
        blocks: Number of blocks.
        batch: B.
        device: Where the video is.

    Returns:
        Shape `(blocks, 2, B)`: 0 for a branch that is left out, else the factor that keeps the mean.

    Source: Huang et al., Deep Networks with Stochastic Depth, arXiv:1603.09382.

    Example:
        >>> survival(0.0, blocks=2, batch=1, device=torch.device("cpu")).flatten().tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    survives = 1.0 - torch.linspace(0.0, rate, blocks, device=device).view(-1, 1, 1)
    return (torch.rand(blocks, 2, batch, device=device) < survives) / survives


def _scaled(branch: Tensor, keep: Tensor | None, half: int) -> Tensor:
    if keep is None:
        return branch
    return branch * keep[half].to(branch.dtype).view(-1, 1, 1, 1, 1)


def _again(part: Callable[[Tensor], Tensor], video: Tensor, checkpointed: bool) -> Tensor:
    if not checkpointed:
        return part(video)
    # No random numbers inside, so there is no state of a generator to keep.
    made: Tensor = checkpoint(part, video, use_reentrant=False, preserve_rng_state=False)
    return made
