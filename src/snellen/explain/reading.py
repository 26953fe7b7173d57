"""Read a log of any size as lines, in bounded memory.

The whole of a short log is kept. Of a long one the beginning, the end, the surroundings of telling lines and samples of
what is measured on the way.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from snellen.core.log import LogLine
from snellen.explain.lines import WIDTH, decoded, lines_of
from snellen.explain.telling import Telling

__all__ = ["Collector", "Kept", "read_into", "read_lines"]

_CHUNK = 1 << 20
_HEAD, _TAIL = 1000, 3000
"""Lines kept of a long log at its beginning and its end."""
_BEFORE, _AFTER = {True: 60, False: 30}, {True: 60, False: 20}
"""Lines kept around a telling one: around the head of a traceback, and around any other."""
_OFTEN = {True: 60, False: 15}
"""How often one literal may open a window."""
_ROOM = {True: 5000, False: 5000}
"""Lines kept in all windows."""
_HEAD_BYTES, _TAIL_BYTES, _WINDOW_BYTES = 4 << 20, 4 << 20, 8 << 20
_LONGEST = 1 << 16
"""Bytes kept of a line; a JSON record that holds a traceback has that many."""
_TRACEBACK = b"traceback (most recent call last)"
_MARKERS = ("error:", "exception:", "killed", "assertion")
_MEASURES = b"loss"
_SAMPLES, _SAMPLE_BYTES = 1000, 1024
"""Lines with measures kept from all over a log; when there are twice as many, every other one goes."""

_Raw = tuple[int, bytes]
"""A line and its place: lines are counted, and the pieces of one that has no end."""


@dataclass(slots=True)
class Kept:
    """What is kept of a log.

    Args:
        lines: In order.
        total: How many there were.
        found: The literals that were found in any of them, kept or not.
    """

    lines: list[LogLine] = field(default_factory=list)
    total: int = 0
    found: frozenset[str] = frozenset()


def read_lines(stream: BinaryIO, triggers: Iterable[str] = ()) -> Kept:
    """Read a byte stream to its end, or until Ctrl-C.

    Args:
        stream: Text in UTF-8; other bytes are read as what a Windows console writes.
        triggers: Lower-case literals; lines that hold one are kept with their surroundings.
    """
    collector = Collector(triggers)
    read_into(collector, stream)
    return collector.finish()


def read_into(collector: Collector, stream: BinaryIO) -> None:
    """Feed a byte stream to its end, or until Ctrl-C."""
    # What is there at once: a pipe's bytes must not wait for a whole mebibyte when Ctrl-C ends the reading.
    read = getattr(stream, "read1", stream.read)
    with contextlib.suppress(KeyboardInterrupt):
        while chunk := read(_CHUNK):
            collector.feed(chunk)


class Collector:
    """Takes a log in pieces of any size and decides what to keep.

    Args:
        triggers: Lower-case literals; lines that hold one are kept with their surroundings.

    Example:
        >>> collector = Collector()
        >>> collector.feed(b"step 1: lo")
        >>> collector.feed(b"ss 0.5")
        >>> [line.text for line in collector.finish().lines]
        ['step 1: loss 0.5']
    """

    def __init__(self, triggers: Iterable[str] = ()) -> None:
        literals = sorted({_TRACEBACK, *(literal.encode() for literal in (*triggers, *_MARKERS))})
        self._telling = Telling(literals, often={literal: _OFTEN[literal == _TRACEBACK] for literal in literals})
        self._pending: list[bytes] = []
        self._size = 0
        self._place = 1
        self._torn: list[int] = []
        self._head, self._head_bytes = list[_Raw](), 0
        self._windows, self._window_bytes = list[_Raw](), 0
        self._room = dict(_ROOM)
        self._before, self._after = list[_Raw](), 0
        self._tail: deque[_Raw] = deque()
        self._tail_lines = self._tail_bytes = 0
        self._samples = list[_Raw]()
        self._sampled, self._every = 0, 1

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._pending.append(data)
        self._size += len(data)
        if self._size >= _CHUNK:
            whole = b"".join(self._pending)
            end = whole.rfind(b"\n") + 1 or len(whole)
            self._pending = [whole[end:]]
            self._size = len(whole) - end
            self._take(whole[:end])

    def begin(self) -> int:
        """Begin another file on a line of its own; gives that line's number."""
        rest = b"".join(self._pending)
        if rest:
            self._take(rest if rest.endswith(b"\n") else rest + b"\n")
        self._pending, self._size = [], 0
        return self._number(self._place)

    def finish(self) -> Kept:
        """The log is at its end; what was kept of it."""
        if rest := b"".join(self._pending):
            self._take(rest)
        self._pending = []
        kept = dict(self._head)
        tail = [line for place, block in self._tail for line in _placed(block, place)][-_TAIL:]
        for part in (self._windows, tail, self._samples):
            for place, raw in part:
                kept.setdefault(place, raw)
        lines = [line for place in sorted(kept) for line in lines_of(self._number(place), decoded(_short(kept[place])))]
        found = frozenset(literal.decode() for literal in self._telling.found)
        return Kept(lines, self._number(self._place - 1), found)

    def _number(self, place: int) -> int:
        return place - bisect.bisect_right(self._torn, place)

    def _take(self, block: bytes) -> None:
        """Look at some lines."""
        place = self._place
        self._place += block.count(b"\n")
        if not block.endswith(b"\n"):
            # A line longer than a block goes on in the next one.
            self._place += 1
            self._torn.append(self._place)
        self._keep_head(place, block)
        self._keep_tail(place, block)
        self._sample(place, block)
        told = self._telling.search(block)
        if (told or self._after) and self._window_bytes < _WINDOW_BYTES:
            self._open(place, block, told)
        else:
            self._before = _last(block, self._place)

    def _keep_head(self, place: int, block: bytes) -> None:
        if len(self._head) >= _HEAD or self._head_bytes >= _HEAD_BYTES:
            return
        for line, raw in _placed(block, place)[: _HEAD - len(self._head)]:
            short = _short(raw)
            self._head.append((line, short))
            self._head_bytes += len(short)
            if self._head_bytes >= _HEAD_BYTES:
                break

    def _keep_tail(self, place: int, block: bytes) -> None:
        self._tail.append((place, block))
        self._tail_lines += block.count(b"\n")
        self._tail_bytes += len(block)
        while len(self._tail) > 1:
            lines, size = self._tail[0][1].count(b"\n"), len(self._tail[0][1])
            if self._tail_lines - lines < _TAIL and self._tail_bytes - size < _TAIL_BYTES:
                break
            self._tail.popleft()
            self._tail_lines -= lines
            self._tail_bytes -= size

    def _open(self, place: int, block: bytes, told: Sequence[tuple[int, bytes]]) -> None:
        """Keep what surrounds the telling lines."""
        lines = _placed(block, place)
        ends = list(itertools.accumulate(len(raw) + 1 for _, raw in lines))
        keep = {index: lines[index][1] for index in range(min(self._after, len(lines)))}
        reach, before = self._after, self._before
        for offset, literal in told:
            index = bisect.bisect_right(ends, offset)
            strong = literal == _TRACEBACK
            if self._room[strong] <= 0 or index >= len(lines):
                continue
            earlier = before[max(0, len(before) - max(0, _BEFORE[strong] - index)) :]
            before = before[: len(before) - len(earlier)]
            near = range(max(0, index - _BEFORE[strong]), min(len(lines), index + _AFTER[strong] + 1))
            new = [line for line in near if line not in keep]
            keep.update((line, lines[line][1]) for line in new)
            keep[index] = _around(lines[index][1], offset - (ends[index - 1] if index else 0))
            self._room[strong] -= len(new) + len(earlier)
            self._windows += earlier
            reach = max(reach, index + _AFTER[strong] + 1)
        kept = [(lines[index][0], _short(raw)) for index, raw in keep.items()]
        self._windows += kept
        self._window_bytes += sum(len(raw) for _, raw in kept)
        self._after = max(0, reach - len(lines))
        self._before = _last(block, self._place)

    def _sample(self, place: int, block: bytes) -> None:
        """Keep a line with measures now and then, from the first block to the last."""
        self._sampled += 1
        if self._sampled % self._every:
            return
        step = max(len(block) // 4, 1)
        for begin in range(0, len(block), step):
            at = block.find(_MEASURES, begin, begin + step)
            if at >= 0:
                first, last = block.rfind(b"\n", 0, at) + 1, block.find(b"\n", at)
                raw = block[first : last if last >= 0 else len(block)]
                self._samples.append((place + block.count(b"\n", 0, at), raw[-_SAMPLE_BYTES:]))
        if len(self._samples) > 2 * _SAMPLES:
            self._samples = self._samples[::2]
            self._every *= 2


def _placed(block: bytes, place: int) -> list[_Raw]:
    lines = block.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return list(enumerate(lines, place))


def _last(block: bytes, after: int) -> list[_Raw]:
    """The last lines of a block whose next line has the place `after`."""
    count = max(_BEFORE.values())
    lines = block.rsplit(b"\n", count + 1)[-count - 1 :]
    if not lines[-1]:
        lines.pop()
    lines = lines[-count:]
    return [(after - len(lines) + index, _short(raw)) for index, raw in enumerate(lines)]


def _short(raw: bytes) -> bytes:
    return raw if len(raw) <= _LONGEST else raw[: _LONGEST // 4] + b" ... " + raw[-_LONGEST * 3 // 4 + 5 :]


def _around(raw: bytes, at: int) -> bytes:
    """Of a line that is too long to be kept, what surrounds the place that tells; a JSON record stays whole."""
    if len(raw) <= WIDTH or (len(raw) <= _LONGEST and raw.lstrip(b"[,")[:1] == b"{"):
        return raw
    begin = max(0, at - WIDTH // 2)
    return raw[begin : begin + WIDTH]
