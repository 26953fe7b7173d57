"""Every example runs and says what it promises."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

SAYS = {
    "01_find_copied_areas.py": "pixel F1 0.",
    "02_explain_a_crash.py": "half-overflow",
    "03_self_correlation.py": "matches [18, 14] cells further (x, y), cosine 1.000",
}


def test_every_example_is_tested() -> None:
    # `probe_digits.py` makes the data of `probe.yaml`, and is run with it by the tests of that task.
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*SAYS, "probe_digits.py"}


@pytest.mark.parametrize("name", SAYS)
def test_an_example_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / name))
    assert SAYS[name] in capsys.readouterr().out


TUTORIAL = EXAMPLES.parent / "docs" / "tutorial.md"
CRASHING = EXAMPLES / "crash_to_green" / "train.py"


def test_the_script_of_the_tutorial_crashes_is_mended_and_runs(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    shutil.copy(CRASHING, script)

    def snellen(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "snellen", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    crashed = snellen("watch", "--", sys.executable, "train.py", "--lr", "1e-2")
    assert crashed.returncode == 1
    assert "[config-type" in crashed.stderr
    assert '`parser.add_argument("--lr", type=float, ...)`' in crashed.stderr
    linted = snellen("lint", "train.py")
    assert linted.returncode == 1
    assert f"$ snellen lint train.py\n```\n\n```text\n{linted.stdout}```" in TUTORIAL.read_text(encoding="utf-8")
    snellen("lint", "train.py", "--fix", "--unsafe-fixes")
    assert snellen("lint", "train.py").stdout.startswith("0 findings")
    mended = snellen("watch", "--", sys.executable, "train.py", "--lr", "1e-2")
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert "accuracy" in mended.stdout
    assert "snellen:" not in mended.stderr
