"""Read a log of any size as lines: what was overwritten is dropped, what tells nothing is not kept.

The whole of a short log is kept. Of a long one the beginning, the end and the surroundings of telling lines are, so
that memory stays bounded whatever the size.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from snellen.core.log import LogLine

__all__ = ["Kept", "clean", "read_lines"]

_CHUNK = 1 << 20
_HEAD, _TAIL, _WINDOWS = 2000, 4000, 12000
"""Lines kept of a long log."""
_BEFORE, _AFTER = 60, 40
"""Lines kept around a telling one: a traceback ends with the line that tells."""
_OPENED = 60
"""How often one literal may open a window: a loss that stays NaN tells nothing new on its millionth line."""
_WIDTH = 4000
"""Characters kept of a line."""
_MARKERS = ("traceback (most recent call last)", "error:", "exception:", "killed", "assertion")

_COLOUR = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_PREFIX = re.compile(
    r"""^(?:\s*(?:
        \[rank\s?\d+\]:                                     # torchrun
      | \[(?:default|[\w-]*worker-?)\d*\]:(?=\[|\s)          # torchrun --tee
      | \[\d+,\d+\]<std(?:err|out)>:                        # mpirun
      | \(\w[\w.:]*\s+pid=\d+[^)]*\)                        # Ray
      | \d+:\s(?=\s*(?:File|Traceback|\w+Error))            # srun --label
      | \[?\d{4}-\d\d-\d\d[T\ ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?:?
      ))+[ ]?""",
    re.VERBOSE,
)


@dataclass(slots=True)
class Kept:
    """The lines kept of a log, in order, and how many there were."""

    lines: list[LogLine] = field(default_factory=list)
    total: int = 0


def clean(text: str) -> str:
    r"""One raw line without colours, control characters, rank prefix, time stamp and overwritten progress.

    Example:
        >>> clean("[rank0]: \x1b[31mValueError: bad\x1b[0m")
        'ValueError: bad'
        >>> clean(" 10%|#   |\r 90%|### |")
        ' 90%|### |'
    """
    text = text.rstrip("\r\n")
    if "\r" in text:
        text = next((part for part in reversed(text.split("\r")) if part.strip()), "")
    if "\x1b" in text:
        text = _COLOUR.sub("", text)
    text = _CONTROL.sub("", text)
    return _PREFIX.sub("", text, count=1)


def read_lines(stream: BinaryIO, triggers: Iterable[str] = ()) -> Kept:
    """Read a byte stream to its end.

    Args:
        stream: Any encoding; bytes that are not UTF-8 become replacement characters.
        triggers: Lower-case literals; lines that hold one are kept with their surroundings.
    """
    literals = tuple(sorted({literal.encode() for literal in (*triggers, *_MARKERS)}))
    keeper = _Keeper(literals)
    for block in _blocks(stream):
        keeper.take(block)
    return keeper.finish()


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    """Whole lines, about a mebibyte at a time; of a line longer than that the end."""
    rest = b""
    while chunk := stream.read(_CHUNK):
        whole, newline, rest_after = (rest + chunk).rpartition(b"\n")
        if newline:
            yield whole + newline
            rest = rest_after
        else:
            # A progress bar of megabytes without a line end: only its end can still be seen on a terminal.
            rest = (rest + chunk)[-_CHUNK:]
    if rest:
        yield rest


class _Keeper:
    """Decides which lines to keep."""

    def __init__(self, literals: tuple[bytes, ...]) -> None:
        self._left = dict.fromkeys(literals, _OPENED)
        self._head: list[LogLine] = []
        self._windows: list[LogLine] = []
        self._before: deque[tuple[int, bytes]] = deque(maxlen=_BEFORE)
        self._tail: deque[tuple[int, bytes]] = deque(maxlen=_TAIL)
        self._after = 0
        self._total = 0

    def take(self, block: bytes) -> None:
        """Look at some whole lines."""
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        numbered = list(enumerate(lines, self._total + 1))
        self._total += len(lines)
        # Bytes are kept for the tail and cleaned at the end: most of them are pushed out again.
        self._tail.extend(numbered[-_TAIL:])
        room = max(0, _HEAD - len(self._head))
        self._head.extend(_line(number, raw) for number, raw in numbered[:room])
        rest = numbered[room:]
        if len(self._windows) >= _WINDOWS or not rest:
            return
        if self._after or self._telling(block):
            for number, raw in rest:
                self._watch(number, raw)
        else:
            self._before.extend(rest[-_BEFORE:])

    def _telling(self, raw: bytes) -> bytes | None:
        lowered = raw.lower()
        return next((literal for literal in self._left if literal in lowered), None)

    def _watch(self, number: int, raw: bytes) -> None:
        literal = self._telling(raw)
        if literal is not None and len(self._windows) < _WINDOWS:
            self._left[literal] -= 1
            if not self._left[literal]:
                del self._left[literal]
            self._windows.extend(_line(*line) for line in self._before)
            self._before.clear()
            self._after = _AFTER + 1
        if self._after:
            self._windows.append(_line(number, raw))
            self._after -= 1
        else:
            self._before.append((number, raw))

    def finish(self) -> Kept:
        kept: dict[int, LogLine] = {line.number: line for line in (*self._head, *self._windows)}
        for number, raw in self._tail:
            if number not in kept:
                kept[number] = _line(number, raw)
        return Kept([kept[number] for number in sorted(kept)], self._total)


def _line(number: int, raw: bytes) -> LogLine:
    text = clean(raw[-4 * _WIDTH :].decode("utf-8", "replace"))
    if len(text) > _WIDTH:
        text = f"{text[: _WIDTH // 2]} ... {text[-_WIDTH // 2 :]}"
    return LogLine(number, text)
