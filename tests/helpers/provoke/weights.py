"""Failures of the family weights."""

from __future__ import annotations

from pathlib import Path

import torch

from provoke.machinery import case


@case("missing-checkpoint")
def nothing_to_load(folder: Path) -> None:
    torch.load(folder / "checkpoints" / "model.pth", weights_only=True)


@case("missing-checkpoint")
def no_safetensors(folder: Path) -> None:
    from safetensors.torch import load_file

    load_file(folder / "model.safetensors")


@case("silent-random-weights")
def prefixed_keys(folder: Path) -> str:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 4, 3))
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    return f"=> loading weights\n{model.load_state_dict(state, strict=False)}\nEpoch 1: loss 2.31"
