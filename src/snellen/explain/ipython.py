"""`%load_ext snellen`: below the traceback of a failed cell stands why it failed.

Uses only what IPython hands over, so that it need not be installed to read this.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from snellen.core.log import Diagnosis
from snellen.errors import SnellenError
from snellen.explain import explain
from snellen.explain.exceptions import note_of
from snellen.rules.catalogue import catalogue

__all__ = ["Shell", "load", "unload"]

_EVENT = "post_run_cell"
_MAGIC = "explain"


class Shell(Protocol):
    """What is used of IPython's shell."""

    events: Any
    """With `register(name, function)` and `unregister(name, function)`."""
    magics_manager: Any
    """With `magics`, the magics by kind and name."""

    def register_magic_function(self, func: Callable[[str], None], magic_kind: str, magic_name: str) -> None:
        """Add a magic."""
        ...


_loaded: dict[int, Callable[[Any], None]] = {}
"""Shell to the function that is told of its cells."""


def load(shell: Shell) -> None:
    """Explain failing cells of a shell from now on, and add the magic `%explain`; again: no change."""
    if id(shell) in _loaded:
        return
    state = _State()
    shell.events.register(_EVENT, state.after_cell)
    shell.register_magic_function(state.magic, "line", _MAGIC)
    _loaded[id(shell)] = state.after_cell


def unload(shell: Shell) -> None:
    """Undo `load`."""
    function = _loaded.pop(id(shell), None)
    if function is None:
        return
    with contextlib.suppress(ValueError):
        shell.events.unregister(_EVENT, function)
    shell.magics_manager.magics.get("line", {}).pop(_MAGIC, None)


class _State:
    """The last error of a notebook."""

    def __init__(self) -> None:
        self._error: BaseException | None = None

    def after_cell(self, result: Any) -> None:
        """Explain the cell's error, if it had one that is known."""
        # Nothing that goes wrong here may reach the notebook.
        with contextlib.suppress(Exception):
            error = getattr(result, "error_before_exec", None) or getattr(result, "error_in_exec", None)
            if isinstance(error, Exception):
                self._error = error
                _show(explain(error)[:1])

    def magic(self, line: str) -> None:
        """`%explain`: the last error; `%explain LOG` or `%explain SLUG`: a log, a rule's page."""
        given = line.strip().strip("'\"")
        if not given and self._error is None:
            _say("no cell has failed yet; %explain LOG explains a log, %explain SLUG shows a rule")
            return
        if given and not Path(given).exists() and given in catalogue():
            _say(catalogue()[given].page.strip())
            return
        try:
            diagnoses = explain(Path(given)) if given else explain(self._error or "")
        except SnellenError as error:
            _say(str(error))
            return
        _show(diagnoses)
        if not diagnoses:
            _say("Nothing known fits: no answer is better than a wrong one.")


def _show(diagnoses: list[Diagnosis]) -> None:
    for text in _texts(diagnoses):
        _say(text)


def _say(text: str) -> None:
    # The cell's own output: IPython shows what is written there below its traceback.
    sys.stdout.write(f"{text}\n")


def _texts(diagnoses: list[Diagnosis]) -> Iterator[str]:
    for diagnosis in diagnoses[:3]:
        yield note_of(diagnosis)
        for fact in diagnosis.evidence[:3]:
            yield f"  evidence: {fact.text}"
