"""Failures of the family precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from provoke.machinery import case, printed


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


@case("dtype-mismatch")
def numpy_image(folder: Path) -> None:
    image = torch.from_numpy(np.random.default_rng(0).random((1, 3, 8, 8)))
    model = torch.nn.Conv2d(3, 4, 3)
    model(image)


@case("dtype-mismatch")
def byte_image(folder: Path) -> None:
    model = torch.nn.Conv2d(3, 4, 3)
    model(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


@case("dtype-mismatch")
def half_model(folder: Path) -> None:
    model = torch.nn.Linear(4, 2).half()
    model(torch.zeros(1, 4))


@case("dtype-mismatch")
def labels_as_numbers(folder: Path) -> None:
    F.nll_loss(torch.zeros(2, 3).log_softmax(1), torch.tensor([0.0, 1.0]))


@case("device-mismatch")
def left_on_another_device(folder: Path) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        model = torch.nn.Linear(4, 2)
        model(torch.zeros(1, 4, device="meta"))


@case("half-on-cpu")
def boxes_in_half(folder: Path) -> None:
    from torchvision.ops import nms

    nms(torch.rand(4, 4).half(), torch.rand(4).half(), 0.5)


@case("half-on-cpu")
def distances_in_half(folder: Path) -> None:
    prototypes = torch.rand(5, 8).half()
    torch.cdist(prototypes, prototypes)


@case("gradscaler-misuse")
def weights_in_half(folder: Path) -> None:
    model = torch.nn.Linear(4, 2).half()
    optimizer, scaler = torch.optim.SGD(model.parameters(), lr=0.1), torch.amp.GradScaler("cpu")
    scaler.scale(model(torch.zeros(1, 4).half()).sum()).backward()
    scaler.unscale_(optimizer)


@case("gradscaler-misuse")
def unscaled_twice(folder: Path) -> None:
    model = torch.nn.Linear(4, 2)
    optimizer, scaler = torch.optim.SGD(model.parameters(), lr=0.1), torch.amp.GradScaler("cpu")
    scaler.scale(model(torch.zeros(1, 4)).sum()).backward()
    for _ in range(2):
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)


@case("gradscaler-misuse")
def stepped_without_gradients(folder: Path) -> None:
    generator, discriminator = torch.nn.Linear(4, 4), torch.nn.Linear(4, 1)
    optimizer, scaler = torch.optim.SGD(generator.parameters(), lr=0.1), torch.amp.GradScaler("cpu")
    scaler.scale(discriminator(generator(torch.zeros(1, 4)).detach()).sum()).backward()
    scaler.step(optimizer)


@case("deprecated-amp-api")
def old_scaler(folder: Path) -> str:
    def train() -> None:
        torch.cpu.amp.GradScaler()
        with torch.cpu.amp.autocast():
            pass

    return printed(train)


@case("bce-autocast-unsafe")
def probabilities_under_autocast(folder: Path) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    before = torch.is_autocast_enabled("cuda")
    torch.set_autocast_enabled("cuda", True)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            prediction = torch.sigmoid(torch.zeros(4, device="cuda"))
            F.binary_cross_entropy(prediction, torch.ones(4, device="cuda"))
    finally:
        torch.set_autocast_enabled("cuda", before)
