"""Memory of an optimiser in eight bits: its states as bitsandbytes lays them out, counted by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from snellen.cli.main import main
from snellen.engine.optimiser import build_optimiser
from snellen.engine.settings import TrainSettings
from snellen.estimate.advice import changes_for
from snellen.estimate.devices import Device
from snellen.estimate.eight_bit import EightBitStates
from snellen.estimate.prediction import Predictor
from snellen.estimate.step import Workload, record
from snellen.trace.measured import held_bytes
from snellen.trace.timeline import Category

# 100 x 100 has 10,000 values in 40 blocks of 256, the last one not full; 40 x 100 stay below 4,096, which are 16.
BY_HAND = (
    2 * (10_000 + 40 * 4)  # bytes, and the largest of each block
    + 2 * (4_096 + 16 * 4)
    + 2 * 4 * (100 + 4_000 + 40 + 32)  # what is small stays in float32: biases, the 40 x 100, the 32 of the last layer
    + 2 * 256 * 4  # what a byte means, once for both
)
T4 = Device("t4", 15 * 2**30, {"fp32": 8.1, "half": 65.0}, 320e9, (7, 5))


class Three(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(100, 100), nn.Linear(100, 40)
        self.square = nn.Parameter(torch.ones(64, 64))
        self.scale = nn.Parameter(torch.ones(32))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x)).mean() * self.square.sum() * self.scale.sum()


def workload(**changes: object) -> Workload:
    made = {"build": Three, "batch": lambda count: torch.rand(count, 100), "optimiser": EightBitStates, "batch_size": 4}
    return Workload(**{**made, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("phase", ["train", "validate", "save"])
@pytest.mark.parametrize("cuda", [True, False])
def test_states_take_what_was_counted_by_hand(phase: str, cuda: bool) -> None:
    assert record(workload(cuda=cuda), phase).at_peak()[Category.OPTIMISER] == BY_HAND  # type: ignore[arg-type]


def test_frozen_parameters_have_no_states() -> None:
    def frozen() -> nn.Module:
        model = Three()
        model.first.requires_grad_(False)
        return model

    states = record(workload(build=frozen)).at_peak()[Category.OPTIMISER]
    assert states == BY_HAND - 2 * (10_000 + 40 * 4) - 2 * 4 * 100


def test_one_state_is_half_of_two() -> None:
    one = record(workload(optimiser=lambda given: EightBitStates(given, states=1)))
    assert one.at_peak()[Category.OPTIMISER] == BY_HAND // 2


def test_the_real_optimiser_takes_as_much() -> None:
    pytest.importorskip("bitsandbytes", reason="an extra")
    model, settings = Three(), TrainSettings(optimiser="adamw-8bit")
    optimiser = build_optimiser(settings, [{"params": list(model.parameters())}])
    model(torch.rand(4, 100)).backward()
    optimiser.step()
    states = [item for state in optimiser.state.values() for item in state.values() if isinstance(item, Tensor)]
    assert held_bytes(states) == BY_HAND


def test_it_is_offered_with_what_it_really_saves() -> None:
    predictor = Predictor(workload(optimiser=lambda given: torch.optim.AdamW(given, lr=1e-3)))
    tight = Device("small", predictor.worst(T4, 4).low, T4.teraflops, T4.bandwidth, T4.capability)
    offered = next(change for change in changes_for(predictor, tight, 4) if "AdamW8bit" in change.text)
    states = predictor.timeline(4, "save")[0].at_peak()[Category.OPTIMISER]
    assert 0 < offered.saved <= 3 * states
    assert "its version 0.50" in offered.price


def test_estimate_tells_the_layout_and_where_it_is_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wide.py").write_text("from torch import nn\ndef net():\n    return nn.Linear(512, 512, bias=False)\n")
    monkeypatch.chdir(tmp_path)
    found = {}
    for optimiser in ("adamw", "adamw-8bit"):
        call = [
            "estimate",
            "wide.py:net",
            "--input",
            "512",
            "--machine",
            "kaggle-t4",
            "--optimiser",
            optimiser,
            "--json",
        ]
        monkeypatch.setattr(sys, "argv", ["snellen", *call])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        found[optimiser] = json.loads(capsys.readouterr().out)["machines"][0]
    parts = {name: one["parts"]["optimiser state"] for name, one in found.items()}
    # 512 x 512 has 1,024 blocks.
    assert parts["adamw-8bit"] == 2 * (512 * 512 + 1024 * 4) + 2 * 256 * 4
    assert parts["adamw"] == pytest.approx(2 * 4 * 512 * 512, abs=64)
    assert "bitsandbytes 0.50, init_state in optim/optimizer.py" in found["adamw-8bit"]["assumed"][0]
    assert not found["adamw"]["assumed"]
