"""Two processes on the CPU that train together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import Diary, LogOfNegative, OnlyOneRankBreaks, PlainNetwork, Tiny

from snellen.core.run_folder import RunFolder
from snellen.engine.settings import TrainSettings
from snellen.engine.train import train
from snellen.errors import NonFiniteError

SAMPLES = 19


def settings(**changes: Any) -> TrainSettings:
    given = {
        "epochs": 2,
        "batch_size": 4,
        "accelerator": "cpu",
        "optimiser": "sgd",
        "schedule": "constant",
        "log_every": 1,
        "tensorboard": False,
        "lr": 1e-2,
    }
    return TrainSettings(**{**given, **changes})


def lines(folder: RunFolder, kind: str) -> list[dict[str, Any]]:
    return [line for line in folder.metrics() if line["kind"] == kind]


def compare(two: RunFolder, one: RunFolder, diary: Diary, steps: int) -> None:
    """Fail unless two ranks with batches of 4 did what one did with batches of 8."""
    for name in ("loss", "gradient_norm"):
        expected = [line[name] for line in lines(one, "train")][:steps]
        assert [line[name] for line in lines(two, "train")][:steps] == pytest.approx(expected, rel=1e-4)
    assert lines(two, "val")[0]["metrics"] == pytest.approx(lines(one, "val")[0]["metrics"], abs=1e-5)
    assert lines(two, "val")[0]["metrics"]["samples"] == 7
    seen = [[file for line in diary.lines(rank)[:3] for file in line["files"]] for rank in (0, 1)]
    assert sorted(seen[0] + seen[1]) == sorted(f"{index}.png" for index in range(SAMPLES))


def test_two_ranks_do_what_one_does_and_stop_together(tmp_path: Path) -> None:
    """The last step of an epoch has 3 samples, which are shared out unevenly; then the second rank breaks."""
    with RunFolder.create(tmp_path, "two") as two, RunFolder.create(tmp_path, "one") as one:
        diary = Diary(tmp_path / "diary.jsonl")
        recipe = OnlyOneRankBreaks(SAMPLES, network=PlainNetwork, validation=7, insert=LogOfNegative(4))
        with pytest.raises(NonFiniteError, match="LogOfNegative") as caught:
            train(recipe, settings(devices=2), two, observers=[diary])
        alone = Tiny(SAMPLES, network=PlainNetwork, validation=7, insert=LogOfNegative(99))
        train(alone, settings(batch_size=8, max_steps=4), one)
        compare(two, one, diary, 4)
        (capture,) = two.captures.iterdir()
        assert str(capture) in str(caught.value)
        broken = diary.lines(1)[4]
        assert broken["step"] == 4
        assert all(name in caught.value.message for name in broken["files"])
        weights = load_file(two.checkpoints / "last/model.safetensors")
        assert all(bool(torch.isfinite(tensor).all()) for tensor in weights.values())


@pytest.mark.slow
def test_two_ranks_end_with_the_weights_of_one(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, "two") as two, RunFolder.create(tmp_path, "one") as one:
        diary = Diary(tmp_path / "diary.jsonl")
        recipe = Tiny(SAMPLES, network=PlainNetwork, validation=7)
        together = train(recipe, settings(devices=2), two, observers=[diary])
        alone = train(recipe, settings(batch_size=8), one)
        assert together.steps == alone.steps == 6
        compare(two, one, diary, 6)
        weights = [load_file(folder.checkpoints / "last/model.safetensors") for folder in (two, one)]
        assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-5) for name in weights[0])
