"""A stage of a VRT: change of resolution, mutual and self-attention, alignment of the neighbours."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from snellen.models.vrt.alignment import AlignmentSettings, FlowGuidedAlignment, aligned_features
from snellen.models.vrt.attention import Size
from snellen.models.vrt.temporal import Checkpointing, GatedFeedForward, MutualGroup

__all__ = ["FrameConv", "Stage", "Upsample"]

Resolution = Literal["none", "down", "up"]


class FrameConv(nn.Module):
    """Convolution of every frame by itself.

    Its weight has the five axes of the published names, `(made, C, 1, k, k)`, but the convolution is a flat one: frames
    go through it as a batch, which tokens with their channels last are already laid out for.

    Args:
        channels: C.
        made: Channels of the output.
        kernel: Side of the kernel, odd.

    Shapes: `(B, D, H, W, C)` to `(B, D, H, W, made)`.
    """

    def __init__(self, channels: int, made: int, kernel: int = 3) -> None:
        super().__init__()
        flat = nn.Conv2d(channels, made, kernel)
        weight, bias = (start.detach() for start in flat.parameters())
        self.weight = nn.Parameter(weight.unsqueeze(2))
        self.bias = nn.Parameter(bias)

    def forward(self, video: Tensor) -> Tensor:
        """Convolve."""
        frames = video.flatten(0, 1).permute(0, 3, 1, 2)
        made = nn.functional.conv2d(frames, self.weight.squeeze(2), self.bias, padding="same")
        return torch.unflatten(made.permute(0, 2, 3, 1), 0, video.shape[:2])


class Upsample(nn.Module):
    """Twice the resolution as often as needed, then one more convolution.

    Args:
        scale: A power of two.
        channels: C.

    Shapes: `(B, D, H, W, C)` to `(B, D, scale * H, scale * W, C)`.
    """

    def __init__(self, scale: int, channels: int) -> None:
        super().__init__()
        doublings = scale.bit_length() - 1
        # In the published names a convolution stands at every fifth place.
        for index in range(doublings):
            self.add_module(str(5 * index), FrameConv(channels, 4 * channels))
        self.add_module(str(5 * doublings), FrameConv(channels, channels))

    def forward(self, video: Tensor) -> Tensor:
        """Enlarge."""
        *doubling, last = self.children()
        for convolution in doubling:
            frames = convolution(video).flatten(0, 1).permute(0, 3, 1, 2)
            larger = nn.functional.leaky_relu(nn.functional.pixel_shuffle(frames, 2), 0.1)
            video = torch.unflatten(larger.permute(0, 2, 3, 1), 0, video.shape[:2])
        made: Tensor = last(video)
        return made


class Stage(nn.Module):
    """One scale of the network.

    Args:
        channels: Of the input.
        made: C, of the output.
        depths: Number of blocks with mutual attention between pairs of frames, and of those that follow, which attend
            to the whole window only.
        heads: Heads of the attention.
        window: Of the blocks without mutual attention.
        resolution: `down` halves height and width, `up` doubles them.
        alignment: How neighbours are aligned, in pixels of this scale; `None` for no alignment.
        checkpointing: What is computed again in the backward pass.

    Shapes: `(B, D, H, W, channels)` to `(B, D, h, w, C)`.
    """

    def __init__(
        self,
        channels: int,
        made: int,
        *,
        depths: tuple[int, int],
        heads: int,
        window: Size,
        resolution: Resolution,
        alignment: AlignmentSettings | None,
        checkpointing: Checkpointing,
    ) -> None:
        super().__init__()
        self.resolution = resolution
        self.reshape = _projection(channels, made, resolution)
        mutual = (2, *window[1:])
        self.residual_group1 = MutualGroup(made, depths[0], heads, mutual, mutual=True, checkpointing=checkpointing)
        self.linear1 = nn.Linear(made, made)
        self.residual_group2 = MutualGroup(made, depths[1], heads, window, mutual=False, checkpointing=checkpointing)
        self.linear2 = nn.Linear(made, made)
        self.mutual_depth = depths[0]
        self.pa_deform: FlowGuidedAlignment | None = None
        if alignment is not None:
            self.pa_deform = FlowGuidedAlignment(made, alignment)
            self.pa_fuse = GatedFeedForward(3 * made, 3 * made, made)

    def forward(
        self, video: Tensor, backward: Sequence[Tensor] = (), forward: Sequence[Tensor] = (), keep: Tensor | None = None
    ) -> Tensor:
        """Run the stage.

        Args:
            video: Shape `(B, D, H, W, channels)`.
            backward: Flows of this scale by number of steps, `(B, D - steps, 2, h, w)` each.
            forward: The same the other way.
            keep: Factors of the branches, `(depth, 2, B)`.
        """
        video = self.rescale(video)
        first, second = (None, None) if keep is None else (keep[: self.mutual_depth], keep[self.mutual_depth :])
        video = video + self.linear1(self.residual_group1(video, first))
        video = video + self.linear2(self.residual_group2(video, second))
        if self.pa_deform is None:
            return video
        following, preceding = aligned_features(video.permute(0, 1, 4, 2, 3), backward, forward, self.pa_deform)
        aligned = torch.cat((video, following.permute(0, 1, 3, 4, 2), preceding.permute(0, 1, 3, 4, 2)), dim=4)
        fused: Tensor = self.pa_fuse(aligned)
        return fused

    def rescale(self, video: Tensor) -> Tensor:
        """The change of resolution alone."""
        if self.resolution == "down":
            # (B, D, h, 2, w, 2, C): a pixel's channels run by column, row, channel of the four that it takes up.
            quartered = torch.unflatten(torch.unflatten(video, 3, (-1, 2)), 2, (-1, 2))
            video = quartered.permute(0, 1, 2, 4, 5, 3, 6).flatten(4)
        elif self.resolution == "up":
            split = torch.unflatten(video, 4, (2, 2, -1))
            video = split.permute(0, 1, 2, 5, 3, 4, 6).flatten(4, 5).flatten(2, 3)
        changed: Tensor = self.reshape(video)
        return changed


def _projection(channels: int, made: int, resolution: Resolution) -> nn.Sequential:
    """Norm and, where the number of channels changes, a linear layer; named as published."""
    taken = {"none": channels, "down": 4 * channels, "up": channels // 4}[resolution]
    layers: list[tuple[str, nn.Module]] = [("1", nn.LayerNorm(taken))]
    if resolution != "none":
        layers.append(("2", nn.Linear(taken, made)))
    return nn.Sequential(OrderedDict(layers))
