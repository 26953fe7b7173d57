"""Failures of training loops, which run to their end."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

from provoke.machinery import case


def _digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Images of ten digits and their labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return torch.tensor(data.data, dtype=torch.float32) / 16, torch.tensor(data.target)


def _train(ending: nn.Module, classes: int, epochs: int) -> list[tuple[float, float]]:
    """Loss and accuracy of every epoch of a small network that ends with a layer, on the digits below a number."""
    torch.manual_seed(0)
    images, labels = _digits()
    images, labels = images[labels < classes], labels[labels < classes]
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, classes), ending)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    reports = []
    for _ in range(epochs):
        loss_sum = hits = 0.0
        for batch in torch.randperm(len(images)).split(128):
            output = model(images[batch])
            loss = nn.functional.cross_entropy(output, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(batch)
            hits += (output.argmax(1) == labels[batch]).sum().item()
        reports.append((loss_sum / len(images), hits / len(images)))
    return reports


@case("softmax-before-cross-entropy")
def probabilities_as_logits(folder: Path) -> str:
    reports = _train(nn.Softmax(dim=1), 10, 12)
    return "\n".join(
        f"Epoch {epoch + 1}/12 - train_loss: {loss:.4f} - train_acc: {accuracy:.4f}"
        for epoch, (loss, accuracy) in enumerate(reports)
    )


@case("softmax-before-cross-entropy")
def probabilities_of_four_classes(folder: Path) -> str:
    reports = _train(nn.Softmax(dim=1), 4, 20)
    return "\n".join(
        f"[epoch {epoch}] loss={loss:.3f}, acc={100 * accuracy:.2f}%" for epoch, (loss, accuracy) in enumerate(reports)
    )


@case("step-order")
def schedule_first(folder: Path) -> str:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    lines = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for epoch in range(3):
            scheduler.step()
            loss = model(torch.ones(4, 2)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            lines.append(f"epoch: {epoch} loss: {loss.item():.4f} lr: {scheduler.get_last_lr()[0]:.4f}")
    told = [warnings.formatwarning(w.message, w.category, w.filename, w.lineno) for w in caught]
    return "".join(told) + "\n".join(lines)
