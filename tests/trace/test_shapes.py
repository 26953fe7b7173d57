"""Steps on the meta device against the same steps on fake tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snellen.estimate.step import NeedsNumbers, Workload, record
from snellen.trace.fake import fake_tensors, give_weights
from snellen.trace.recorder import Recorder
from snellen.trace.shapes import shapes_only


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.whole = nn.MultiheadAttention(32, 4, batch_first=True)
        self.mean = torch.tensor([0.5, 0.25])  # no buffer: it stays on the CPU

    def forward(self, x: Tensor) -> Tensor:
        heads = torch.unflatten(x, -1, (4, 8)).transpose(1, 2)
        x = x + F.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2)
        x = self.whole(x, x, x, need_weights=False)[0]
        return x[..., :2] - self.mean + torch.zeros(2)


def separable() -> nn.Module:
    made = nn.Sequential(nn.Conv2d(3, 16, 4, 4), nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.GELU())
    made[1].to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return made


@pytest.mark.parametrize(("build", "shape"), [(Attending, (4, 100, 32)), (separable, (4, 3, 64, 64))])
def test_meta_and_fake_tensors_make_the_same_blocks(build: type[nn.Module], shape: tuple[int, ...]) -> None:
    seen = []
    for scope, device in ((shapes_only, "meta"), (fake_tensors, "cpu")):
        model, recorder = build(), Recorder()
        with scope():
            give_weights(model, device=device)
            with recorder:
                model(torch.rand(*shape, device="cpu")).sum().backward()
                recorder.close()
        seen.append([(block.operation, block.size, block.shape) for block in recorder.timeline.allocations])
    assert seen[0] == seen[1]


def test_a_step_of_one_kind_is_recorded_alike_each_time() -> None:
    work = Workload(
        build=separable, batch=lambda count: torch.rand(count, 3, 64, 64), optimiser=torch.optim.SGD, batch_size=2
    )
    first, second = record(work), record(replace(work, batch_size=3))
    events = list(first.events)
    del second
    torch.zeros(3)
    assert first.events == events == record(work).events


def test_a_step_that_reads_values_is_told() -> None:
    def reading(model: nn.Module, given: Tensor) -> Tensor:
        found: Tensor = model(given)
        return found[found > 0].sum()

    work = Workload(build=separable, batch=lambda count: torch.rand(count, 3, 64, 64), loss=reading,
                    optimiser=torch.optim.SGD)  # fmt: skip
    with pytest.raises(NeedsNumbers):
        record(work)
    assert record(work, real=True).peak > 0


PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "add": lambda x: x + x * 0.5,
    "a number that is a tensor": lambda x: x - torch.tensor(2.0, dtype=torch.float64),
    "broadcast": lambda x: x * x[:1],
    "two types": lambda x: x / x.half(),
    "other layout": lambda x: x + x.transpose(0, 1).contiguous().transpose(0, 1),
    "whole numbers": lambda x: x.long() + x,
    "in place": lambda x: x.clone().addcmul_(x, x).lerp_(x, 0.1).mul_(2).add_(x, alpha=3),
    "no dimension": lambda x: x.sum() + x,
    "norm": lambda x: torch.linalg.vector_norm(x) + torch.linalg.vector_norm(x, 2, 0),
    "half": lambda x: F.gelu(x.bfloat16()).sqrt().exp(),
}


@pytest.mark.parametrize("what", list(PLAIN))
def test_common_operators_give_what_the_processor_gives(what: str) -> None:
    expected = PLAIN[what](torch.rand(3, 3))
    with shapes_only():
        found = PLAIN[what](torch.rand(3, 3))
    assert (found.device.type, found.shape, found.dtype) == ("meta", expected.shape, expected.dtype)
    assert found.stride() == expected.stride()


def test_common_operators_refuse_what_does_not_fit() -> None:
    with shapes_only(), pytest.raises(RuntimeError):
        torch.rand(3, 4).add_(torch.rand(2, 4))
