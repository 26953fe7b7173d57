"""VRT: A Video Restoration Transformer, whole.

Source: Liang et al., arXiv:2201.12288. The names of all tensors are those of the published weights.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snellen.errors import ContractError
from snellen.models.vrt.alignment import AlignmentSettings, Flows, aligned_frames, estimate_flows
from snellen.models.vrt.configurations import VrtArchitecture
from snellen.models.vrt.spikes import SpikeBranch
from snellen.models.vrt.spynet import SpyNet
from snellen.models.vrt.stage import FrameConv, Resolution, Stage, Upsample
from snellen.models.vrt.temporal import Checkpointing, ResidualGroup, survival

__all__ = ["VRT"]

_RESOLUTIONS: tuple[Resolution, ...] = ("none", "down", "down", "down", "up", "up", "up")
_LEVELS = (0, 1, 2, 3, 2, 1, 0)
"""How often the video has been halved at each of the seven stages."""
_CORNERS = 4
_RECONSTRUCTED = 64
_LARGEST_OFFSET = 10.0


class VRT(nn.Module):
    """Restores, enlarges or interpolates the frames of a clip together.

    Args:
        architecture: Which tensors it has; see `published`.
        drop_path: Rate of stochastic depth at the last block, in training.
        checkpointing: Which parts are computed again in the backward pass instead of being kept.
        spikes: Branch for the voxels of a spike camera; without it, or without voxels, this is plain VRT.

    Input shape: `(B, D, C, H, W)`: two frames or more, RGB of values 0 to 1 (and the noise level as a fourth channel
    where the architecture has it); sides multiples of 8 and not below `architecture.smallest_sides`.

    Output shape: `(B, D, 3, upscale * H, upscale * W)`; `(B, 1, 3, H, W)`, the frame in the middle, from a network that
    interpolates.

    Example:
        >>> tiny = VrtArchitecture(
        ...     window_size=(2, 4, 4), depths=(2,) * 7 + (1,), embed_dims=(8,) * 8, num_heads=(2,) * 8,
        ...     indep_reconsts=(), deformable_groups=2,
        ... )
        >>> VRT(tiny).eval()(torch.zeros(1, 2, 3, 40, 32)).shape
        torch.Size([1, 2, 3, 40, 32])
    """

    def __init__(
        self,
        architecture: VrtArchitecture,
        *,
        drop_path: float = 0.2,
        checkpointing: Checkpointing | None = None,
        spikes: SpikeBranch | None = None,
    ) -> None:
        super().__init__()
        if not 0.0 <= drop_path < 1.0:
            raise ContractError(f"drop_path is {drop_path}, expected 0 to below 1")
        self.architecture = architecture
        self.drop_path = drop_path
        checkpointing = checkpointing or Checkpointing()
        widths = architecture.embed_dims
        taken = architecture.in_chans
        if architecture.pa_frames:
            taken = architecture.in_chans * (1 + 2 * _CORNERS) + architecture.nonblind_denoising
            self.spynet = SpyNet(return_levels=(2, 3, 4, 5), checkpointing=checkpointing.flow)
        self.conv_first = FrameConv(taken, widths[0])
        for index in range(len(_LEVELS)):
            self.add_module(f"stage{index + 1}", _stage(architecture, index, checkpointing))
        self.stage8 = _refinement(architecture, checkpointing)
        self.norm = nn.LayerNorm(widths[-1])
        self.conv_after_body = nn.Linear(widths[-1], widths[0])
        if not architecture.pa_frames:
            self.linear_fuse = nn.Conv2d(widths[0] * architecture.frames, _RECONSTRUCTED, 1)
            self.conv_last: nn.Module = nn.Conv2d(_RECONSTRUCTED, architecture.out_chans, 7)
        elif architecture.upscale == 1:
            self.conv_last = FrameConv(widths[0], architecture.out_chans)
        else:
            self.conv_before_upsample = nn.Sequential(FrameConv(widths[0], _RECONSTRUCTED), nn.LeakyReLU())
            self.upsample = Upsample(architecture.upscale, _RECONSTRUCTED)
            self.conv_last = FrameConv(_RECONSTRUCTED, architecture.out_chans)
        self.apply(_start)
        # After the start of the rest, because a branch starts in a way of its own.
        self.spikes = spikes

    def forward(self, clip: Tensor, voxels: Tensor | None = None, *, flows: Flows | None = None) -> Tensor:
        """Restore a clip.

        Args:
            clip: Shape `(B, D, C, H, W)`.
            voxels: Spikes of each frame, `(B, D, bins, h, w)`; see `SpikeBranch`.
            flows: Flows of the clip when they are known; else SpyNet estimates them.

        Raises:
            ContractError: The clip or the voxels are not what the network takes; both sides are named.
        """
        self._check(clip, voxels)
        if not self.architecture.pa_frames:
            return self._interpolated(clip, voxels)
        colours = clip[:, :, : self.architecture.in_chans]
        flows = flows or self.flows(colours)
        backward, forward = flows.at(0)
        following, preceding = aligned_frames(colours, backward[0], forward[0])
        noise_level = clip[:, :, self.architecture.in_chans :]
        first = self._first(torch.cat((colours, following, preceding, noise_level), dim=2), voxels)
        features = first + self.conv_after_body(self.features(first, flows))
        if self.architecture.upscale == 1:
            return _frames_of(self.conv_last(features)) + colours
        larger = self.conv_last(self.upsample(self.conv_before_upsample(features)))
        return _frames_of(larger) + _enlarged(colours, self.architecture.upscale)

    def flows(self, clip: Tensor) -> Flows:
        """All flows that the alignment needs, from frames `(B, D, 3, H, W)`."""
        return estimate_flows(self.spynet, clip, self.architecture.neighbours)

    def features(self, first: Tensor, flows: Flows | None = None) -> Tensor:
        """The stages between the first convolution and the last: `(B, D, H, W, C)` to `(B, D, H, W, last C)`."""
        keep = self._survival(first)
        before, video = 0, first
        skipped: list[Tensor] = []
        for index, level in enumerate(_LEVELS):
            if index in (5, 6):
                # What the stage of the same scale gave on the way down.
                video = video + skipped[len(_LEVELS) - index]
            backward, forward = flows.at(level) if flows else ((), ())
            after = before + self.architecture.depths[index]
            stage = getattr(self, f"stage{index + 1}")
            video = stage(video, backward, forward, None if keep is None else keep[before:after])
            before = after
            skipped.append(video)
        video = video + skipped[0]
        for index, group in enumerate(self.stage8):
            if index == 0:
                video = group(video)
                continue
            after = before + self.architecture.depths[self.architecture.refining[index - 1]]
            video = group(video, None if keep is None else keep[before:after])
            before = after
        normed: Tensor = self.norm(video)
        return normed

    def _first(self, frames: Tensor, voxels: Tensor | None) -> Tensor:
        """Features `(B, D, H, W, C)` of frames `(B, D, channels, H, W)`, with what the spikes add."""
        first: Tensor = self.conv_first(frames.permute(0, 1, 3, 4, 2))
        if voxels is not None and self.spikes is not None:
            first = self.spikes(first, voxels)
        return first

    def _interpolated(self, clip: Tensor, voxels: Tensor | None) -> Tensor:
        mean = clip.mean((1, 3, 4), keepdim=True)
        first = self._first(clip - mean, voxels)
        features = first + self.conv_after_body(self.features(first))
        together = features.permute(0, 1, 4, 2, 3).flatten(1, 2)
        fused = F.pad(F.leaky_relu(self.linear_fuse(together), 0.2), (3, 3, 3, 3), mode="reflect")
        made: Tensor = self.conv_last(fused)
        return torch.unflatten(made, 1, (-1, self.architecture.in_chans)) + mean

    def _survival(self, first: Tensor) -> Tensor | None:
        if not self.training or self.drop_path == 0.0:
            return None
        return survival(self.drop_path, sum(self.architecture.depths), len(first), first.device)

    def _check(self, clip: Tensor, voxels: Tensor | None) -> None:
        given = self.architecture
        channels = given.in_chans + given.nonblind_denoising
        if clip.ndim != 5 or clip.shape[2] != channels:
            raise ContractError(
                f"VRT takes clips (B, D, {channels}, H, W), given {tuple(clip.shape)}",
                hint="add the batch axis with clip.unsqueeze(0)" if clip.ndim == 4 else None,
                slug="channel-mismatch" if clip.ndim == 5 else None,
            )
        count, (height, width) = clip.shape[1], clip.shape[3:]
        if given.pa_frames == 0 and count != given.frames:
            raise ContractError(f"this VRT interpolates clips of {given.frames} frames, given {count}")
        if count < 2:
            raise ContractError(
                f"VRT takes clips of at least 2 frames, given {count}", hint="repeat the frame: clip.expand(-1, 2, ...)"
            )
        least, multiple = given.smallest_sides, given.side_multiple
        if height % multiple or width % multiple or height < least[0] or width < least[1]:
            target = [
                max(-(-side // multiple) * multiple, lowest)
                for side, lowest in zip((height, width), least, strict=True)
            ]
            raise ContractError(
                f"VRT takes frames whose sides are multiples of {multiple}, at least {least[0]} x {least[1]} "
                f"(height x width) for its windows; given {height} x {width}",
                hint=f"pad to {target[0]} x {target[1]}",
                slug="padding-not-lcm",
            )
        if voxels is not None:
            if self.spikes is None:
                raise ContractError(
                    "voxels are given to a VRT without a spike branch", hint="VRT(..., spikes=SpikeBranch())"
                )
            self.spikes.check(clip, voxels)


def _stage(given: VrtArchitecture, index: int, checkpointing: Checkpointing) -> Stage:
    depth = given.depths[index]
    mutual = int(depth * given.mul_attn_ratio)
    alignment = None
    if given.neighbours:
        alignment = AlignmentSettings(
            neighbours=given.neighbours,
            groups=given.deformable_groups,
            largest_offset=_LARGEST_OFFSET / 2 ** _LEVELS[index],
        )
    return Stage(
        given.embed_dims[max(index - 1, 0)],
        given.embed_dims[index],
        depths=(mutual, depth - mutual),
        heads=given.num_heads[index],
        window=given.window_size,
        resolution=_RESOLUTIONS[index],
        alignment=alignment,
        checkpointing=checkpointing,
    )


def _refinement(given: VrtArchitecture, checkpointing: Checkpointing) -> nn.ModuleList:
    """Groups at full size, after a change of width; some see every frame by itself."""
    before, widths = given.embed_dims[len(_LEVELS) - 1], given.embed_dims
    first = OrderedDict({"1": nn.LayerNorm(before), "2": nn.Linear(before, widths[len(_LEVELS)])})
    groups: list[nn.Module] = [nn.Sequential(first)]
    for index in given.refining:
        window = (1, *given.window_size[1:]) if index in given.indep_reconsts else given.window_size
        groups.append(
            ResidualGroup(
                widths[index], given.depths[index], given.num_heads[index], window, checkpointing=checkpointing
            )
        )
    return nn.ModuleList(groups)


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def _frames_of(video: Tensor) -> Tensor:
    """`(B, D, H, W, C)` to `(B, D, C, H, W)`."""
    return video.permute(0, 1, 4, 2, 3)


def _enlarged(frames: Tensor, scale: int) -> Tensor:
    larger = F.interpolate(frames.flatten(0, 1), scale_factor=scale, mode="bilinear", align_corners=False)
    return torch.unflatten(larger, 0, frames.shape[:2])
