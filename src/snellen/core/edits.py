"""Applying edits to text: all of a file or none, never two in the same place."""

from __future__ import annotations

import re
from collections.abc import Iterable

from snellen.core.finding import Edit

__all__ = ["apply_edits"]

# `str.splitlines` also breaks at form feeds and the like, which neither Python's nor YAML's line numbers do.
_LINE = re.compile(r"[^\n\r]*(?:\r\n|\n|\r)|[^\n\r]+")


def apply_edits(text: str, edits: Iterable[Edit]) -> tuple[str, tuple[Edit, ...]]:
    r"""Apply edits of one file.

    Args:
        text: The file's content.
        edits: Changes, in any order.

    Returns:
        The new text, and the edits that were left out because they overlap an earlier one or lie outside the text.

    Example:
        >>> apply_edits("a = -1e9\n", [Edit("a.py", 1, 4, 1, 8, "0")])
        ('a = 0\n', ())
    """
    lines = _LINE.findall(text)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    spans: list[tuple[int, int, Edit]] = []
    left_out: list[Edit] = []
    for edit in sorted(dict.fromkeys(edits), key=lambda edit: (edit.start_line, edit.start_column)):
        begin = _offset(starts, edit.start_line, edit.start_column)
        end = _offset(starts, edit.end_line, edit.end_column)
        if begin is None or end is None or begin > end or (spans and begin < spans[-1][1]):
            left_out.append(edit)
        else:
            spans.append((begin, end, edit))
    for begin, end, edit in reversed(spans):
        text = text[:begin] + edit.replacement + text[end:]
    return text, tuple(left_out)


def _offset(starts: list[int], line: int, column: int) -> int | None:
    if not 1 <= line <= len(starts) or column < 0:
        return None
    offset = starts[line - 1] + column
    return offset if offset <= starts[-1] else None
