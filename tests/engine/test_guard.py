"""Numbers that are not finite: nothing is learned from them, and what broke is named and kept."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import LogOfNegative, PlainNetwork, Tiny
from torch import Tensor, nn

from snellen.core.run_folder import RunFolder
from snellen.engine.capture import replay
from snellen.engine.settings import TrainSettings
from snellen.engine.train import train
from snellen.errors import NonFiniteError, TrainingStopped


def settings(**changes: Any) -> TrainSettings:
    given = {"epochs": 2, "batch_size": 4, "accelerator": "cpu", "log_every": 1, "tensorboard": False, "lr": 1e-2}
    return TrainSettings(**{**given, **changes})


def stopped(folder: RunFolder, recipe: Tiny, given: TrainSettings | None = None) -> NonFiniteError:
    with pytest.raises(NonFiniteError) as caught:
        train(recipe, given or settings(), folder)
    return caught.value


def saved(folder: RunFolder) -> tuple[int, dict[str, Tensor]]:
    last = folder.checkpoints / "last"
    return json.loads((last / "state.json").read_text())["position"]["step"], load_file(last / "model.safetensors")


def capture(folder: RunFolder) -> Path:
    (path,) = folder.captures.iterdir()
    return path


class Cut(nn.Module):
    """The square root of zero: a finite result whose gradient is infinite."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, value: Tensor) -> Tensor:
        self.calls += self.training
        return value + torch.sqrt(value * 0) if self.training and int(self.calls) > self.at else value


def test_the_module_the_tensor_the_files_and_what_to_type_are_named(folder: RunFolder) -> None:
    recipe = Tiny(32, insert=LogOfNegative(5))
    error = stopped(folder, recipe)
    assert error.exit_code == 1
    assert error.slug == "nan-loss"
    assert "features.4 (LogOfNegative)" in error.message
    assert "output" in error.message
    batch = recipe.seen[20:24]
    assert all(f"{index}.png" in error.message for index in batch)
    assert str(capture(folder)) in str(error)
    assert f"snellen resume {folder.path}" in str(error)
    event = list(folder.events())[-1]
    assert event["slug"] == "nan-loss"
    assert event["step"] == 5
    assert [name.removesuffix(".png") for name in event["files"]] == [str(index) for index in batch]


def test_the_state_before_the_step_is_saved(folder: RunFolder, tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, "short") as short:
        train(Tiny(32, insert=LogOfNegative(5), validation=0), settings(epochs=2, max_steps=5, lr=0.01), short)
        expected = saved(short)
    stopped(folder, Tiny(32, insert=LogOfNegative(5), validation=0), settings(schedule="constant"))
    step, weights = saved(folder)
    assert step == expected[0] == 5
    assert weights.keys() == expected[1].keys()
    # The batch norm before the broken module, and the counter in it, are as they were before the step.
    assert all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())
    assert int(weights["features.4.calls"]) == 5
    assert int(weights["features.1.num_batches_tracked"]) == 5


def test_batch_norm_is_not_poisoned(folder: RunFolder) -> None:
    class First(Tiny):
        def build_model(self) -> nn.Module:
            model = super().build_model()
            model.features.insert(1, LogOfNegative(2))  # type: ignore[union-attr,operator]
            return model

    stopped(folder, First(16))
    step, weights = saved(folder)
    assert step == 2
    assert bool(torch.isfinite(weights["features.2.running_mean"]).all())


def test_an_infinite_gradient_behind_a_finite_loss(folder: RunFolder) -> None:
    error = stopped(folder, Tiny(16, insert=Cut(2)))
    assert "features.4" in error.message
    assert saved(folder)[0] == 2
    assert all(bool(torch.isfinite(tensor).all()) for tensor in saved(folder)[1].values())


def test_a_batch_that_is_broken_itself(folder: RunFolder) -> None:
    class Broken(Tiny):
        def collate(self, samples: Any) -> Any:
            batch = super().collate(samples)
            batch["image"][batch["index"] == 7, 0, 0, 0] = math.inf
            return batch

    recipe = Broken(16)
    error = stopped(folder, recipe)
    assert "batch" in error.message
    assert "image" in error.message
    assert "7.png" in error.message


def test_the_guilty_one_of_accumulated_batches_is_kept(folder: RunFolder) -> None:
    class Marked(Tiny):
        def training_step(self, model: nn.Module, batch: Any) -> Any:
            output = super().training_step(model, batch)
            loss = output.loss + torch.log(-(batch["index"] == 7).float().sum())  # NaN, or minus infinity
            return type(output)(loss if 7 in batch["index"].tolist() else output.loss, output.logs)

    recipe = Marked(32)
    error = stopped(folder, recipe, settings(accumulate=8))
    place = recipe.seen.index(7) // 4 * 4
    guilty = [f"{index}.png" for index in recipe.seen[place : place + 4]]
    assert json.loads((capture(folder) / "capture.json").read_text())["files"] == guilty
    assert all(name in error.message for name in guilty)
    assert "loss" in error.message


def test_a_capture_can_be_replayed_and_mended(folder: RunFolder) -> None:
    stopped(folder, Tiny(32, insert=LogOfNegative(5)))
    found = replay(Tiny(32, insert=LogOfNegative(5)), capture(folder))
    assert "features.4" in str(found)
    assert replay(Tiny(32, insert=LogOfNegative(500)), capture(folder)) is None


def test_nan_cannot_hide_in_the_curves(folder: RunFolder) -> None:
    stopped(folder, Tiny(32, insert=LogOfNegative(5)), settings(tensorboard=True))
    line = list(folder.metrics())[-1]
    assert line["loss"] is None
    assert "loss" in line["non_finite"]
    board = EventAccumulator(str(folder.tensorboard))
    board.Reload()
    assert any(tag.startswith("non_finite/") for tag in board.Tags()["scalars"])


def test_once_mended_the_run_goes_on(folder: RunFolder) -> None:
    stopped(folder, Tiny(32, insert=LogOfNegative(5)))
    result = train(Tiny(32, insert=LogOfNegative(500)), settings(), folder, resume=True)
    assert result.steps == 16
    steps = [line["step"] for line in folder.metrics() if line["kind"] == "train"]
    assert steps == list(range(1, 17))
    assert not any("non_finite" in line for line in folder.metrics())


class Exploding(PlainNetwork):
    """Its loss stays in range, but its gradient leaves that of fp16 at any scale."""

    def forward(self, image: Tensor) -> Tensor:
        logits = super().forward(image)
        return logits + (logits - logits.detach()) * 1e30


def test_fp16_overflows_are_skipped_up_to_a_limit(folder: RunFolder) -> None:
    recipe = Tiny(64, network=Exploding, validation=0)
    with pytest.raises(TrainingStopped) as caught:
        train(recipe, settings(precision="fp16", max_overflows=4), folder)
    assert caught.value.slug is not None
    step, weights = saved(folder)
    assert step == 4
    torch.manual_seed(0)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())


def test_fp16_recovers_from_a_scale_that_is_too_high(folder: RunFolder) -> None:
    result = train(Tiny(64), settings(precision="fp16", epochs=3), folder)
    assert result.steps == 48
    assert result.metrics["accuracy"] >= 0.75
