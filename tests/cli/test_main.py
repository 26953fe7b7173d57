"""What the command line does before and after a command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image
from typer.core import TyperGroup
from typer.main import get_command

from snellen.cli.main import app, main

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


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "none.yaml"),
        ("explain", "none.log"),
        ("lint", "none.py"),
        ("rules", "list", "--family", "none"),
        ("rules", "show", "none"),
        ("weights", "none.pth"),
        ("forgery", "validate", "none.csv"),
    ],
)
def test_with_json_an_error_is_an_object_too(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["snellen", *arguments, "--json"])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert end.value.code == answer["exit_code"] == 2
    assert said.err.startswith(f"snellen: {answer['error']}")
    assert set(answer) == {"error", "hint", "slug", "exit_code"}


def test_the_output_of_a_watched_command_stays_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["snellen", "watch", "--log", "none/none.log", "--", "true", "--json"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().out == ""


def commands(one: Any, *names: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield names, one
    if isinstance(one, TyperGroup):
        context = typer.Context(one)
        for name in one.list_commands(context):
            yield from commands(one.get_command(context, name), *names, name)


def test_every_help_has_an_example_and_every_answer_can_be_json() -> None:
    found = dict(commands(get_command(app)))
    assert len(found) > 25
    for names, command in found.items():
        page = command.get_help(typer.Context(command, info_name="snellen"))
        assert "snellen" in page.partition("xample")[2] or "Start with:  snellen" in page, names
    groups = {names for names, one in found.items() if isinstance(one, TyperGroup)}
    without = {names for names, one in found.items() if "--json" not in [o for p in one.params for o in p.opts]}
    # The first tells a story, the second passes another program's output on, the third writes files to be filled in.
    assert without - groups == {("demo",), ("watch",), ("rules", "new")}
