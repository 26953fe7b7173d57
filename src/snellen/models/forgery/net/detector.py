"""The forgery network as a detector: any size in, one mask of the same size out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from snellen.models.contract import common_side_multiple
from snellen.models.forgery.cleanup import clean_mask
from snellen.models.forgery.detection import Detection, ImageArray, check_image_array
from snellen.models.forgery.net.network import ForgeryNet
from snellen.ops.augment import DIHEDRAL_TRANSFORMS, FLIPS, DihedralTransform
from snellen.ops.padding import pad_to_multiple, unpad
from snellen.ops.tiling import Tile, blend, tiles

__all__ = ["NetDetector", "NetDetectorSettings"]


_CELLS = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class NetDetectorSettings:
    """How the network is applied to an image.

    Args:
        threshold: Probability from which a pixel counts as copied.
        tile: Largest side, in pixels, that the network sees at once; 0 stands for 96 cells of the backbone. A larger
            image is seen twice: as a whole, scaled down to this side, so that far copies are found; and in tiles, so
            that small ones are. Comparing all cells with all costs time with the fourth power of the side.
        max_side: Larger images are scaled down to this side, in pixels, before they are cut; 0 stands for three tiles.
        test_time: `none`, `flips` (4 views averaged) or `dihedral` (8 views).
        min_area: Smaller components are dropped from the mask, in pixels.
    """

    threshold: float = 0.5
    tile: int = 0
    max_side: int = 0
    test_time: Literal["none", "flips", "dihedral"] = "none"
    min_area: int = 64

    def sides(self, stride: int) -> tuple[int, int]:
        """The largest side that the network sees at once, and that of what is cut into tiles.

        Args:
            stride: Of the backbone.

        Example:
            >>> NetDetectorSettings().sides(14)
            (1344, 4032)
        """
        side = self.tile or _CELLS * stride
        return side, self.max_side or 3 * side


class NetDetector:
    """Applies a `ForgeryNet` to images of any size.

    Args:
        network: Is put into evaluation mode.
        settings: How it is applied.
        device: Where it runs.

    Example:
        >>> from snellen.models.backbones.from_timm import load_backbone
        >>> detector = NetDetector(ForgeryNet(load_backbone("resnet10t", max_stride=4)))
        >>> detector.detect(np.zeros((50, 70, 3), np.uint8)).mask.shape
        (50, 70)
    """

    name = "net"

    def __init__(
        self,
        network: ForgeryNet,
        settings: NetDetectorSettings | None = None,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        self.settings = settings or NetDetectorSettings()
        self.device = torch.device(device)
        there = all(parameter.device == self.device for parameter in network.parameters())
        self.network = (network if there else network.to(self.device)).eval()

    def detect(self, image: ImageArray) -> Detection:
        """Find copied pixels in one RGB image.

        Args:
            image: Shape `(height, width, 3)`, uint8.

        Raises:
            DataError: Another shape or dtype.
        """
        check_image_array(image)
        started = time.perf_counter()
        with torch.inference_mode():
            pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
            heatmap = self._heatmap(pixels).cpu().numpy()
        mask = clean_mask(heatmap >= self.settings.threshold, min_area=self.settings.min_area)
        return Detection(
            image_size=(image.shape[0], image.shape[1]),
            mask=mask,
            score=_image_score(heatmap),
            heatmap=heatmap,
            milliseconds={"net": 1000 * (time.perf_counter() - started)},
        )

    def probabilities(self, pixels: Tensor) -> Tensor:
        """Probabilities, shape `(H, W)`, of uint8 pixels `(3, H, W)` that the network sees at once."""
        return self._averaged(pixels)

    def _heatmap(self, pixels: Tensor) -> Tensor:
        """Probabilities, shape `(H, W)`, of uint8 pixels `(3, H, W)`."""
        size = (pixels.shape[1], pixels.shape[2])
        side, most = self.settings.sides(self.network.backbone.contract.stride)
        if max(size) <= side:
            return self._averaged(pixels)
        whole = _resized(self._averaged(_shrunk(pixels, side)), size)
        working = _shrunk(pixels, most)
        height, width = working.shape[1:]
        cut = tiles(height, width, tile=side, overlap=side // 8)
        blended = blend(self._tiled(working, cut), height=height, width=width)[0]
        return torch.maximum(whole, _resized(blended, size))

    def _tiled(self, pixels: Tensor, cut: tuple[Tile, ...]) -> Iterator[tuple[Tile, Tensor]]:
        for tile in cut:
            yield tile, self._averaged(tile.crop(pixels))[None]

    def _averaged(self, pixels: Tensor) -> Tensor:
        """Mean probability over the views of test-time augmentation, shape `(H, W)`."""
        images = pixels.to(self.device, torch.float32)[None] / 255
        views: tuple[DihedralTransform, ...] = {
            "none": DIHEDRAL_TRANSFORMS[:1],
            "flips": FLIPS,
            "dihedral": DIHEDRAL_TRANSFORMS,
        }[self.settings.test_time]
        total = torch.zeros(images.shape[2:], device=self.device)
        for view in views:
            total += view.inverse(self._probabilities(view.forward(images)))[0, 0]
        return total / len(views)

    def _probabilities(self, images: Tensor) -> Tensor:
        """Pad as the contracts say, predict, take the padding off."""
        height, width = images.shape[2:]
        smallest = self.network.smallest_side
        # Grey, not mirrored pixels: a mirrored border would be a copy of the image.
        framed = F.pad(images, (0, max(0, smallest - width), 0, max(0, smallest - height)), value=0.5)
        padded, padding = pad_to_multiple(
            framed, common_side_multiple(self.network.contracts), mode="constant", value=0.5
        )
        return torch.sigmoid(unpad(self.network(padded), padding))[..., :height, :width]


def _shrunk(pixels: Tensor, side: int) -> Tensor:
    """Pixels `(3, H, W)` with no side above `side`."""
    height, width = pixels.shape[1:]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    # Bytes stay bytes: a huge photo in float32 would be four times as large.
    return F.interpolate(pixels[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]


def _resized(heatmap: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(heatmap.shape) == size:
        return heatmap
    return F.interpolate(heatmap[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]


def _image_score(heatmap: np.ndarray) -> float:
    """Mean of the most suspicious thousandth of the pixels, so that one pixel alone cannot accuse an image."""
    count = max(1, math.ceil(heatmap.size / 1000))
    return float(np.partition(heatmap, heatmap.size - count, axis=None)[-count:].mean())
