"""Failures of the family config."""

from __future__ import annotations

from pathlib import Path

import torch

from provoke.machinery import case


@case("config-type")
def rate_as_text(folder: Path) -> None:
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr="1e-4")  # type: ignore[arg-type]


@case("config-type")
def scheduler_as_text(folder: Path) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma="0.9").step()  # type: ignore[arg-type]


@case("config-unknown-key")
def unpacked_settings(folder: Path) -> None:
    class Trainer:
        def __init__(self, lr: float) -> None:
            self.lr = lr

    config = {"lr": 0.1, "epoch": 3}
    Trainer(**config)  # type: ignore[arg-type]


@case("config-unknown-key")
def repeated_key(folder: Path) -> None:
    from ruamel.yaml import YAML

    YAML(typ="safe").load("lr: 0.1\nlr: 0.2\n")
