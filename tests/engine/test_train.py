"""One run in this process: what is trained on, what is written, when it ends."""

from __future__ import annotations

import copy
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import Diary, PlainNetwork, Tiny

from snellen.core.run_folder import RunFolder
from snellen.core.step import Action, Step, Verdict
from snellen.engine.evaluate import evaluate
from snellen.engine.settings import TrainSettings
from snellen.engine.train import train
from snellen.errors import ContractError, DataError, TrainingStopped, UsageError


def settings(**changes: Any) -> TrainSettings:
    given = {"epochs": 2, "batch_size": 4, "accelerator": "cpu", "log_every": 1, "tensorboard": False, "lr": 1e-2}
    return TrainSettings(**{**given, **changes})


def weights(folder: RunFolder, name: str = "model") -> dict[str, torch.Tensor]:
    return load_file(folder.checkpoints / "last" / f"{name}.safetensors")


def test_training_learns_and_reports_what_it_did(folder: RunFolder) -> None:
    recipe = Tiny(64)
    result = train(recipe, settings(epochs=6, ema_decay=0.5), folder)
    assert not result.stopped_early
    assert (result.epochs, result.steps) == (6, 6 * 16)
    assert result.metrics["accuracy"] >= 0.9
    assert result.seconds > 0
    values = [line["metrics"]["loss"] for line in folder.metrics() if line["kind"] == "val"]
    assert result.best == min(values)
    assert result.best_step == 16 * (1 + values.index(result.best))
    # The averaged weights are those that are evaluated.
    assert evaluate(recipe, settings(), folder.path, "val")["loss"] == pytest.approx(result.best)
    assert evaluate(recipe, settings(), folder.path, "val", which="last") == pytest.approx(result.metrics)


def test_every_sample_once_an_epoch_in_a_new_order(folder: RunFolder) -> None:
    recipe = Tiny(19)
    train(recipe, settings(), folder)
    first, second = recipe.seen[:19], recipe.seen[19:]
    assert sorted(first) == sorted(second) == list(range(19))
    assert first != second


def test_workers_change_nothing(tmp_path: Path) -> None:
    results = []
    for workers in (0, 2):
        with RunFolder.create(tmp_path, f"{workers}") as folder:
            train(Tiny(16), settings(workers=workers), folder)
            results.append(weights(folder))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_accumulated_micro_batches_equal_a_large_batch(tmp_path: Path) -> None:
    results = []
    for size, accumulate in ((12, 1), (4, 3)):
        with RunFolder.create(tmp_path, f"{size}-{accumulate}") as folder:
            # 30 samples do not fill the last step: its micro-batches are smaller, but each sample counts the same.
            recipe = Tiny(30, network=PlainNetwork)
            train(recipe, settings(batch_size=size, accumulate=accumulate, epochs=1, optimiser="sgd"), folder)
            results.append((weights(folder), recipe.seen))
    (large, order), (small, same_order) = results
    assert order == same_order
    assert all(torch.allclose(large[name], small[name], atol=1e-6) for name in large)


class Keeping(Tiny):
    """Keeps the weights it began with and the batches it was trained on."""

    def build_model(self) -> torch.nn.Module:
        model = super().build_model()
        self.start = copy.deepcopy(model.state_dict())
        self.batches: list[dict[str, Any]] = []
        return model

    def training_step(self, model: Any, batch: dict[str, Any]) -> Any:
        self.batches.append(copy.deepcopy(batch))
        return super().training_step(model, batch)


def test_matches_a_plain_loop(folder: RunFolder) -> None:
    recipe = Keeping(16, network=PlainNetwork)
    constant = settings(epochs=1, schedule="constant", warmup_fraction=0.0, clip_norm=0.1, weight_decay=0.05)
    train(recipe, constant, folder)
    model = PlainNetwork()
    model.load_state_dict(recipe.start)
    optimiser = torch.optim.AdamW(
        [
            {"params": model.features.parameters(), "lr": 0.5e-2, "weight_decay": 0.05},
            {"params": model.head.parameters(), "lr": 1e-2, "weight_decay": 0.0},
        ]
    )
    for batch in recipe.batches:
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(batch["image"]), batch["label"]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimiser.step()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in weights(folder).items())


def test_samples_do_not_touch_the_model_s_random_numbers(tmp_path: Path) -> None:
    class Drawing:
        """Fixed samples, whose reading draws random numbers or does not."""

        def __init__(self, draws: int) -> None:
            self.draws = draws

        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> dict[str, Any]:
            torch.rand(self.draws)
            return {"file": f"{index}", "image": torch.full((3, 12, 12), index / 8), "label": index % 2, "index": index}

    results = []
    for draws in (0, 7):
        recipe = Tiny(8, validation=0)
        recipe.train_dataset = lambda draws=draws: Drawing(draws)  # type: ignore[method-assign]
        with RunFolder.create(tmp_path, f"{draws}") as folder:
            train(recipe, settings(epochs=2), folder)
            results.append(weights(folder))
    # The network drops features at random, so it would differ if reading had moved the generator.
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_early_stopping_counts_evaluations_without_improvement(folder: RunFolder) -> None:
    class Worsening(Tiny):
        def new_metrics(self) -> Any:
            metrics = super().new_metrics()
            self.evaluations = getattr(self, "evaluations", 0) + 1
            value = float(self.evaluations) if self.evaluations > 1 else 2.0
            metrics.compute = lambda: {"loss": {1: 2.0, 2: 1.0}.get(self.evaluations, value)}
            return metrics

    result = train(Worsening(8), settings(epochs=20, patience=3), folder)
    assert result.stopped_early
    assert result.best == 1.0
    assert result.steps == 2 * (2 + 3)
    assert result.best_step == 4


def test_a_metric_that_is_nan_is_never_the_best(folder: RunFolder) -> None:
    class Broken(Tiny):
        def new_metrics(self) -> Any:
            metrics = super().new_metrics()
            metrics.compute = lambda: {"loss": math.nan}
            return metrics

    result = train(Broken(8), settings(epochs=1), folder)
    assert result.best is None
    line = [line for line in folder.metrics() if line["kind"] == "val"][-1]
    assert line["metrics"]["loss"] is None
    assert line["non_finite"] == ["metrics.loss"]


def test_max_steps_ends_within_an_epoch(folder: RunFolder) -> None:
    result = train(Tiny(32), settings(max_steps=5), folder)
    assert (result.steps, result.stopped_early) == (5, False)
    assert result.metrics["samples"] == 8


def test_learning_rate_and_logs_are_written(folder: RunFolder) -> None:
    train(Tiny(16), settings(epochs=1, schedule="constant", warmup_fraction=0.5, tensorboard=True), folder)
    lines = [line for line in folder.metrics() if line["kind"] == "train"]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    # The first group learns at half the rate.
    assert [line["lr"] for line in lines] == pytest.approx([0.0025, 0.005, 0.005, 0.005])
    assert all(line["logs"]["margin"] > 0 and line["gradient_norm"] > 0 for line in lines)
    assert all(line["samples_per_second"] > 0 and line["memory_bytes"] > 0 for line in lines)
    board = EventAccumulator(str(folder.tensorboard))
    board.Reload()
    assert [event.step for event in board.Scalars("train/loss")] == [1, 2, 3, 4]
    assert [event.value for event in board.Scalars("train/loss")] == pytest.approx([line["loss"] for line in lines])


def test_the_run_outlives_its_tracker(folder: RunFolder) -> None:
    folder.metrics_file.mkdir()
    folder.tensorboard.rmdir()
    folder.tensorboard.write_text("a file stands in the way")
    result = train(Tiny(16), settings(tensorboard=True), folder)
    assert result.steps == 8
    reports = [event["message"] for event in folder.events() if event["slug"] == "tracker-failed"]
    assert len(reports) == 2
    assert "metrics.jsonl" in reports[0]
    assert "TensorBoard" in reports[1]


def test_an_unreadable_sample_is_a_sentence(folder: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="picture 3 is torn") as caught:
        train(Tiny(8, broken=3), settings(), folder)
    assert caught.value.hint == "copy it again"
    with RunFolder.create(tmp_path, "workers") as other, pytest.raises(DataError) as caught:
        train(Tiny(8, broken=3), settings(workers=1), other)
    assert caught.value.message == "picture 3 is torn"
    assert caught.value.hint == "copy it again"


def test_observers_see_every_step_before_it_is_done(folder: RunFolder) -> None:
    steps: list[Step] = []

    class Watching:
        def observe(self, step: Step) -> list[Verdict]:
            steps.append(step)
            return []

    recipe = Tiny(16)
    train(recipe, settings(epochs=1), folder, observers=[Watching()])
    assert [step.step for step in steps] == [0, 1, 2, 3]
    assert [int(file.removesuffix(".png")) for step in steps for file in step.files] == recipe.seen
    assert all(step.finite and step.precision == "fp32" and step.loss_scale is None for step in steps)
    assert set(steps[1].seconds) == {"data", "forward", "backward", "optimiser"}


@pytest.mark.parametrize("action", [Action.STOP, Action.SKIP, Action.ROLLBACK])
def test_an_observer_can_stop_the_run(folder: RunFolder, tmp_path: Path, action: Action) -> None:
    diary = Diary(tmp_path / "diary.jsonl", action=action, at=2)
    with pytest.raises(TrainingStopped, match="the test says so") as caught:
        train(Tiny(16), settings(), folder, observers=[diary])
    assert caught.value.slug == "test-rule"
    assert f"snellen resume {folder.path}" in str(caught.value)
    assert ("cannot" in caught.value.message) == (action is not Action.STOP)
    event = list(folder.events())[-1]
    assert event["slug"] == "test-rule"
    state = json.loads((folder.checkpoints / "last" / "state.json").read_text())
    assert state["position"]["step"] == 2


def test_what_cannot_be_used_is_refused(folder: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="training set"):
        train(Tiny(0), settings(), folder)
    recipe = Tiny(8)
    recipe.headline = "iou"
    with pytest.raises(ContractError, match="'iou'"):
        train(recipe, settings(), folder)
    with RunFolder.create(tmp_path, "trained") as other:
        train(Tiny(8), settings(epochs=1), other)
        with pytest.raises(DataError, match="'test'"):
            evaluate(Tiny(8), settings(), other.path, "test")
        with pytest.raises(UsageError, match="snellen resume"):
            train(Tiny(8), settings(epochs=1), other)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_on_a_cpu(folder: RunFolder, precision: Any) -> None:
    dtypes = set()

    class Looking(Tiny):
        def training_step(self, model: Any, batch: Any) -> Any:
            hook = model.module.head.register_forward_hook(lambda _, __, output: dtypes.add(output.dtype))
            output = super().training_step(model, batch)
            hook.remove()
            return output

    result = train(Looking(32), settings(epochs=3, precision=precision), folder)
    assert dtypes == {{"bf16": torch.bfloat16, "fp16": torch.float16}[precision]}
    assert result.metrics["accuracy"] >= 0.75


def test_epochs_count_for_evaluation(folder: RunFolder) -> None:
    train(Tiny(8), settings(epochs=5, evaluate_every=2), folder)
    assert [line["epoch"] for line in folder.metrics() if line["kind"] == "val"] == [1, 3, 4]
    assert Counter(line["kind"] for line in folder.metrics())["train"] == 10
