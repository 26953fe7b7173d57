"""Failures about the meaning of data: dtypes, boxes, classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from provoke.machinery import case


@case("float64-input")
def convolved_array(folder: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    image = np.random.default_rng(0).random((3, 32, 32))
    model(torch.from_numpy(image)[None])


@case("float64-input")
def features_from_zeros(folder: Path) -> None:
    head = nn.Linear(16, 2)
    head(torch.tensor(np.zeros((4, 16))))


@case("box-format")
def boxes_of_coco(folder: Path) -> None:
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    model = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, num_classes=2)
    targets = [{"boxes": torch.tensor([[212.0, 157.0, 53.0, 138.0]]), "labels": torch.tensor([1])}]
    model(torch.zeros(1, 3, 320, 320), targets)
