"""Failures of the family precision."""

from __future__ import annotations

from pathlib import Path

import torch

from provoke.machinery import case


@case("half-overflow")
def masked_fill(folder: Path) -> None:
    scores = torch.zeros(2, 2, dtype=torch.float16)
    scores.masked_fill(torch.eye(2, dtype=torch.bool), -1e9)


@case("half-overflow")
def under_autocast(folder: Path) -> None:
    with torch.autocast("cpu", dtype=torch.float16):
        queries = torch.ones(4, 8) @ torch.ones(8, 4)
        queries.masked_fill(torch.eye(4, dtype=torch.bool), float(-(2**30)))


@case("nan-loss")
def diverging(folder: Path) -> str:
    weight = torch.tensor([5.0], requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=2.0)
    lines = []
    for step in range(60):
        loss = (weight**4).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        lines.append(f"step: {step} loss: {loss.item():.4g} lr: 2.0")
    return "\n".join(lines)


@case("nan-loss")
def anomaly(folder: Path) -> None:
    weight = torch.zeros(1, requires_grad=True)
    with torch.autograd.detect_anomaly(check_nan=True):
        (torch.sqrt(weight) * 0).sum().backward()
