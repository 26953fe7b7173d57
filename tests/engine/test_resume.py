"""Going on after a stop of any kind, exactly as if there had been none."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import Diary, Tiny, run_folder

from snellen.core.run_folder import RunFolder
from snellen.engine.settings import TrainSettings
from snellen.engine.train import train
from snellen.errors import Interrupted, RunFolderError

FORK = multiprocessing.get_context("fork")
"""A forked child is a process of its own, which need not import torch again."""

SAMPLES = 30


def settings(**changes: Any) -> TrainSettings:
    given = {
        "epochs": 3,
        "batch_size": 4,
        "accumulate": 2,
        "accelerator": "cpu",
        "ema_decay": 0.9,
        "lr": 1e-2,
        "log_every": 1,
        "tensorboard": False,
    }
    return TrainSettings(**{**given, **changes})


def run(place: Path, given: TrainSettings, *, resume: bool = False, pause: float = 0.0) -> None:
    """Train in this process; what it goes through is noted beside the folder."""
    with run_folder(place / "run") as folder:
        diary = Diary(place / "diary.jsonl", pause=pause)
        train(Tiny(SAMPLES), given, folder, observers=[diary], resume=resume)


def final(place: Path) -> dict[str, Any]:
    """All that a run left, without times and memory."""
    last = place / "run/checkpoints/last"
    state = json.loads((last / "state.json").read_text())
    state["position"].pop("seconds")
    metrics = [
        {name: value for name, value in line.items() if name not in {"seconds", "samples_per_second", "memory_bytes"}}
        for line in RunFolder.open(place / "run", lock=False).metrics()
    ]
    best = json.loads((place / "run/checkpoints/best/state.json").read_text())["position"]["step"]
    return {"state": state, "metrics": metrics, "best": best}


def tensors(place: Path) -> dict[str, torch.Tensor]:
    last = place / "run/checkpoints/last"
    return {
        f"{file.stem}/{name}": tensor for file in last.glob("*.safetensors") for name, tensor in load_file(file).items()
    }


def same(one: Path, other: Path) -> None:
    """Fail unless two runs left the same, bit for bit, and went through the same samples."""
    assert final(one) == final(other)
    left, right = tensors(one), tensors(other)
    assert left.keys() == right.keys()
    assert any(name.startswith("ema/") for name in left)
    assert any(name.startswith("optimiser/") for name in left)
    different = [name for name in left if not torch.equal(left[name], right[name])]
    assert not different
    orders: list[dict[int, Any]] = []
    for place in (one, other):
        order: dict[int, Any] = {}
        for line in Diary(place / "diary.jsonl").lines():
            # A step that was done again after a kill took the same samples.
            assert order.setdefault(line["step"], line) == line
        orders.append(order)
    assert orders[0] == orders[1]


@pytest.fixture
def uninterrupted(tmp_path: Path) -> Path:
    place = tmp_path / "uninterrupted"
    place.mkdir()
    run(place, settings())
    return place


def killed_again_and_again(place: Path, kills: int, seed: int, **changes: Any) -> int:
    """Kill a run with SIGKILL at random moments, and resume it until it ends; how many kills met it alive."""
    chance = random.Random(seed)
    met = 0
    for attempt in range(kills + 1):
        started = (place / "run/format.json").exists()
        child = FORK.Process(
            target=run,
            args=(place, settings(checkpoint_every=1, **changes)),
            kwargs={"resume": started, "pause": 0.004},
        )
        child.start()
        if attempt < kills:
            before = len(diary(place))
            # Some steps further, and then anywhere in a step: in the pause, in the step, or in the middle of saving.
            deadline = time.monotonic() + 60
            while (
                child.is_alive() and len(diary(place)) < before + chance.randint(1, 3) and time.monotonic() < deadline
            ):
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.02))
            met += child.is_alive()
            child.kill()
        child.join(60)
    assert child.exitcode == 0
    return met


def diary(place: Path) -> list[str]:
    path = place / "diary.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def test_killed_at_random_moments(tmp_path: Path, uninterrupted: Path) -> None:
    place = tmp_path / "killed"
    place.mkdir()
    assert killed_again_and_again(place, 3, seed=time.time_ns()) >= 2
    same(uninterrupted, place)


def test_killed_with_workers(tmp_path: Path, uninterrupted: Path) -> None:
    place = tmp_path / "killed"
    place.mkdir()
    killed_again_and_again(place, 1, seed=7, workers=1)
    same(uninterrupted, place)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_twenty_times(tmp_path: Path, seed: int) -> None:
    places = [tmp_path / "uninterrupted", tmp_path / "killed"]
    for place in places:
        place.mkdir()
    run(places[0], settings(epochs=20))
    assert killed_again_and_again(places[1], 20, seed=seed, epochs=20) >= 15
    same(*places)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_answered_after_the_step(tmp_path: Path, uninterrupted: Path, number: signal.Signals) -> None:
    place = tmp_path / "signalled"
    place.mkdir()

    class Signalling(Diary):
        def observe(self, step: Any) -> Any:
            if step.step == 5:
                os.kill(os.getpid(), number)
            return super().observe(step)

    with run_folder(place / "run") as folder:
        with pytest.raises(Interrupted, match=r"stopped after step [67] of 12") as caught:
            train(Tiny(SAMPLES), settings(), folder, observers=[Signalling(place / "diary.jsonl")])
        assert caught.value.exit_code == 130
        assert f"snellen resume {folder.path}" in str(caught.value)
        assert [event["slug"] for event in folder.events()][-1] == "interrupted"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    run(place, settings(), resume=True)
    same(uninterrupted, place)


def test_a_signal_during_an_evaluation(tmp_path: Path, uninterrupted: Path) -> None:
    place = tmp_path / "signalled"
    place.mkdir()

    class Signalling(Tiny):
        def evaluation_step(self, model: Any, batch: Any) -> Any:
            torch.rand(3)
            os.kill(os.getpid(), signal.SIGTERM)
            return super().evaluation_step(model, batch)

    with run_folder(place / "run") as folder, pytest.raises(Interrupted, match="after step 4"):
        train(Signalling(SAMPLES), settings(), folder, observers=[Diary(place / "diary.jsonl")])
    run(place, settings(), resume=True)
    same(uninterrupted, place)


def test_resuming_a_finished_run_changes_nothing(uninterrupted: Path) -> None:
    before = final(uninterrupted)
    run(uninterrupted, settings(), resume=True)
    assert final(uninterrupted) == before


def test_resuming_before_the_first_checkpoint_starts_from_the_beginning(tmp_path: Path, uninterrupted: Path) -> None:
    place = tmp_path / "early"
    place.mkdir()
    RunFolder.create(place, "run").close()
    run(place, settings(), resume=True)
    same(uninterrupted, place)
    events = list(RunFolder.open(place / "run", lock=False).events())
    assert any(event["slug"] == "resume" and "beginning" in event["message"] for event in events)


def test_another_order_of_samples_is_refused(tmp_path: Path) -> None:
    run(tmp_path, settings(epochs=1))
    with pytest.raises(RunFolderError, match=r"batch_size 4 \(now 5\)") as caught:
        run(tmp_path, settings(epochs=2, batch_size=5), resume=True)
    assert caught.value.hint is not None


def test_curves_do_not_turn_back(tmp_path: Path) -> None:
    run(tmp_path, settings(epochs=1))
    with (tmp_path / "run/metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "epoch": 1, "step": 5, "loss": 1.0}\n{"kind": "tr')
    run(tmp_path, settings(epochs=2), resume=True)
    steps = [line["step"] for line in RunFolder.open(tmp_path / "run", lock=False).metrics()]
    assert steps == sorted(steps)
    assert steps == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8]
