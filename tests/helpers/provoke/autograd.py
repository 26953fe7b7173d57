"""Failures of the family autograd: graphs, in-place changes, checkpointing, several processes."""

from __future__ import annotations

import socket
from datetime import timedelta
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from provoke.machinery import case, printed


@case("inplace-modified")
def residual_in_place(folder: Path) -> None:
    images = torch.randn(2, 3, 8, 8)
    features = F.relu(torch.nn.Conv2d(3, 3, 3, padding=1)(images))
    features += images
    features.sum().backward()


@case("inplace-modified")
def stepped_between(folder: Path) -> None:
    generator, discriminator = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 1, 3)
    optimizer = torch.optim.SGD(discriminator.parameters(), lr=0.1)
    fake = generator(torch.randn(1, 3, 8, 8))
    loss_g = -discriminator(fake).mean()
    discriminator(fake.detach()).mean().backward()
    optimizer.step()
    loss_g.backward()


@case("inplace-modified")
def parameter_written(folder: Path) -> None:
    layer = torch.nn.Linear(3, 3)
    layer.weight[0] = 0.0


@case("inplace-modified")
def watched_by_anomaly_detection(folder: Path) -> str:
    weight = torch.randn(4, 4, requires_grad=True)

    def train() -> None:
        with torch.autograd.detect_anomaly():
            gate = torch.sigmoid(torch.randn(2, 4) @ weight)
            gate[gate < 0.5] = 0
            gate.sum().backward()

    return printed(train)


@case("backward-twice")
def losses_added_up(folder: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    total_loss = torch.zeros(())
    for _ in range(2):
        total_loss = total_loss + model(torch.randn(2, 4)).square().mean()
        total_loss.backward()


@case("backward-twice")
def state_carried_over(folder: Path) -> None:
    rnn, hidden = torch.nn.GRU(4, 4), torch.zeros(1, 2, 4)
    for _ in range(2):
        output, hidden = rnn(torch.randn(3, 2, 4), hidden)
        output.mean().backward()


@case("no-grad-fn")
def left_under_no_grad(folder: Path) -> None:
    model = torch.nn.Linear(4, 2)
    with torch.no_grad():
        logits = model(torch.randn(3, 4))
    loss = F.cross_entropy(logits, torch.tensor([0, 1, 0]))
    loss.backward()


@case("no-grad-fn")
def loss_from_numbers(folder: Path) -> None:
    model = torch.nn.Linear(4, 2)
    losses = [model(torch.randn(3, 4)).mean() for _ in range(2)]
    torch.tensor([loss.item() for loss in losses]).sum().backward()


@case("no-grad-fn")
def everything_frozen(folder: Path) -> None:
    model = torch.nn.Linear(4, 2).requires_grad_(False)
    loss = model(torch.randn(3, 4)).square().mean()
    loss.backward()


@case("checkpoint-mismatch")
def second_run_differs(folder: Path) -> None:
    seen: list[int] = []

    def routed(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(seen))
        return torch.sigmoid(x[: len(x) - len(seen)]).square()

    x = torch.randn(8, 4, requires_grad=True)
    checkpoint(routed, x, use_reentrant=False, early_stop=False).sum().backward()


@case("checkpoint-mismatch")
def second_run_saves_less(folder: Path) -> None:
    cache: dict[str, torch.Tensor] = {}

    def attend(x: torch.Tensor) -> torch.Tensor:
        if "mask" not in cache:
            cache["mask"] = torch.sigmoid(x.mean()).detach()
            x = torch.tanh(x)
        return x * cache["mask"]

    x = torch.randn(8, 4, requires_grad=True)
    checkpoint(attend, x, use_reentrant=False).sum().backward()


@case("checkpoint-mismatch")
def nothing_requires_grad(folder: Path) -> str:
    stem = torch.nn.Conv2d(3, 4, 3)

    def train() -> None:
        images = torch.randn(2, 3, 8, 8)
        loss = checkpoint(stem, images, use_reentrant=True).mean()
        loss.backward()

    return printed(train)


class _TwoHeads(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head, self.aux = torch.nn.Linear(4, 1), torch.nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x)


class _Checkpointed(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = checkpoint(self.block, x, use_reentrant=True)
        return checkpoint(self.block, x, use_reentrant=True)


def _alone() -> None:
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)


@case("ddp-unused-parameters")
def head_without_loss(folder: Path) -> None:
    _alone()
    try:
        model = DistributedDataParallel(_TwoHeads())
        for _ in range(2):
            model(torch.randn(2, 4)).mean().backward()
    finally:
        distributed.destroy_process_group()


@case("checkpoint-mismatch")
def ready_twice(folder: Path) -> None:
    _alone()
    try:
        model = DistributedDataParallel(_Checkpointed(), find_unused_parameters=True)
        model(torch.randn(2, 4, requires_grad=True)).mean().backward()
    finally:
        distributed.destroy_process_group()


@case("nccl-timeout")
def one_of_two_came(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    distributed.TCPStore("127.0.0.1", port, 2, is_master=True, timeout=timedelta(seconds=1))
