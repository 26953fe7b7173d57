"""What is recorded of machine and code."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from drivers import Card, nvidia_smi
from snellen.core.edits import apply_edits
from snellen.core.environment import collect, cpu_count, memory_limit, repository_state
from snellen.core.finding import Edit


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_environment_is_plain_data_and_names_what_matters(tmp_path):
    found = collect(code=[tmp_path], seed=3)
    json.dumps(found, allow_nan=False)
    assert found["seed"] == 3
    assert found["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}")
    assert "pydantic" in found["packages"]
    assert found["cpus"] >= 1
    assert cpu_count() >= 1
    assert memory_limit() is None or memory_limit() > 2**26


def test_the_state_of_a_repository_follows_its_changes(tmp_path):
    assert repository_state(tmp_path) is None
    git(tmp_path, "init", "-q")
    (tmp_path / "model.py").write_text("a = 1\n")
    first = repository_state(tmp_path / "model.py")
    assert (first["commit"], first["dirty"]) == (None, True)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "x")
    clean = repository_state(tmp_path)
    assert (len(clean["commit"]), clean["dirty"], clean["diff_sha256"]) == (40, False, None)
    hashes = set()
    for text in ("a = 2\n", "a = 3\n"):
        (tmp_path / "model.py").write_text(text)
        hashes.add(repository_state(tmp_path)["diff_sha256"])
    (tmp_path / "new.py").write_text("b\n")
    hashes.add(repository_state(tmp_path)["diff_sha256"])
    (tmp_path / "new.py").write_text("c\n")
    hashes.add(repository_state(tmp_path)["diff_sha256"])
    assert len(hashes) == 4


def test_without_git_there_is_no_state(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert repository_state(tmp_path) is None
    assert collect()["code"] == []
    assert collect()["gpus"] == []


def test_a_broken_driver_tool_is_no_gpu(tmp_path, monkeypatch):
    nvidia_smi(tmp_path, fails="NVIDIA-SMI has failed")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert collect()["gpus"] == []
    nvidia_smi(tmp_path, Card("Tesla T4", "7.5", 15360), Card("Odd", "", None), driver="550.54.15")
    gpus = collect()["gpus"]
    assert gpus[0] == {
        "name": "Tesla T4", "memory_bytes": 15360 * 2**20, "driver": "550.54.15", "compute_capability": "7.5"
    }  # fmt: skip
    assert gpus[1]["memory_bytes"] is None


def edit(line, start, end, text, end_line=None):
    return Edit("a", line, start, end_line or line, end, text)


@pytest.mark.parametrize(
    ("text", "edits", "expected", "left"),
    [
        ("abc\ndef\n", [edit(1, 0, 1, "X"), edit(2, 2, 3, "YY")], "Xbc\ndeYY\n", 0),
        ("abc\n", [edit(1, 0, 2, "X"), edit(1, 1, 3, "Y")], "Xc\n", 1),
        ("abc\n", [edit(1, 0, 1, "X"), edit(1, 0, 1, "X")], "Xbc\n", 0),
        ("abc\ndef\n", [edit(1, 2, 1, "-", end_line=2)], "ab-ef\n", 0),
        ("abc", [edit(7, 0, 1, "X"), edit(1, 9, 10, "X")], "abc", 2),
        ("", [edit(1, 0, 0, "new\n")], "new\n", 0),
    ],
)
def test_edits_are_applied_once_and_never_overlap(text, edits, expected, left):
    result, left_out = apply_edits(text, edits)
    assert result == expected
    assert len(left_out) == left
