"""Failures of the family memory."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from provoke.machinery import case


@case("unfold-blowup")
def unfolded(folder: Path) -> None:
    features = torch.zeros(1, 1, 1, 1).expand(64, 4096, 4096, 4096)
    F.unfold(features, kernel_size=64, stride=1)
