"""The rules of the family data ask this machine whether what a log claims holds here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from snellen.core.log import Log, LoggedException, LogLine
from snellen.core.probe import Answer, Outcome, Ran
from snellen.core.rule import LogFacet
from snellen.explain.tracebacks import find_exceptions
from snellen.rules.catalogue import catalogue


class Here:
    """This machine, with a folder of its own and the answer that Python is to give."""

    def __init__(self, root: Path, output: str = "") -> None:
        self.root, self.output = root, output

    def version(self, package: str) -> str | None:
        return None

    def can_import(self, module: str) -> bool:
        return False

    def python(self, code: str, seconds: float = 60) -> Ran:
        return Ran(0, self.output)

    def command(self, *arguments: str, seconds: float = 20) -> Ran:
        return Ran(None, "")


def ask(slug: str, text: str, here: Here) -> Answer:
    facet = catalogue()[slug].log
    assert isinstance(facet, LogFacet)
    assert facet.probe is not None
    lines = tuple(LogLine(number, line) for number, line in enumerate(text.splitlines(), 1))
    errors: tuple[LoggedException, ...] = find_exceptions(lines)
    return facet.probe(Log(lines, errors), here)


def test_a_missing_file_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    text = "FileNotFoundError: [Errno 2] No such file or directory: 'data/0001.png'"
    assert ask("missing-file", text, Here(tmp_path)).outcome is Outcome.CONFIRMED
    (tmp_path / "data" / "0001.png").touch()
    assert ask("missing-file", text, Here(tmp_path)).outcome is Outcome.REFUTED
    elsewhere = text.replace("data/0001.png", "/nowhere/at/all/0001.png")
    assert ask("missing-file", elsewhere, Here(tmp_path)).outcome is Outcome.CANNOT_TELL


def test_an_empty_folder_is_looked_into(tmp_path: Path) -> None:
    text = f"RuntimeError: Found 0 files in subfolders of: {tmp_path / 'train'}"
    assert ask("empty-dataset", text, Here(tmp_path)).outcome is Outcome.CONFIRMED
    (tmp_path / "train").mkdir()
    assert ask("empty-dataset", text, Here(tmp_path)).outcome is Outcome.CONFIRMED
    Image.new("L", (2, 2)).save(tmp_path / "train" / "a.png")
    assert ask("empty-dataset", text, Here(tmp_path)).outcome is Outcome.REFUTED


@pytest.mark.parametrize(
    ("output", "outcome"), [("decoded", Outcome.REFUTED), ("OSError cut", Outcome.CONFIRMED), ("", Outcome.CANNOT_TELL)]
)
def test_an_image_is_decoded_in_a_process_of_its_own(tmp_path: Path, output: str, outcome: Outcome) -> None:
    text = f"PIL.UnidentifiedImageError: cannot identify image file '{tmp_path / 'a.png'}'"
    assert ask("corrupt-image", text, Here(tmp_path, output)).outcome is Outcome.CANNOT_TELL
    (tmp_path / "a.png").write_bytes(b"<html>")
    assert ask("corrupt-image", text, Here(tmp_path, output)).outcome is outcome


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write everywhere")
def test_a_closed_folder_is_confirmed(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    text = f"PermissionError: [Errno 13] Permission denied: '{tmp_path}/cache'"
    assert ask("cache-permission", text, Here(tmp_path)).outcome is Outcome.CONFIRMED


def test_a_folder_that_may_be_written_to_is_told(tmp_path: Path) -> None:
    text = f"PermissionError: [Errno 13] Permission denied: '{tmp_path}/runs/cache'"
    assert ask("cache-permission", text, Here(tmp_path)).outcome is Outcome.REFUTED


def test_the_script_is_looked_at_for_a_guard(tmp_path: Path) -> None:
    text = (
        'Traceback (most recent call last):\n  File "train.py", line 3, in <module>\n    for x in loader:\n'
        "RuntimeError: \n        An attempt has been made to start a new process before the\n"
    )
    assert ask("missing-main-guard", text, Here(tmp_path)).outcome is Outcome.CANNOT_TELL
    (tmp_path / "train.py").write_text("for x in loader: pass\n")
    assert ask("missing-main-guard", text, Here(tmp_path)).outcome is Outcome.CONFIRMED
    (tmp_path / "train.py").write_text('if __name__ == "__main__":\n    main()\n')
    assert ask("missing-main-guard", text, Here(tmp_path)).outcome is Outcome.REFUTED


@pytest.mark.parametrize(
    ("output", "outcome"), [("spawn", Outcome.CONFIRMED), ("fork\n", Outcome.REFUTED), ("", Outcome.CANNOT_TELL)]
)
def test_the_start_method_decides_over_pickling(tmp_path: Path, output: str, outcome: Outcome) -> None:
    text = "AttributeError: Can't pickle local object 'main.<locals>.<lambda>'"
    assert ask("unpicklable-worker", text, Here(tmp_path, output)).outcome is outcome


@pytest.mark.parametrize("slug", ["shm-too-small", "worker-killed", "too-many-open-files"])
def test_limits_of_this_machine_are_told_with_numbers(tmp_path: Path, slug: str) -> None:
    answer = ask(slug, "", Here(tmp_path))
    assert answer.outcome in Outcome
    assert answer.text
