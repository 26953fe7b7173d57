"""What happens to every piece that a command prints: it goes out first, then into the log, then to be explained."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from io import FileIO

from snellen.explain.reading import Collector
from snellen.rules.asking import Askable

__all__ = ["Tee"]

_LONGEST = 1 << 16
"""Bytes of a line without end that are kept; what a progress bar has overwritten is gone."""


class Tee:
    """Takes pieces of output.

    Args:
        copy: The log, open without a buffer, or `None`.
        begin: Makes what collects the output for the explanation; called once, after the command has started.
    """

    def __init__(self, copy: FileIO | None, begin: Callable[[], tuple[Collector, Askable]]) -> None:
        self.problems: list[str] = []
        self.collector: Collector | None = None
        self.rules: Askable | None = None
        self._copy = copy
        self._begin = begin
        self._lines: dict[int, bytearray] = {}

    def begin(self) -> None:
        """The command runs; get ready to explain it."""
        try:
            self.collector, self.rules = self._begin()
        except Exception as error:  # noqa: BLE001 - the command is worth more than its explanation
            self.problems.append(f"what the command prints is not explained: {type(error).__name__}: {error}")

    def take(self, target: int, data: bytes) -> bool:
        """Pass on a piece of output.

        Args:
            target: The descriptor it is meant for: 1 or 2.
            data: The piece.

        Returns:
            Whether somebody still reads it.
        """
        heard = _write(target, data)
        if self._copy is not None:
            try:
                _whole(self._copy, data)
            except OSError as error:
                self.problems.append(f"the log is cut off: {error.strerror}")
                self._copy = None
        self._collect(target, data)
        return heard

    def finish(self) -> None:
        """All was printed."""
        for line in self._lines.values():
            if line:
                self._feed(bytes(line) + b"\n")
        self._lines.clear()

    def _collect(self, target: int, data: bytes) -> None:
        # Each stream's own lines: a progress bar on stderr must not end up inside a line of stdout.
        line = self._lines.setdefault(target, bytearray())
        line += data
        end = line.rfind(b"\n") + 1
        if end:
            self._feed(bytes(line[:end]))
            del line[:end]
        if len(line) > _LONGEST:
            del line[: -_LONGEST // 2]

    def _feed(self, data: bytes) -> None:
        if self.collector is None:
            return
        try:
            self.collector.feed(data)
        except Exception as error:  # noqa: BLE001 - the command is worth more than its explanation
            self.problems.append(f"what the command prints is not explained: {type(error).__name__}: {error}")
            self.collector = None


def _whole(file: FileIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _write(target: int, data: bytes) -> bool:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(target, view) :]
        except BlockingIOError:
            select.select([], [target], [])
        except OSError:
            # The reader has gone: `snellen watch -- command | head`.
            return False
    return True
