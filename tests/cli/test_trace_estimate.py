"""`snellen trace` and `snellen estimate` as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_trace_names_the_module_that_refuses(folder: Path) -> None:
    done = snellen(folder, "trace", "net.py:Net", "--input", "2x4x16x16")
    assert done.returncode == 1
    assert "stopped in body (Conv2d), given 2x4x16x16" in done.stdout
    assert "Traceback" not in done.stderr


def test_estimate_prints_a_line_for_each_machine(folder: Path) -> None:
    arguments = ("estimate", "net.py:Net", "--input", "3x1024x1024", "--batch-size", "4")
    done = snellen(folder, *arguments, "--machine", "kaggle-t4", "--machine", "h200", "--json")
    lines = json.loads(done.stdout)["machines"]
    assert [(line["machine"], line["precision"], line["fits"]) for line in lines] == [
        ("kaggle-t4", "fp16", "yes"),
        ("h200", "bf16", "yes"),
    ]
    assert 0 < lines[0]["largest_batch"] < lines[1]["largest_batch"]
    assert lines[0]["step_seconds"][0] < lines[0]["step_seconds"][1]


def test_what_does_not_fit_is_an_exit_code_of_one(folder: Path) -> None:
    arguments = ("--input", "3x8192x8192", "--batch-size", "64", "--machine", "kaggle-t4")
    done = snellen(folder, "estimate", "net.py:Net", *arguments)
    assert done.returncode == 1
    assert "does not fit" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trace", "resnet19"), "no model is called 'resnet19'"),
        (("trace", "net.py:Net", "--input", "3xx"), "'3xx' is no shape"),
        (("estimate", "net.py:Net", "--machine", "kaggle-t5"), "did you mean kaggle-t4"),
        (("estimate", "gone.yaml"), "gone.yaml"),
    ],
)
def test_unusable_input_is_one_clear_line(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    done = snellen(folder, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
