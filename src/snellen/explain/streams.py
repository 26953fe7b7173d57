"""Whose lines are whose, where a launcher or collector that nobody knows put a mark in front of each.

A mark shows itself at the head of a traceback: what stands before `Traceback (most recent call last):` and again before
the lines below it is no part of them. Without a traceback it shows itself by standing before nearly every line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from snellen.core.log import LogLine

__all__ = ["unmarked"]

_HEADER = "Traceback (most recent call last)"
_LONGEST_MARK = 100
_MOST_MARKS = 20
_LOOKED_AT = 8
_NO_MARK = re.compile(
    r"^\s*(?:E   ?|\| ?)?$|^\s*\+ Exception Group $|^[\w.]+\s{2,}$|^(?:[\w.]*(?:Error|Exception):? )$|^[╭+][─-]+ $"
    r"|Original $"
)
_FORMS = (
    re.compile(r"[\w.-]{1,60}[-_]\d{1,3} {1,9}\| "),
    re.compile(r"[\w.-]{1,60} {2,9}\| "),
    re.compile(r" ?\d{1,3}: "),
)
"""Marks of docker compose and of `srun --label`."""
_SAMPLE, _FEWEST, _NEARLY_ALL = 1000, 3, 0.9
_VARYING = re.compile(r"\d+(?:[:.,]\d+)+|\d{4,}")
_DIGITS = re.compile(r"\d+")


def unmarked(lines: Sequence[LogLine]) -> list[LogLine]:
    """The lines without marks; who printed a marked line is its stream.

    Example:
        >>> said = ["Traceback (most recent call last):", '  File "a.py", line 1, in f', "KeyError: 1"]
        >>> unmarked([LogLine(number, f"node-1 | {text}") for number, text in enumerate(said, 1)])[2]
        LogLine(number=3, text='KeyError: 1', stream='node-1 |')
    """
    patterns: list[re.Pattern[str]] = []
    for place, line in enumerate(lines):
        at = line.text.find(_HEADER, 0, _LONGEST_MARK + len(_HEADER))
        if at <= 0 or _NO_MARK.search(line.text[:at]) or any(pattern.match(line.text) for pattern in patterns):
            continue
        pattern = re.compile(_DIGITS.sub(r"\\d+", re.escape(line.text[:at])))
        below = [other for other in lines[place + 1 : place + 1 + _LOOKED_AT] if pattern.match(other.text)]
        if len(below) >= 2:
            patterns.append(pattern)
        if len(patterns) == _MOST_MARKS:
            break
    patterns = patterns or _everywhere(lines)
    return [_without(line, patterns) for line in lines] if patterns else list(lines)


def _everywhere(lines: Sequence[LogLine]) -> list[re.Pattern[str]]:
    """The mark of a known form that nearly all lines have."""
    said = [line.text for line in lines[:_SAMPLE] if line.text.strip()]
    for pattern in _FORMS:
        marks = [found[0] for text in said if (found := pattern.match(text))]
        # Each mark comes again and again; numbers that count upwards are a list.
        if len(marks) >= max(_FEWEST, _NEARLY_ALL * len(said)) and len(set(marks)) <= len(marks) / 3:
            return [pattern]
    return []


def _without(line: LogLine, patterns: Sequence[re.Pattern[str]]) -> LogLine:
    for pattern in patterns:
        found = pattern.match(line.text)
        if found:
            mark = " ".join(_VARYING.sub("", found[0]).split())
            return LogLine(line.number, line.text[found.end() :], f"{line.stream} {mark}".strip())
    return line
