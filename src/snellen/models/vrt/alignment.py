"""Flow-guided alignment: neighbouring frames and features brought onto the current frame.

A flow over k steps has shape `(B, D - k, 2, H, W)`. Backward flows lead from frame t to frame t + k, forward flows
from frame t + k back to frame t. Everything here is written for backward flows; forward is the same with time reversed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from snellen.models.vrt.spynet import SpyNet
from snellen.ops.precision import accumulation_dtype, full_precision
from snellen.ops.warping import warp, warp_to_corners

__all__ = [
    "AlignmentSettings",
    "FlowGuidedAlignment",
    "Flows",
    "aligned_features",
    "aligned_frames",
    "compose",
    "estimate_flows",
]

_TAPS = 9


@dataclass(frozen=True, slots=True)
class Flows:
    """All flows of a clip.

    Args:
        backward: For each number of steps, from one, the flows of every level, the finest first; one list after the
            other.
        forward: The same the other way.
        levels: Number of levels.
    """

    backward: tuple[Tensor, ...]
    forward: tuple[Tensor, ...]
    levels: int = 4

    def at(self, level: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Backward and forward flows of a level, by number of steps."""
        return self.backward[level :: self.levels], self.forward[level :: self.levels]


def estimate_flows(network: SpyNet, frames: Tensor, steps: int) -> Flows:
    """Flows between neighbours, and over more steps by composition.

    They are reckoned in float32 under autocast too: a flow decides which pixel is taken.

    Args:
        network: Returns its levels from the finest.
        frames: Shape `(B, D, 3, H, W)`.
        steps: The most steps.
    """
    batch, count = frames.shape[0], frames.shape[1] - 1
    first, second = frames[:, :-1].flatten(0, 1), frames[:, 1:].flatten(0, 1)
    with full_precision(frames.device):
        backward = [torch.unflatten(flow, 0, (batch, count)) for flow in network(first, second)]
        forward = [torch.unflatten(flow, 0, (batch, count)) for flow in network(second, first)]
        return Flows(
            tuple(compose(backward, steps)),
            tuple(flow.flip(1) for flow in compose([flow.flip(1) for flow in forward], steps)),
            levels=len(backward),
        )


def compose(flows: Sequence[Tensor], steps: int) -> list[Tensor]:
    """Flows over up to `steps` steps from those over one: step by step, the last step taken where the others lead.

    Args:
        flows: Over one step, shape `(B, D - 1, 2, h, w)` for each level.
        steps: The most steps.

    Returns:
        All levels for one step, then all for two, and so on; a clip too short for a number of steps has none of its
        flows, `(B, 0, 2, h, w)`.
    """
    composed = list(flows)
    longest = list(flows)
    for step in range(1, steps):
        longest = [_prolonged(long[:, :-1], one[:, step:]) for long, one in zip(longest, flows, strict=True)]
        composed += longest
    return composed


def _prolonged(flow: Tensor, further: Tensor) -> Tensor:
    moved = warp(further.flatten(0, 1), flow.flatten(0, 1))
    return flow + torch.unflatten(moved, 0, flow.shape[:2])


def aligned_frames(frames: Tensor, backward: Tensor, forward: Tensor) -> tuple[Tensor, Tensor]:
    """The next and the previous frame where the flow sees them, by the four pixels around each position.

    Args:
        frames: Shape `(B, D, C, H, W)`.
        backward: Over one step, full size.
        forward: Over one step, full size.

    Returns:
        Two of shape `(B, D, 4 * C, H, W)`; the last frame has no next and the first no previous one: zeros.
    """
    following = _warped(frames[:, 1:], backward, warp_to_corners)
    preceding = _warped(frames[:, :-1], forward, warp_to_corners)
    return F.pad(following, _frames(after=1)), F.pad(preceding, _frames(before=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentSettings:
    """How neighbours are aligned.

    Args:
        neighbours: Number of neighbours to one side, which are aligned at once.
        groups: Groups of channels with offsets of their own.
        largest_offset: In pixels, of what is added to the flow.
    """

    neighbours: int
    groups: int
    largest_offset: float


class FlowGuidedAlignment(nn.Module):
    """Deformable convolution whose sampling positions are the flow and a small learned offset.

    Args:
        channels: C, of the features.
        settings: How far and how many.

    Source: Chan et al., BasicVSR++, arXiv:2104.13371; in VRT section 3.3.
    """

    def __init__(self, channels: int, settings: AlignmentSettings) -> None:
        super().__init__()
        self.largest_offset = settings.largest_offset
        neighbours = settings.neighbours
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.conv_offset = nn.Sequential(
            nn.Conv2d((1 + neighbours) * channels + 2 * neighbours, channels, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(channels, 3 * _TAPS * settings.groups, 3, padding=1),
        )
        bound = 1.0 / math.sqrt(channels * _TAPS)
        nn.init.uniform_(self.weight, -bound, bound)
        # At first the flow alone says where to look.
        for start in self.conv_offset[-1].parameters():
            nn.init.zeros_(start)

    def forward(self, x: Tensor, warped: Sequence[Tensor], current: Tensor, flows: Sequence[Tensor]) -> Tensor:
        """Align.

        Args:
            x: Features of all neighbours, shape `(B, neighbours * C, H, W)`.
            warped: The same moved by the flow, `(B, C, H, W)` each.
            current: Features of the current frame, `(B, C, H, W)`.
            flows: To each neighbour, `(B, 2, H, W)`.

        Returns:
            Shape `(B, C, H, W)`.
        """
        made = self.conv_offset(torch.cat((*warped, current, *flows), dim=1))
        rows_and_columns, modulation = made.tensor_split((2 * made.shape[1] // 3,), dim=1)
        learned = self.largest_offset * torch.tanh(rows_and_columns)
        each = learned.shape[1] // len(flows) // 2
        # Deformable convolutions take the row before the column, flows x before y.
        led = torch.cat([flow.flip(1).repeat(1, each, 1, 1) for flow in flows], dim=1)
        # In one type of enough digits: positions are in pixels, and not every backend has this convolution in bfloat16.
        dtype = accumulation_dtype(x.dtype)
        offsets, modulation = learned.to(dtype) + led.to(dtype), torch.sigmoid(modulation).to(dtype)
        with full_precision(x.device):
            aligned: Tensor = deform_conv2d(
                x.to(dtype), offsets, self.weight.to(dtype), self.bias.to(dtype), padding=1, mask=modulation
            )
        return aligned.to(x.dtype)


def aligned_features(
    features: Tensor, backward: Sequence[Tensor], forward: Sequence[Tensor], align: FlowGuidedAlignment
) -> tuple[Tensor, Tensor]:
    """Features of the frames after and before each frame, brought onto it.

    Args:
        features: Shape `(B, D, C, H, W)`.
        backward: Flows by number of steps, of this size.
        forward: The same the other way.
        align: Takes as many neighbours as there are numbers of steps.

    Returns:
        Two of shape `(B, D, C, H, W)`; where there is no such frame, zeros.
    """
    following = _aligned(features, backward, align)
    preceding = _aligned(features.flip(1), [flow.flip(1) for flow in forward], align).flip(1)
    return following, preceding


def _aligned(features: Tensor, flows: Sequence[Tensor], align: FlowGuidedAlignment) -> Tensor:
    batch, count = features.shape[0], features.shape[1] - 1
    neighbours, warped, led = [], [], []
    for step, flow in enumerate(flows, start=1):
        # Near the end of the clip the farther neighbours are missing: zeros, at flow zero.
        missing = _frames(after=count - flow.shape[1])
        neighbours.append(F.pad(features[:, step:], missing).flatten(0, 1))
        warped.append(F.pad(_warped(features[:, step:], flow, warp), missing).flatten(0, 1))
        led.append(F.pad(flow, missing).flatten(0, 1))
    current = features[:, :-1].flatten(0, 1)
    aligned = align(torch.cat(neighbours, dim=1), warped, current, led)
    return F.pad(torch.unflatten(aligned, 0, (batch, count)), _frames(after=1))


def _warped(frames: Tensor, flow: Tensor, by: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    return torch.unflatten(by(frames.flatten(0, 1), flow.flatten(0, 1)), 0, frames.shape[:2])


def _frames(*, before: int = 0, after: int = 0) -> tuple[int, ...]:
    """Padding of the second of five axes."""
    return (0, 0, 0, 0, 0, 0, before, after)
