"""The forgery network: backbone, self-correlation, matching evidence, decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from snellen.models.backbones.from_timm import TimmBackbone
from snellen.models.contract import Contract, check_image, normalise
from snellen.models.forgery.net.decoder import EvidenceDecoder
from snellen.models.forgery.net.evidence import evidence_channels, matching_evidence
from snellen.ops.self_correlation import TopMatches, dense_patch_top_k, pooled_self_correlation

__all__ = ["CorrelationSettings", "ForgeryNet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelationSettings:
    """How the feature map is compared with itself; lengths in cells of the feature map.

    Args:
        kind: `pooled` compares the means of patches, `dense` compares whole patches exactly.
        patch: Side of a patch.
        stride: Step between patches.
        top_k: Matches kept for each patch.
        exclusion_radius: Patches at most this many grid steps away are no matches.
    """

    kind: Literal["pooled", "dense"] = "dense"
    patch: int = 3
    stride: int = 1
    top_k: int = 6
    exclusion_radius: int = 4


class ForgeryNet(nn.Module):
    """Logits of copied pixels for images of values 0 to 1.

    Args:
        backbone: Gives the features that are compared.
        correlation: How they are compared.

    Input shape: `(B, 3, H, W)`, RGB, values 0 to 1, sides multiples of `side_multiple`.

    Output shape: `(B, 1, H, W)`.

    Source: correlation of features with themselves as evidence of copy-move: BusterNet, ECCV 2018,
    https://openaccess.thecvf.com/content_ECCV_2018/html/Rex_Yue_Wu_BusterNet_Detecting_Copy-Move_ECCV_2018_paper.html
    """

    def __init__(self, backbone: TimmBackbone, *, correlation: CorrelationSettings | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.correlation = correlation or CorrelationSettings()
        self.decoder = EvidenceDecoder(evidence_channels=evidence_channels(self.correlation.top_k))

    @property
    def contracts(self) -> tuple[Contract, ...]:
        """Of all parts that take the image."""
        return (self.backbone.contract, self.decoder.contract)

    @property
    def smallest_side(self) -> int:
        """The smallest side, in pixels, at which every position has enough candidates outside its exclusion radius."""
        cells = 2 * self.correlation.exclusion_radius + 1 + self.correlation.top_k
        return cells * self.correlation.stride * self.backbone.contract.stride

    def forward(self, images: Tensor) -> Tensor:
        """Logits; raises `ContractError` for images that break a contract."""
        check_image(images, self.contracts)
        features = self.backbone(normalise(images, self.backbone.contract))
        evidence = matching_evidence(self.match(features))
        centred: Tensor = images - 0.5
        logits: Tensor = self.decoder(centred, evidence)
        return logits

    def match(self, features: Tensor) -> TopMatches:
        """The best matches of every patch of the feature map elsewhere in the same map."""
        settings = self.correlation
        before = (settings.patch - 1) // 2
        after = settings.patch - 1 - before
        # Replicated borders give every cell a patch of its own, so that evidence and features share a grid.
        framed = F.pad(features, (before, after, before, after), mode="replicate")
        if settings.kind == "pooled":
            return pooled_self_correlation(
                framed,
                patch=settings.patch,
                stride=settings.stride,
                top_k=settings.top_k,
                exclusion_radius=settings.exclusion_radius,
            )
        return dense_patch_top_k(
            framed,
            patch=settings.patch,
            stride=settings.stride,
            top_k=settings.top_k,
            exclusion_radius=settings.exclusion_radius,
            normalisation="zero-mean",
        )
