"""Checkpoints that are damaged, of another version, too large for the disk, and what they hold."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import Diary, Network, PlainNetwork, Tiny

from snellen.core.run_folder import RunFolder
from snellen.engine.checkpoint import load_weights
from snellen.engine.settings import TrainSettings
from snellen.engine.train import train
from snellen.errors import RunFolderError, WeightsError


def settings(**changes: Any) -> TrainSettings:
    given = {"epochs": 3, "batch_size": 4, "accelerator": "cpu", "tensorboard": False, "lr": 1e-2}
    return TrainSettings(**{**given, **changes})


def tear(checkpoint: Path) -> None:
    file = checkpoint / "optimiser.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def flip(checkpoint: Path) -> None:
    file = checkpoint / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-7] ^= 1
    file.write_bytes(data)


def lose(checkpoint: Path) -> None:
    (checkpoint / "state.json").unlink()


def empty(checkpoint: Path) -> None:
    (checkpoint / "manifest.json").write_text("")


@pytest.mark.parametrize("damage", [tear, flip, lose, empty])
def test_a_damaged_one_is_passed_over_and_said_so(folder: RunFolder, damage: Callable[[Path], None]) -> None:
    train(Tiny(8), settings(), folder)
    # A copy: `load_file` looks into the file, which is about to be damaged.
    whole = {name: tensor.clone() for name, tensor in load_file(folder.checkpoints / "last/model.safetensors").items()}
    damage(folder.checkpoints / "last")
    train(Tiny(8), settings(), folder, resume=True)
    events = [event for event in folder.events() if event["slug"] in {"torn-checkpoint", "resume"}]
    assert [event["slug"] for event in events] == ["torn-checkpoint", "resume"]
    assert events[-1]["step"] == 4
    again = load_file(folder.checkpoints / "last" / "model.safetensors")
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_none_left_is_an_error(folder: RunFolder) -> None:
    train(Tiny(8), settings(), folder)
    for checkpoint in folder.checkpoints.iterdir():
        flip(checkpoint)
    with pytest.raises(RunFolderError, match="no whole checkpoint"):
        train(Tiny(8), settings(), folder, resume=True)
    with pytest.raises(RunFolderError, match="damaged"):
        load_weights(Network(), folder.checkpoints)


def test_another_format_is_refused(folder: RunFolder) -> None:
    train(Tiny(8), settings(epochs=1), folder)
    manifest = folder.checkpoints / "last" / "manifest.json"
    content = {**json.loads(manifest.read_text()), "format": 0}
    del content["sha256"]
    content["sha256"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    manifest.write_text(json.dumps(content))
    with pytest.raises(RunFolderError, match="checkpoint format 0, this Snellen reads format 1"):
        train(Tiny(8), settings(epochs=1), folder, resume=True)


def test_the_best_and_the_last_ones_are_kept(folder: RunFolder) -> None:
    class Scripted(Tiny):
        values = [3.0, 1.0, 2.0, 2.0, 2.0, 2.0]  # noqa: RUF012

        def new_metrics(self) -> Any:
            metrics = super().new_metrics()
            metrics.compute = lambda: {"loss": self.values.pop(0)}
            return metrics

    train(Scripted(8), settings(epochs=6, keep_last=3, ema_decay=0.5), folder)
    assert {"last", "last.1", "last.2", "best"} <= {path.name for path in folder.checkpoints.iterdir()}
    steps = {path.name: json.loads((path / "state.json").read_text())["position"]["step"] for path in folders(folder)}
    assert [steps[name] for name in ("last", "last.1", "last.2", "best")] == [12, 10, 8, 4]
    best, model, averaged = Network(), Network(), Network()
    load_weights(best, folder.checkpoints)
    load_weights(model, folder.checkpoints, which="last", prefer_ema=False)
    load_weights(averaged, folder.checkpoints, which="last")
    for loaded, file in ((best, "best/ema"), (model, "last/model"), (averaged, "last/ema")):
        assert torch.equal(loaded.head.weight, load_file(folder.checkpoints / f"{file}.safetensors")["head.weight"])
    assert not torch.equal(model.head.weight, averaged.head.weight)


def folders(folder: RunFolder) -> list[Path]:
    return [path for path in folder.checkpoints.iterdir() if path.is_dir()]


def test_weights_that_do_not_fit_are_refused(folder: RunFolder) -> None:
    with pytest.raises(WeightsError, match="no 'best' checkpoint"):
        load_weights(Network(), folder.checkpoints)
    train(Tiny(8), settings(epochs=1), folder)
    for other in (PlainNetwork(), Headless()):
        with pytest.raises(WeightsError, match=type(other).__name__):
            load_weights(other, folder.checkpoints)
    with pytest.raises(WeightsError, match="PlainNetwork"):
        train(Tiny(8, network=PlainNetwork), settings(epochs=2), folder, resume=True)


class Headless(Network):
    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(800, 3)


def test_nothing_is_pickled(folder: RunFolder) -> None:
    train(Tiny(8), settings(epochs=1, ema_decay=0.5), folder)
    files = [path for path in folder.checkpoints.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json"}


def test_tied_weights(folder: RunFolder) -> None:
    class Tied(Network):
        def __init__(self) -> None:
            super().__init__()
            self.again = self.head

    train(Tiny(8, network=Tied), settings(epochs=1), folder)
    load_weights(Tied(), folder.checkpoints)
    train(Tiny(8, network=Tied), settings(epochs=2), folder, resume=True)


def _train_with_a_full_disk(place: Path) -> None:
    class Filling(Diary):
        def observe(self, step: Any) -> Any:
            if step.step == 3:
                resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
            return []

    with RunFolder.open(place) as folder:
        try:
            train(Tiny(8), settings(), folder, observers=[Filling(place)])
        except RunFolderError as error:
            # As every write tells it, not in the words of the library that wrote.
            raise SystemExit(3 if "os error" in error.message else error.exit_code) from None


def test_a_full_disk_leaves_the_one_before(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, "run").close()
    child = multiprocessing.get_context("fork").Process(target=_train_with_a_full_disk, args=(tmp_path / "run",))
    child.start()
    child.join(60)
    assert child.exitcode == 2
    with RunFolder.open(tmp_path / "run") as folder:
        assert train(Tiny(8), settings(), folder, resume=True).steps == 6
