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
