r"""Lines that hold other lines: JSON records of log collectors, and pastes in which a line end is written as `\n`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Packed", "unpacked"]

_LONGEST = 1 << 17
"""A longer JSON record is not parsed."""
_MESSAGE = ("text", "log", "message", "msg", "MESSAGE", "textPayload", "data", "event")
_TRACEBACK = (
    "exc_info", "exc_text", "exception", "traceback", "stack_trace", "stacktrace", "error.stack_trace", "stack",
    "error",
)  # fmt: skip
_WITHIN = ("jsonPayload", "record", "fields", "error", "exception")
_STREAM = ("rank", "worker", "pod", "container", "container_name", "pod_name", "task")
_ESCAPED = re.compile(r"""Traceback \(most recent call last\):\\n|\\n\s*File \\?["']""")
_LINE_END = re.compile(r"""(?:\\r)?\\n(?:['"],\s*[bu]?['"])?""")
_COLLAPSED = re.compile(r'Traceback \(most recent call last\):\s+(?=File "[^"]+", line \d+, in \S+ )')
_NEXT_FRAME = re.compile(r'\s+(?=File "[^"]+", line \d+, in )')
_FRAME = re.compile(r'(File "[^"]+", line \d+, in \S+)\s?')
_END = re.compile(r"\s(?=(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Interrupt)(?:: |$))")
_ESCAPE = re.compile(r"""\\(["'\\t])""")
_OPENING = re.compile(r"""^\s*\[?\s*[bu]?['"](?=Traceback|\s*File |\w)""")


@dataclass(frozen=True, slots=True)
class Packed:
    """The lines that were inside a line.

    Args:
        lines: In order.
        stream: Who printed them, where the record says so.
    """

    lines: tuple[str, ...]
    stream: str = ""


def unpacked(text: str) -> Packed | None:
    r"""The lines inside a line; `None` where there are none.

    Example:
        >>> unpacked('{"log": "ValueError: bad\\n", "stream": "stderr"}').lines
        ('ValueError: bad',)
        >>> unpacked('{"epoch": 1, "loss": 0.5}') is None
        True
    """
    start = text.lstrip(" \t,[")[:2]
    if start == '{"':
        return _record(text) if len(text) <= _LONGEST else None
    if "\\n" in text and _ESCAPED.search(text):
        whole = _OPENING.sub("", text, count=1)
        lines = [_ESCAPE.sub(_plain, line) for line in _LINE_END.split(whole)]
        return Packed(tuple(lines if lines[-1].strip("'\"]), ") else lines[:-1]))
    if (opened := _COLLAPSED.search(text)) is not None:
        return Packed(tuple(_expanded(text, opened)))
    return None


def _expanded(text: str, opened: re.Match[str]) -> Iterator[str]:
    """A traceback whose line ends were lost."""
    yield text[: opened.end()].rstrip()
    frames = _NEXT_FRAME.split(text[opened.end() :])
    end = _END.split(frames[-1], maxsplit=1)
    for frame in (*frames[:-1], end[0]):
        found = _FRAME.match(frame)
        yield f"  {found[1] if found else frame}"
        if found and frame[found.end() :].strip():
            yield f"    {frame[found.end() :].strip()}"
    yield from end[1:]


def _plain(found: re.Match[str]) -> str:
    return "\t" if found[1] == "t" else found[1]


def _record(text: str) -> Packed | None:
    try:
        data = json.loads(text.strip().strip(",").removeprefix("[").strip().removesuffix("]").strip(","))
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    parts = _strings(data)
    if not parts:
        return None
    lines = [line for part in parts for line in part.rstrip("\n").split("\n")]
    stream = next((f"{key}{data[key]}" for key in _STREAM if isinstance(data.get(key), (str, int))), "")
    return Packed(tuple(lines), stream)


def _strings(data: Mapping[str, Any]) -> list[str]:
    """Message and traceback of a record; nothing when it is a record of numbers."""
    found: list[str] = []
    for keys in (_MESSAGE, _TRACEBACK):
        text = next((data[key] for key in keys if isinstance(data.get(key), str) and data[key].strip()), None)
        # Some write the traceback into the message as well.
        if text is not None and not any(text.strip() in earlier for earlier in found):
            found.append(text)
    inside = [data[key] for key in _WITHIN if isinstance(data.get(key), dict)]
    if not found or not any("\n" in text for text in found):
        found += [text for one in inside for text in _strings_flat(one) if not any(text in old for old in found)]
    return found


def _strings_flat(data: Mapping[str, Any]) -> list[str]:
    return [data[key] for key in (*_MESSAGE, *_TRACEBACK) if isinstance(data.get(key), str) and data[key].strip()]
