"""Images that could not be read: named in the summary of a prediction, all of them listed in a file beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from snellen.core.files import append_json_line
from snellen.data.features import Unread
from snellen.report.text import harmless

__all__ = ["UNREAD", "unread_lines", "write_unread"]

UNREAD: Final = "unread.jsonl"
"""Name of the file."""


def unread_lines(unread: Sequence[Unread], *, limit: int, where: str | Path = UNREAD) -> list[str]:
    """The first images that could not be read, and how many there are besides.

    Args:
        unread: All of them.
        limit: At most this many are named.
        where: The file that lists all.

    Example:
        >>> unread_lines([Unread("a.png", "it is empty"), Unread("b.png", "it is empty")], limit=1)
        ['not read: a.png: it is empty', 'and 1 more; all are in unread.jsonl']
    """
    lines = [f"not read: {harmless(one.sentence)}" for one in unread[:limit]]
    if len(unread) > limit:
        lines.append(f"and {len(unread) - limit} more; all are in {where}")
    return lines


def write_unread(folder: Path, unread: Sequence[Unread]) -> None:
    """List them anew; there is no file when all could be read.

    Args:
        folder: Where the file is written.
        unread: All of them.
    """
    (folder / UNREAD).unlink(missing_ok=True)
    for one in unread:
        append_json_line(folder / UNREAD, {"path": one.name, "reason": one.reason, "slug": one.slug})
