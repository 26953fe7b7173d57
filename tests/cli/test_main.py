"""What the command line does before and after a command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

PROGRAM = """
import sys
for package in {blocked!r}:
    sys.modules[package] = None
sys.argv = ["snellen", *{arguments!r}]
from snellen.cli.main import main
main()
"""


def run(*arguments: str, blocked: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(blocked=blocked, arguments=arguments)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("package", "extra"), [("torch", "vision"), ("cv2", "vision"), ("numpy", "vision")])
def test_a_missing_extra_is_named_with_the_line_that_installs_it(package: str, extra: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("task: forgery\n", encoding="utf-8")
    Image.new("RGB", (20, 20)).save(tmp_path / "photo.png")
    ended = run("predict", str(tmp_path / "run.yaml"), str(tmp_path), "-o", str(tmp_path / "out"), blocked=(package,))
    assert ended.returncode == 2
    assert f"snellen: {package} is not installed" in ended.stderr
    assert f"pip install 'snellen[{extra}]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_our_own_errors_are_a_line_and_an_exit_code(tmp_path: Path) -> None:
    ended = run("check", str(tmp_path / "run.yaml"))
    assert ended.returncode == 2
    assert ended.stderr.startswith("snellen: ")
    assert "Traceback" not in ended.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m snellen rules show half-overflow | head -1"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert ended.stderr == ""
    assert ended.stdout
