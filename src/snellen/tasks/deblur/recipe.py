"""Training of a deblurring network on clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from snellen.config.schema import RunConfig
from snellen.engine.optimiser import default_groups
from snellen.engine.recipe import Batch, Metrics, StepOutput
from snellen.models.light_deblur import LightDeblur
from snellen.models.vrt import VRT
from snellen.ops.image_quality import to_bytes
from snellen.ops.video_tiling import restore
from snellen.tasks.deblur.config import DeblurRun
from snellen.tasks.deblur.data import TrainingClips, WholeClips, clips_of, collate, frame_reader, spread
from snellen.tasks.deblur.loss import Perceptual, charbonnier
from snellen.tasks.deblur.metrics import DeblurMetrics, FrameScore, clip_scores
from snellen.tasks.deblur.model import Network, Padded, build_network, tiling_of

__all__ = ["DeblurRecipe", "build_recipe", "restored_clip", "strip"]

_STRIPS = 4


class DeblurRecipe:
    """Training of VRT, or of the light network, on blurred and sharp clips.

    Args:
        config: Resolved settings.
    """

    headline = "psnr"
    mode: Literal["max", "min"] = "max"

    def __init__(self, config: DeblurRun) -> None:
        if "auto" in (config.data.motion, config.data.voxel_scale, config.model.compile):
            raise TypeError("expected resolved settings")
        self.config = config
        self._perceptual: Perceptual | None = None
        self._strips: dict[str, npt.NDArray[np.uint8]] = {}

    @property
    def about(self) -> Mapping[str, str]:
        """What is trained, for those who watch."""
        perceptual = "left out" if not self._sees else "relu3_3 of VGG-19"
        return {"model": self.config.model.name, "spikes": self.config.model.spikes, "perceptual": perceptual}

    @property
    def _sees(self) -> bool:
        perceptual = self.config.loss.perceptual
        return perceptual.weight > 0 and (perceptual.weights is not None or perceptual.fetch)

    @property
    def _scale(self) -> float:
        return float(self.config.data.voxel_scale)

    @property
    def remarks(self) -> list[str]:
        """What a reader of the run should know before it starts."""
        lines = list(clips_of(self.config, "train").told())
        if self.config.loss.perceptual.weight > 0 and not self._sees:
            lines.append(
                "the perceptual loss is left out: no weights of VGG-19 were given (loss.perceptual.weights: FILE, or "
                "loss.perceptual.fetch: true)"
            )
        return lines

    def build_model(self) -> nn.Module:
        """The network; compiled at its first training step where the settings ask for it."""
        network = build_network(self.config.model)
        if isinstance(network, VRT) and self.config.optim.spynet_lr == 0:
            network.spynet.requires_grad_(False)
        if self.config.model.compile is True:
            network.compile()
        return network

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """The flow network apart: still at first, then slow; it would otherwise be torn from what it can already do."""
        optim = self.config.optim
        network = _unwrapped(model)
        flow = {id(one) for one in network.spynet.parameters()} if isinstance(network, VRT) else set[int]()
        groups = []
        for group in default_groups(network, weight_decay=optim.weight_decay):
            main = [one for one in group["params"] if id(one) not in flow]
            slow = [one for one in group["params"] if id(one) in flow]
            groups.append({**group, "params": main})
            if slow:
                still = {"lr_scale": optim.spynet_lr, "frozen_share": optim.spynet_frozen}
                groups.append({**group, "params": slow, **still})
        return groups

    def train_dataset(self) -> TrainingClips:
        """Random crops of the training clips."""
        clips = clips_of(self.config, "train").clips
        return TrainingClips(clips, frame_reader(self.config), side=self.config.data.image_size, scale=self._scale)

    def evaluation_dataset(self, split: str) -> WholeClips | None:
        """Whole frames of another split."""
        if getattr(self.config.data, split, None) is None:
            return None
        clips = spread(clips_of(self.config, split).clips, self.config.data.val_clips)
        return WholeClips(clips, frame_reader(self.config), scale=self._scale)

    def collate(self, samples: Sequence[Any]) -> Batch:
        """A batch of crops, or of whole clips in lists."""
        return collate(samples)

    def training_step(self, model: nn.Module, batch: Batch) -> StepOutput:
        """Losses of one batch of crops."""
        blur, sharp = _floats(batch["blur"]), _floats(batch["sharp"])
        made = model(blur, batch.get("voxels"))
        pixels = charbonnier(made, sharp, delta=self.config.loss.delta)
        logs: dict[str, Tensor | float] = {"charbonnier": pixels.detach()}
        loss = pixels
        if self._sees:
            seen = self._vgg(made.device)(made, sharp)
            loss = pixels + self.config.loss.perceptual.weight * seen
            logs["perceptual"] = seen.detach()
        with torch.no_grad():
            logs["train_psnr"] = _decibels(made, sharp)
            logs["train_gain"] = logs["train_psnr"] - _decibels(blur, sharp)
        return StepOutput(loss, logs)

    def evaluation_step(self, model: nn.Module, batch: Batch) -> list[FrameScore]:
        """Figures of whole clips, restored in parts as prediction does it."""
        padded = Padded(_unwrapped(model))
        scores = []
        rows = zip(batch["blurred"], batch["truth"], batch["grids"], batch["frames"], batch["sequence"], strict=True)
        for blur, sharp, grids, frames, sequence in rows:
            made = restored_clip(padded, blur, grids, self.config)
            scores += clip_scores(made, blur, sharp, files=frames, sequence=sequence)
            if len(self._strips) < _STRIPS:
                middle = len(made) // 2
                name = f"{sequence or 'clip'}-{Path(frames[middle]).stem}".replace("/", "-")
                self._strips[name] = strip(blur[middle], made[middle], sharp[middle])
        return scores

    def new_metrics(self) -> Metrics:
        """PSNR and SSIM; the strips of the evaluation before are let go."""
        self._strips = {}
        return DeblurMetrics()

    def pictures(self) -> Mapping[str, npt.NDArray[np.uint8]]:
        """Blurred, restored and sharp side by side, of the first clips of the last evaluation."""
        return dict(self._strips)

    def _vgg(self, device: torch.device) -> Perceptual:
        # Made when it is first needed: a recipe travels to other processes.
        if self._perceptual is None:
            self._perceptual = Perceptual(self.config.loss.perceptual.weights)
        self._perceptual.to(device)
        return self._perceptual


def restored_clip(
    network: Padded, blur: npt.NDArray[np.uint8], grids: npt.NDArray[np.float32] | None, config: DeblurRun
) -> npt.NDArray[np.uint8]:
    """A clip through the network in parts.

    Args:
        network: On its device.
        blur: `(T, H, W, 3)`.
        grids: `(T, bins, h, w)`, scaled.
        config: How it is cut.

    Returns:
        `(T, H, W, 3)`, as image files hold it.
    """
    device = next(network.parameters()).device
    given = [torch.from_numpy(blur).permute(0, 3, 1, 2)[None].to(device).float().div(255)]
    if grids is not None:
        given.append(torch.from_numpy(grids)[None].to(device))
    made = restore(network, *given, tiling=tiling_of(config.model.tile))[0]
    return np.stack([to_bytes(frame) for frame in made.float().cpu().numpy()])


def strip(*images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Images of one height side by side, four white columns between."""
    gap = np.full((images[0].shape[0], 4, 3), 255, np.uint8)
    parts = [part for image in images for part in (image, gap)]
    return np.concatenate(parts[:-1], axis=1)


def _floats(frames: Tensor) -> Tensor:
    return frames if frames.is_floating_point() else frames.float().div(255)


def _decibels(one: Tensor, other: Tensor) -> Tensor:
    error = (one.float().clamp(0, 1) - other).square().mean().clamp_min(1e-10)
    return -10.0 * torch.log10(error)


def _unwrapped(model: nn.Module) -> Network:
    for candidate in (model, *model.modules()):
        if isinstance(candidate, (VRT, LightDeblur)):
            return candidate
    raise TypeError(f"expected a deblurring network, given {type(model).__name__}")


def build_recipe(config: RunConfig) -> DeblurRecipe:
    """The recipe of a deblurring run."""
    if not isinstance(config, DeblurRun):
        raise TypeError(f"expected a DeblurRun, given {type(config).__name__}")
    return DeblurRecipe(config)
