"""Models gone through module by module: shapes, operations worked out by hand, and where a shape does not fit."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from snellen.trace.fake import build_without_weights
from snellen.trace.recorder import Recorder
from snellen.trace.table import trace


def test_shapes_operations_and_parameters_of_each_module() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16 * 16, 10))
    traced = trace(model, [(2, 3, 16, 16)])
    rows = {row.name: row for row in traced.rows}
    assert rows["0"].outputs == ((2, 8, 16, 16),)
    assert rows["0"].flops == 2 * 2 * 8 * 16 * 16 * 3 * 9
    assert rows["3"].flops == 2 * 2 * 2048 * 10
    assert rows[""].flops == traced.flops == rows["0"].flops + rows["3"].flops
    assert traced.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert rows["0"].activation_bytes == 2 * 8 * 16 * 16 * 4
    assert traced.problem == ""


def test_the_module_that_refuses_its_input_is_named() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(nn.Flatten(), nn.Linear(7, 2)))
    traced = trace(model, [(1, 3, 8, 8)])
    assert traced.failed_in is not None
    assert (traced.failed_in.name, traced.failed_in.inputs) == ("1.1", ((1, 288),))
    assert "288" in traced.problem
    assert [row.name for row in traced.rows] == ["", "0", "1", "1.0", "1.1"]


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor, extra: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        return {"out": self.second(self.first(x)), "again": self.first(x)}


def test_shared_weights_count_once_and_a_module_called_twice_has_two_rows() -> None:
    traced = trace(Shared(), [(1, 4)])
    assert traced.parameters == 16 + 4 + 4
    assert [row.name for row in traced.rows] == ["", "first", "second", "first"]
    assert traced.rows[0].outputs == ((1, 4), (1, 4))


def test_nothing_is_allocated_for_a_large_model() -> None:
    model = build_without_weights(lambda: nn.Sequential(*(nn.Linear(30_000, 30_000) for _ in range(20))))
    traced = trace(model, [(1, 30_000)])
    assert traced.parameter_bytes > 60 * 2**30


def test_values_that_shapes_do_not_settle_are_said() -> None:
    class Picks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[torch.nonzero(x > 0)[:, 0]]

    assert "depends on values" in trace(Picks(), [(4, 4)]).problem


@pytest.mark.parametrize("count", [1, 3])
def test_the_recorder_sees_real_tensors_come_and_go(count: int) -> None:
    recorder = Recorder()
    with recorder:
        kept = [torch.ones(256) for _ in range(count)]
        total = sum(kept)
        del kept
    assert recorder.timeline.peak == (2 * count + 1) * 1024 - (count - 1) * 1024 if count > 1 else 2 * 1024
    assert recorder.alive_bytes(recorder.phase) == 1024
    del total


@pytest.mark.parametrize("train", [True, False])
def test_attention_is_counted_whichever_kernel_computes_it(train: bool) -> None:
    batch, tokens, width = 2, 50, 64
    traced = trace(
        nn.TransformerEncoderLayer(width, 4, 2 * width, batch_first=True), [(batch, tokens, width)], train=train
    )
    rows = batch * tokens
    linear = 2 * rows * width * (3 * width + width + 2 * width + 2 * width)
    attention = 2 * batch * 2 * tokens * tokens * width  # queries with keys, weights with values
    assert traced.flops == linear + attention


def test_weights_that_take_their_shape_from_the_input_are_counted() -> None:
    traced = trace(nn.Sequential(nn.LazyConv2d(8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4)), [(2, 3, 16, 16)])
    assert traced.problem == ""
    assert traced.parameters == 8 * (3 * 9 + 1) + 4 * (8 * 14 * 14 + 1)
    refused = trace(nn.Sequential(nn.LazyConv2d(8, 3)), [(2, 16)])
    assert "3D" in refused.problem


def test_outputs_in_a_dataclass_are_shown() -> None:
    @dataclass
    class Answer:
        logits: Tensor

    class Packs(nn.Module):
        def forward(self, x: Tensor) -> Answer:
            return Answer(x * 2)

    assert trace(Packs(), [(1, 4)]).rows[0].outputs == ((1, 4),)
