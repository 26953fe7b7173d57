"""`snellen trace` and `snellen estimate` as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from snellen.cli.main import main

NET = """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Linear(8, 2)
    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))
"""


def snellen(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snellen", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs the command line in this process, which has torch loaded; gives exit code, stdout and stderr."""
    monkeypatch.chdir(folder)

    def call(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["snellen", *arguments])
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        return code, *capfd.readouterr()

    return call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NET)
    return tmp_path


def test_trace_shows_every_module(folder: Path) -> None:
    done = snellen(folder, "trace", "net.py:Net", "--input", "2x3x16x16", "--json")
    data = json.loads(done.stdout)
    assert done.returncode == 0
    assert [row["name"] for row in data["rows"]] == ["", "body", "head"]
    assert data["rows"][1]["outputs"] == [[2, 8, 16, 16]]
    assert "2x8x16x16" in snellen(folder, "trace", "net.py:Net", "--input", "2x3x16x16").stdout


def test_trace_takes_two_images_where_one_alone_stops_a_normalisation(folder: Path, here: Callable[..., Any]) -> None:
    net = "nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4))"
    (folder / "pooled.py").write_text(f"from torch import nn\n\ndef build():\n    return {net}\n")
    code, out, _ = here("trace", "pooled.py:build", "--json")
    data = json.loads(out)
    assert (code, data["problem"], data["rows"][0]["inputs"]) == (0, "", [[2, 3, 224, 224]])
    assert data["remark"].startswith("2 normalises over the batch")
    code, out, _ = here("trace", "pooled.py:build", "--input", "1x3x16x16")
    assert code == 1, "what was asked for is answered"
    assert "stopped in 2 (BatchNorm2d)" in out


def test_trace_names_the_module_that_refuses(here: Callable[..., Any]) -> None:
    code, out, err = here("trace", "net.py:Net", "--input", "2x4x16x16")
    assert code == 1
    assert "stopped in body (Conv2d), given 2x4x16x16" in out
    assert "Traceback" not in err


def test_estimate_prints_a_line_for_each_machine(here: Callable[..., Any]) -> None:
    arguments = ("estimate", "net.py:Net", "--input", "3x1024x1024", "--batch-size", "4")
    _, out, _ = here(*arguments, "--machine", "kaggle-t4", "--machine", "h200", "--json")
    lines = json.loads(out)["machines"]
    assert [(line["machine"], line["precision"], line["fits"]) for line in lines] == [
        ("kaggle-t4", "fp16", "yes"),
        ("h200", "bf16", "yes"),
    ]
    assert 0 < lines[0]["largest_batch"] < lines[1]["largest_batch"]
    assert lines[0]["step_seconds"][0] < lines[0]["step_seconds"][1]


def test_what_does_not_fit_is_an_exit_code_of_one(here: Callable[..., Any]) -> None:
    arguments = ("--input", "3x8192x8192", "--batch-size", "64", "--machine", "kaggle-t4")
    code, out, _ = here("estimate", "net.py:Net", *arguments)
    assert code == 1
    assert "does not fit" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trace", "resnet19"), "no model is called 'resnet19'"),
        (("trace", "net.py:Net", "--input", "3xx"), "'3xx' is no shape"),
        (("estimate", "net.py:Net", "--machine", "kaggle-t5"), "did you mean kaggle-t4"),
        (("estimate", "gone.yaml"), "gone.yaml"),
        (("estimate", "net.py:Net", "optim.epochs=1"), "which has no setting 'optim.epochs=1'"),
    ],
)
def test_unusable_input_is_one_clear_line(here: Callable[..., Any], arguments: tuple[str, ...], message: str) -> None:
    code, _, err = here(*arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


@pytest.mark.filterwarnings("ignore")
def test_a_timed_step_is_set_beside_what_was_predicted(here: Callable[..., Any]) -> None:
    arguments = ("estimate", "net.py:Net", "--input", "3x160x160", "--batch-size", "4", "--machine", "cpu")
    code, out, err = here(*arguments, "--calibrate", "--json")
    found = json.loads(out)["calibration"]
    assert (code, err) == (0, "")
    assert found["steps"] >= 1
    assert 0 < found["computing"] <= found["seconds"]
    assert 0 < found["predicted"][0] < found["predicted"][1]
    assert found["allocated"] == pytest.approx(found["predicted_allocated"], rel=0.03)
    _, out, _ = here(*arguments, "--calibrate")
    assert "timed here: " in out
    assert "MiB, predicted" in out


def test_what_is_not_trained_is_not_timed(here: Callable[..., Any]) -> None:
    code, _, err = here("estimate", "net.py:Net", "--input", "3x16x16", "--inference", "--calibrate")
    assert code == 2
    assert "only training is calibrated" in err


RUN = """
task: classify
data: {train: photos/train, val: photos/val, image_size: 32}
model: {name: resnet18, pretrained: false, options: {layers: [1, 1, 1, 1], channels: [8, 8, 8, 8]}}
optim: {epochs: 3, batch_size: 4}
precision: fp32
"""


@pytest.fixture
def run_file(folder: Path) -> Path:
    for split in ("train", "val"):
        for name, colour in (("dark", 40), ("light", 200)):
            place = folder / "photos" / split / name
            place.mkdir(parents=True)
            for number in range(4):
                Image.effect_noise((40, 36), colour + number).convert("RGB").save(place / f"{split}{number}.png")
    path = folder / "run.yaml"
    path.write_text(RUN)
    return path


@pytest.mark.filterwarnings("ignore")
def test_hours_of_a_run_follow_the_step_that_was_timed_where_it_is_meant_for_this_machine(
    run_file: Path, here: Callable[..., Any]
) -> None:
    arguments = ("estimate", "run.yaml", "--machine", "cpu", "--calibrate", "--json")
    found = json.loads(here(*arguments)[1])
    each = f"{found['calibration']['seconds']:.3f} s as timed here"
    assert any(each in line for line in found["hours"]), found["hours"]
    assert any("6 steps" in line for line in found["hours"])
    run_file.write_text(f"{RUN}machine: kaggle-t4\n")
    found = json.loads(here(*arguments)[1])
    assert found["calibration"]["seconds"] > 0
    assert not any("as timed here" in line for line in found["hours"])
    assert any("kaggle-t4 has 12 hours" in line for line in found["hours"])


@pytest.mark.filterwarnings("ignore")
def test_settings_on_the_command_line_win_over_the_run_file(run_file: Path, here: Callable[..., Any]) -> None:
    arguments = ("estimate", "run.yaml", "--machine", "kaggle-t4", "--json")
    written = json.loads(here(*arguments)[1])
    code, out, _ = here(*arguments, "optim.batch_size=2", "data.image_size=64", "precision=fp16", "machine=kaggle-t4")
    given = json.loads(out)
    line = given["machines"][0]
    assert (code, given["batch_size"], line["precision"]) == (0, 2, "fp16")
    assert line["allocated_bytes"] != written["machines"][0]["allocated_bytes"]
    assert any("12 steps" in sentence for sentence in given["hours"]), given["hours"]
    code, _, err = here(*arguments, "optim.lrr=1", "optim.epochs=soon")
    assert code == 2
    assert "optim.lrr" in err
    assert "optim.epochs" in err
    code, _, err = here(*arguments, "optim.epochs")
    assert code == 2
    assert "expected key=value" in err
