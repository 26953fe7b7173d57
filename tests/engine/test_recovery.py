"""Going on after a step that was not finite: what is left out, what is gone back to, how often, and what is written."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import LogOfNegative, Tiny
from torch import nn

from snellen.core.run_folder import RunFolder
from snellen.engine.recipe import Batch, StepOutput
from snellen.engine.settings import TrainSettings
from snellen.engine.train import train
from snellen.errors import NonFiniteError, UsageError


def settings(**changes: Any) -> TrainSettings:
    given = {"epochs": 2, "batch_size": 4, "accelerator": "cpu", "log_every": 100, "lr": 1e-2, "recoveries": 3}
    return TrainSettings(**{"tensorboard": False, "schedule": "constant", "warmup_fraction": 0.0, **given, **changes})


def recoveries(folder: RunFolder) -> list[dict[str, Any]]:
    return [line for line in folder.metrics() if line["kind"] == "recovery"]


def saved(folder: RunFolder) -> tuple[dict[str, Any], bool]:
    """The position of the newest checkpoint, and whether its weights are finite."""
    last = folder.checkpoints / "last"
    weights = load_file(last / "model.safetensors").values()
    position = json.loads((last / "state.json").read_text())["position"]
    return position, all(bool(torch.isfinite(one).all()) for one in weights)


class BrokenPicture(Tiny):
    """Picture 7 holds an infinity."""

    def collate(self, samples: Any) -> Batch:
        batch = super().collate(samples)
        batch["image"][batch["index"] == 7, 0, 0, 0] = math.inf
        return batch


class BrokenLoss(Tiny):
    """The loss of a batch with picture 7 is not a number, once or always."""

    def __init__(self, samples: int, *, once: bool = True) -> None:
        super().__init__(samples)
        self.once, self.steps = once, [0]

    def training_step(self, model: nn.Module, batch: Batch) -> StepOutput:
        output = super().training_step(model, batch)
        self.steps[0] += 7 in batch["index"].tolist()
        # The step is repeated once to find out.
        broken = 7 in batch["index"].tolist() and not (self.once and self.steps[0] > 2)
        return StepOutput(torch.log(-output.loss.abs() - 1), output.logs) if broken else output


class RuinsWeights(Tiny):
    """Before the step of a number, all weights become NaN: what an optimiser step that is far too long leaves."""

    def __init__(self, samples: int, *, at: int) -> None:
        super().__init__(samples, validation=0)
        self.at, self.taken = at, 0

    def training_step(self, model: nn.Module, batch: Batch) -> StepOutput:
        self.taken += 1
        if self.taken == self.at:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(math.nan)
        return super().training_step(model, batch)


def test_a_batch_that_is_broken_itself_is_left_out_and_nothing_else_changes(folder: RunFolder) -> None:
    result = train(BrokenPicture(16), settings(), folder)
    assert result.steps == 8
    found = recoveries(folder)
    assert [one["action"] for one in found] == ["leaves the batch out"] * 2
    assert all("image" in one["culprit"] and "7.png" in one["files"] for one in found)
    position, finite = saved(folder)
    assert finite
    assert position["slowed"] == 1.0
    # Each such step is a line of the curve, too, whether its turn had come or not.
    train_lines = [
        line for line in folder.metrics() if line["kind"] == "train" and "loss" in line.get("non_finite", ())
    ]
    assert [line["step"] for line in train_lines] == [one["step"] for one in found]
    events = [event for event in folder.events() if event["slug"] == "nan-loss"]
    assert len(events) == 2
    assert "7.png" in events[0]["message"]
    assert "recovery 1 of 3" in events[0]["message"]


def test_a_step_that_overflows_is_left_out_and_the_rest_is_slower(folder: RunFolder) -> None:
    result = train(BrokenLoss(16), settings(log_every=1), folder)
    assert result.steps == 8
    (found,) = recoveries(folder)
    assert found["action"] == "leaves the step out"
    assert "loss" in found["culprit"]
    rates = {line["step"]: line["lr"] for line in folder.metrics() if line["kind"] == "train"}
    first = found["step"]
    assert rates[first + 1] == pytest.approx(rates[1] / 3)
    assert rates[8] == pytest.approx(rates[1] / 3)
    assert saved(folder)[1]


def test_ruined_weights_are_replaced_by_those_of_the_last_good_checkpoint(folder: RunFolder) -> None:
    recipe = RuinsWeights(16, at=7)
    result = train(recipe, settings(epochs=3, log_every=1), folder)
    assert result.steps == 12
    (found,) = recoveries(folder)
    assert found["action"] == "goes back to step 4"
    assert "of the model (weights)" in found["culprit"]
    # Nothing of the steps that were done again is left in the curve, and the same batches came again.
    steps = [line["step"] for line in folder.metrics() if line["kind"] == "train"]
    assert steps == list(range(1, 13))
    assert recipe.seen[16:24] == recipe.seen[32:40] or recipe.seen[16:24] == recipe.seen[28:36]
    position, finite = saved(folder)
    assert finite
    assert (position["recoveries"], position["slowed"]) == (1, pytest.approx(1 / 3))


def test_before_the_first_checkpoint_the_run_begins_anew(folder: RunFolder) -> None:
    result = train(RuinsWeights(32, at=3), settings(epochs=1), folder)
    assert result.steps == 8
    (found,) = recoveries(folder)
    assert found["action"] == "goes back to the very beginning"
    assert saved(folder)[1]


def test_a_learning_rate_that_explodes_is_lowered_until_all_is_finite(folder: RunFolder) -> None:
    train(Tiny(32), settings(lr=1e20, clip_norm=None, optimiser="sgd", recoveries=60), folder)
    found = recoveries(folder)
    assert len(found) > 3
    assert [one["action"] for one in found[:2]] == ["leaves the step out", "goes back to the very beginning"]
    assert saved(folder)[1]


def test_what_never_ends_stops_the_run_with_the_culprit(folder: RunFolder) -> None:
    with pytest.raises(NonFiniteError) as caught:
        train(Tiny(32, insert=LogOfNegative(5)), settings(recoveries=2), folder)
    assert "features.4 (LogOfNegative)" in caught.value.message
    assert "gone on 2 times" in caught.value.message
    assert [one["number"] for one in recoveries(folder)] == [1, 2]


def test_recoveries_outlive_a_stop(folder: RunFolder) -> None:
    train(RuinsWeights(16, at=7), settings(max_steps=8), folder)
    result = train(Tiny(16, validation=0), settings(epochs=3, log_every=1), folder, resume=True)
    assert result.steps == 12
    assert len(recoveries(folder)) == 1
    position, _ = saved(folder)
    assert position["recoveries"] == 1
    assert [line["lr"] for line in folder.metrics() if line["kind"] == "train"][-1] == pytest.approx(0.5e-2 / 3)


def test_with_loss_scaling_the_next_step_goes_on(folder: RunFolder) -> None:
    result = train(BrokenLoss(16), settings(precision="fp16"), folder)
    assert result.steps == 8
    assert len(recoveries(folder)) == 1
    assert saved(folder)[1]


def test_none_at_all_is_the_default_of_the_engine(folder: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError):
        train(BrokenPicture(16), settings(recoveries=0), folder)
    assert TrainSettings().recoveries == 0
    assert not recoveries(folder)
    with pytest.raises(UsageError, match="recoveries is -1"):
        settings(recoveries=-1)
