"""Answers as notes of exceptions, and below the cells of a notebook."""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

import snellen

OVERFLOW = "value cannot be converted to type at::Half without overflow"


def notes(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", []))


def test_an_exception_is_explained() -> None:
    assert [one.slug for one in snellen.explain_exception(RuntimeError(OVERFLOW))] == ["half-overflow"]
    assert snellen.explain_exception(ValueError("unheard of")) == []


def test_the_note_stands_below_the_traceback_and_the_exception_goes_on() -> None:
    original = RuntimeError(OVERFLOW)
    with pytest.raises(RuntimeError) as caught, snellen.explaining():
        raise original
    assert caught.value is original
    (note,) = notes(original)
    assert note.startswith("snellen: A constant does not fit float16 [half-overflow")
    assert "more: snellen explain half-overflow" in "".join(traceback.format_exception(original))


def test_as_a_decorator_and_nested_it_adds_one_note() -> None:
    @snellen.explaining()
    def train() -> None:
        with snellen.explaining():
            raise RuntimeError(OVERFLOW)

    for _ in range(2):
        with pytest.raises(RuntimeError) as caught:
            train()
        assert len(notes(caught.value)) == 1


class NastyError(Exception):
    """Cannot be printed."""

    def __str__(self) -> str:
        raise MemoryError


@pytest.mark.parametrize("error", [ValueError("unheard of"), NastyError(), KeyboardInterrupt(), SystemExit(3)])
def test_what_is_not_known_or_no_failure_stays_as_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, snellen.explaining():
        raise error
    assert caught.value is error
    assert notes(error) == []


def test_a_fault_of_ours_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("snellen.explain.exceptions.explain", broken)
    error = RuntimeError(OVERFLOW)
    with pytest.raises(RuntimeError) as caught, snellen.explaining():
        raise error
    assert caught.value is error


def test_nothing_is_loaded_while_nothing_fails() -> None:
    program = (
        "import snellen, sys\nwith snellen.explaining():\n    pass\n"
        "assert not any(name.startswith('snellen.rules.') and name.count('.') > 2 for name in sys.modules)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def shell() -> Iterator[Any]:
    interactive = pytest.importorskip("IPython.core.interactiveshell")
    config = pytest.importorskip("traitlets.config").Config()
    # No history database, and so no thread that writes it.
    config.HistoryManager.enabled = False
    hooks, display = sys.excepthook, sys.displayhook
    one = interactive.InteractiveShell(config=config)
    yield one
    snellen.unload_ipython_extension(one)
    interactive.InteractiveShell.clear_instance()
    sys.excepthook, sys.displayhook = hooks, display


def test_a_failing_cell_is_explained(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_line_magic("load_ext", "snellen")
    snellen.load_ipython_extension(shell)
    shell.run_cell("x = 1")
    assert "snellen" not in capsys.readouterr().out
    shell.run_cell(f"raise RuntimeError({OVERFLOW!r})")
    out = capsys.readouterr().out
    assert out.count("snellen: A constant does not fit float16") == 1
    assert out.index("Traceback") < out.index("snellen: ")
    shell.run_cell("raise ValueError('unheard of')")
    assert "snellen" not in capsys.readouterr().out
    shell.run_cell("1 +")
    assert "snellen" not in capsys.readouterr().out


def test_the_magic(shell: Any, capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    log = tmp_path / "a.log"
    log.write_text(f"RuntimeError: {OVERFLOW}\n")
    shell.run_line_magic("load_ext", "snellen")
    for line, words in (
        ("", "no cell has failed yet"),
        (str(log), "half-overflow"),
        ("half-overflow", "What happens"),
        (str(tmp_path / "none.log"), "cannot read"),
    ):
        shell.run_line_magic("explain", line)
        assert words in capsys.readouterr().out
    shell.run_cell("raise ValueError('unheard of')")
    capsys.readouterr()
    shell.run_line_magic("explain", "")
    assert "Nothing known fits" in capsys.readouterr().out


def test_after_unloading_cells_are_left_alone(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_line_magic("load_ext", "snellen")
    shell.run_line_magic("unload_ext", "snellen")
    shell.run_cell(f"raise RuntimeError({OVERFLOW!r})")
    assert "snellen:" not in capsys.readouterr().out
    assert shell.find_line_magic("explain") is None
