"""What one image takes of the device when a forgery network looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snellen.config.schema import RunConfig
from snellen.models.backbones.from_timm import describe_backbone
from snellen.models.forgery.net.network import ForgeryNet
from snellen.ops.tiling import tiles
from snellen.tasks.base import Inference
from snellen.tasks.forgery.config import ForgeryModel, ForgeryRun
from snellen.tasks.forgery.model import detector_settings, net_detector

__all__ = ["inference", "smaller_parts"]

_LEAST_CELLS = 24
"""In smaller tiles hardly a copy and its original lie together."""

_VIEWS = {"none": 1, "flips": 4, "dihedral": 8}


def inference(config: RunConfig, size: tuple[int, int]) -> Inference:
    """As `NetDetector` goes about an image: at once, or scaled down and in tiles, always in float32.

    Args:
        config: The run.
        size: Height and width of the image.
    """
    if not isinstance(config, ForgeryRun):
        raise TypeError(f"expected a ForgeryRun, given {type(config).__name__}")
    model = config.model
    backbone = describe_backbone(model.backbone, max_stride=model.max_stride)
    side, most = detector_settings(model).sides(backbone.stride)
    views = _VIEWS[model.test_time]
    if max(size) <= side:
        return Inference(lambda: _tensors(size, ()), _look(model), views, f"{size[0]} x {size[1]} at once", full=True)
    scale = min(1.0, most / max(size))
    working = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    count = len(tiles(*working, tile=side, overlap=side // 8))
    seen = (min(side, working[0]), min(side, working[1]))
    # The map of the whole, that of the tiles in both sizes, and its weights stay while tiles are looked at.
    planes = (size, working, working)
    what = f"{size[0]} x {size[1]} as a whole and in {count} tiles of {seen[0]} x {seen[1]}"
    return Inference(lambda: _tensors(seen, planes), _look(model), views * (count + 1), what, full=True)


def smaller_parts(config: RunConfig) -> list[tuple[str, Any]]:
    """Tiles of two thirds of the side.

    Args:
        config: The run.
    """
    if not isinstance(config, ForgeryRun):
        raise TypeError(f"expected a ForgeryRun, given {type(config).__name__}")
    if config.model.detector == "keypoint":
        return []
    backbone = describe_backbone(config.model.backbone, max_stride=config.model.max_stride)
    cells = detector_settings(config.model).sides(backbone.stride)[0] // backbone.stride * 2 // 3
    return [("model.tile", cells * backbone.stride)] if cells >= _LEAST_CELLS else []


def _tensors(seen: tuple[int, int], planes: Sequence[tuple[int, int]]) -> list[Tensor]:
    return [torch.empty(3, *seen, dtype=torch.uint8), *(torch.empty(plane) for plane in planes)]


def _look(settings: ForgeryModel) -> Any:
    def look(model: nn.Module, given: list[Tensor]) -> Tensor:
        network = next(part for part in model.modules() if isinstance(part, ForgeryNet))
        return net_detector(network, settings).probabilities(given[0])

    return look
