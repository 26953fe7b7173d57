"""Curves to Weights & Biases: now, later, and with servers that hang or die."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from snellen.core.run_folder import RunFolder
from snellen.engine.uploading import Uploader
from trackers import dying_server, hanging_server, working_server

KEY = "a" * 40


def make_run(root: Path, lines: int = 3) -> Path:
    with RunFolder.create(root, "first") as folder:
        folder.run_file.write_text("task: forgery\n", encoding="utf-8")
        for step in range(1, lines + 1):
            folder.metric(kind="train", epoch=0, step=step, loss=1.0 / step, seconds={"data": 0.1})
        return folder.path


def sync(folder: Path, address: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    return subprocess.run(
        [sys.executable, "-m", "snellen", "sync", str(folder), *arguments],
        env={**known, "WANDB_BASE_URL": address, "WANDB_API_KEY": KEY, "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def losses(history: list[dict[str, Any]]) -> dict[int, float]:
    return {int(line["_step"]): line["train/loss"] for line in history if "train/loss" in line}


def test_curves_are_uploaded_once_and_the_rest_later(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with working_server() as (address, history):
        first = sync(run, address, "--json")
        again = sync(run, address, "--json")
        with RunFolder.open(run) as folder:
            folder.metric(kind="train", epoch=0, step=4, loss=0.2, non_finite=["gradient_norm"])
        more = sync(run, address, "--json")

    reports = [json.loads(ended.stdout)["runs"][0] for ended in (first, again, more)]
    assert [(one["uploaded"], one["before"]) for one in reports] == [(3, 0), (0, 3), (1, 3)]
    assert losses(history) == pytest.approx({1: 1.0, 2: 0.5, 3: 1 / 3, 4: 0.2})
    assert history[-1]["non_finite/train/gradient_norm"] == 1.0


@pytest.mark.parametrize("server", [hanging_server, dying_server])
def test_a_server_that_hangs_or_dies_costs_one_line_and_no_curve(tmp_path: Path, server: Any) -> None:
    run = make_run(tmp_path)
    curves = (run / "metrics.jsonl").read_bytes()
    with server() as address:
        ended = sync(run, address, "--patience", "4")

    assert ended.returncode == 2
    assert "did not take the curves" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert (run / "metrics.jsonl").read_bytes() == curves
    assert not (run / "wandb.json").exists()


@pytest.mark.parametrize(
    ("environment", "reason"),
    [({"WANDB_API_KEY": ""}, "there is no key"), ({"WANDB_MODE": "offline"}, "WANDB_MODE"), ({}, "does not answer")],
)
def test_without_key_or_network_it_says_so_at_once(tmp_path: Path, environment: dict[str, str], reason: str) -> None:
    ended = sync(make_run(tmp_path), "http://127.0.0.1:9", **environment)
    assert ended.returncode == 2
    assert reason in ended.stderr


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    ended = sync(tmp_path, "http://127.0.0.1:9")
    assert ended.returncode == 2
    assert "is no run's folder" in ended.stderr


def test_a_run_uploads_while_it_goes_on_and_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with working_server() as (address, history):
        monkeypatch.setenv("WANDB_BASE_URL", address)
        uploader = Uploader(run, project="tests")
        with uploader, RunFolder.open(run) as folder:
            folder.metric(kind="train", epoch=0, step=4, loss=0.25)
            problem = uploader.close()

    assert problem == ""
    assert losses(history) == pytest.approx({1: 1.0, 2: 0.5, 3: 1 / 3, 4: 0.25})


def test_a_run_ends_beside_a_server_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr("snellen.engine.uploading._GRACE_SECONDS", 3.0)
    with hanging_server() as address:
        monkeypatch.setenv("WANDB_BASE_URL", address)
        uploader = Uploader(run, project="tests")
        with uploader:
            problem = uploader.close()

    assert "did not answer" in problem
