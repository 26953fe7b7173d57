"""Failures of the family shapes."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from provoke.machinery import case


@case("layout-scrambled")
def permuted_features(folder: Path) -> None:
    import timm

    backbone = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=64, depth=1).eval()
    decoder = torch.nn.Conv2d(192, 8, 1)
    features = backbone.get_intermediate_layers(torch.zeros(1, 3, 64, 64), n=1, reshape=True)[0]
    decoder(features.permute(0, 3, 1, 2))


@case("padding-not-lcm")
def padded_to_stride(folder: Path) -> None:
    import timm

    backbone = timm.create_model("vit_tiny_patch16_224", patch_size=14, depth=1, dynamic_img_size=True)
    image = torch.zeros(1, 3, 230, 230)
    pad_to = ((230 + 31) // 32) * 32
    backbone(F.pad(image, (0, pad_to - image.shape[3], 0, pad_to - image.shape[2])))
