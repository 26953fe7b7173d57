"""A small U-Net that turns matching evidence and the image's own edges into a mask."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snellen.models.contract import Contract

__all__ = ["EvidenceDecoder"]

_GROUPS = 8


def _block(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    # GroupNorm, because batches of large images are small and sizes differ between training and prediction.
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(_GROUPS, out_channels),
        nn.GELU(),
    )


class EvidenceDecoder(nn.Module):
    """From evidence at the backbone's stride to logits at the image's resolution.

    The image is encoded by five strided blocks (strides 2 to 32), so that the mask can follow its edges; the evidence
    enters at its own stride; the way up joins both.

    Args:
        evidence_channels: Channels of the evidence.
        widths: Channels at strides 2, 4, 8, 16 and 32, multiples of 8.

    Input shape: images `(B, 3, H, W)` with sides that are multiples of 32, evidence `(B, evidence_channels, h, w)`.

    Output shape: logits `(B, 1, H, W)`.

    Example:
        >>> decoder = EvidenceDecoder(evidence_channels=9)
        >>> decoder(torch.zeros(1, 3, 64, 96), torch.zeros(1, 9, 16, 24)).shape
        torch.Size([1, 1, 64, 96])
    """

    CONTRACT = Contract(part="decoder", side_multiple=32, stride=1, out_channels=1)

    def __init__(self, *, evidence_channels: int, widths: Sequence[int] = (16, 24, 32, 48, 64)) -> None:
        super().__init__()
        if len(widths) != 5:
            raise ValueError(f"widths has {len(widths)} entries, expected 5, one for each stride from 2 to 32")
        self.contract = self.CONTRACT
        self.down = nn.ModuleList(_block(narrow, wide, stride=2) for narrow, wide in pairwise((3, *widths)))
        self.read = nn.Sequential(_block(evidence_channels, 32), _block(32, 32))
        self.join = nn.ModuleList(_block(width + 32, width) for width in widths)
        self.up = nn.ModuleList(_block(deep + shallow, shallow) for shallow, deep in pairwise(widths))
        self.head = nn.Conv2d(widths[0], 1, 3, padding=1)
        # Copied pixels are few: start from their share, so that the first steps are not spent on learning it.
        nn.init.constant_(self.head.bias, -2.0)  # type: ignore[arg-type]

    def forward(self, images: Tensor, evidence: Tensor) -> Tensor:
        """Logits of copied pixels."""
        read = self.read(evidence)
        levels = []
        current = images
        for down, join in zip(self.down, self.join, strict=True):
            current = down(current)
            resized = F.interpolate(read, size=current.shape[2:], mode="bilinear", align_corners=False)
            current = join(torch.cat([current, resized], dim=1))
            levels.append(current)
        for level, up in zip(reversed(levels[:-1]), reversed(list(self.up)), strict=True):
            current = F.interpolate(current, size=level.shape[2:], mode="bilinear", align_corners=False)
            current = up(torch.cat([current, level], dim=1))
        logits: Tensor = self.head(current)
        return F.interpolate(logits, size=images.shape[2:], mode="bilinear", align_corners=False)
