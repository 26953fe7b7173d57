"""Run a command, pass on what it prints byte by byte, and explain it at its end.

The command keeps its terminal, its signals and its exit code; what it prints is read on the way and kept in bounded
memory. Whatever goes wrong here, the command goes on.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from snellen.errors import UsageError
from snellen.explain import examine_parsed
from snellen.explain.parse import parsed
from snellen.explain.rank import Ranking
from snellen.explain.reading import Collector
from snellen.rules.asking import Askable, askable
from snellen.watch.output import Tee

if sys.platform == "win32":
    from snellen.watch.anywhere import run
else:
    from snellen.watch.posix import run

__all__ = ["Watched", "watch"]

_SAID = {"SIGKILL": "Killed", "SIGBUS": "Bus error (core dumped)", "SIGSEGV": "Segmentation fault (core dumped)",
         "SIGABRT": "Aborted (core dumped)", "SIGFPE": "Floating point exception (core dumped)"}  # fmt: skip
"""What a shell prints of a command that a signal has ended."""


@dataclass(slots=True)
class Watched:
    """A command that has ended.

    Args:
        code: Its exit code; 128 and the signal's number for one that a signal has ended.
        signal: The name of that signal, or empty.
        problems: What went wrong in watching it: a log that could not be written.
    """

    code: int
    signal: str
    problems: list[str]
    _collector: Collector | None
    _rules: Askable | None

    @property
    def interrupted(self) -> bool:
        """Whether a person has ended it."""
        return self.code == 128 + signal.SIGINT

    def explain(self, *, probe: bool = False) -> Ranking:
        """What is known about how it ended.

        Args:
            probe: Also ask this machine whether the answers hold here.

        Raises:
            Exception: Whatever a fault of this package raises; the caller must go on with the exit code.
        """
        if self._collector is None or self._rules is None:
            return Ranking(())
        if self.signal in _SAID:
            self._collector.feed(f"\n{_SAID[self.signal]}\n".encode())
        return examine_parsed(parsed(self._collector.finish()), self._rules, probe=probe)


def watch(command: Sequence[str], *, log: Path | None = None) -> Watched:
    """Run a command and pass on what it prints.

    Args:
        command: The program and its arguments.
        log: A file for a copy of all that it prints.

    Raises:
        UsageError: The log cannot be written; or the command cannot be started, and the error's exit code is that of a
            shell: 127, or 126 when it is no program.
    """
    with contextlib.ExitStack() as stack:
        copy = stack.enter_context(_opened(log)) if log is not None else None
        tee = Tee(copy, _watching)
        ended = run(list(command), tee)
        tee.finish()
    name = signal.Signals(-ended).name if ended < 0 else ""
    code = 128 - ended if ended < 0 else ended
    return Watched(code, name, tee.problems, tee.collector, tee.rules)


def _watching() -> tuple[Collector, Askable]:
    rules = askable()
    return Collector(rules.literals), rules


def _opened(log: Path) -> FileIO:
    try:
        return log.open("wb", buffering=0)
    except OSError as error:
        raise UsageError(f"cannot write {log}: {error.strerror}", hint="give another path") from error
