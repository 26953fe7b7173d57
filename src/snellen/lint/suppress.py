"""`# snellen: ignore[slug]`, `# snellen: ignore-file[slug]`: findings that a person has looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from snellen.core.source import Span

__all__ = ["ignored_in_file", "named_in_comments", "suppressed"]

_COMMENT = re.compile(r"#\s*snellen:\s*ignore\[(?P<slugs>[^\]]*)\]")
_FILE = re.compile(r"#\s*snellen:\s*ignore-file\[(?P<slugs>[^\]]*)\]")
_LARGEST_SPAN = 40


def suppressed(lines: Sequence[str], span: Span, slug: str) -> bool:
    """Whether a comment on one of the finding's lines, or alone on the line above, names the rule.

    Example:
        >>> suppressed(["x.fill_(1e9)  # snellen: ignore[fill-out-of-range]"], Span(1, 0, 1, 12), "fill-out-of-range")
        True
    """
    first, last = span.start_line, min(span.end_line, span.start_line + _LARGEST_SPAN)
    candidates = list(lines[first - 1 : last])
    if first >= 2 and lines[first - 2].lstrip().startswith("#"):
        candidates.append(lines[first - 2])
    for line in candidates:
        found = _COMMENT.search(line)
        if found and slug in _slugs(found["slugs"]):
            return True
    return False


def ignored_in_file(text: str) -> frozenset[str]:
    """The rules that a comment anywhere in the file silences for all of it.

    Example:
        >>> sorted(ignored_in_file("# snellen: ignore-file[unsafe-load, nan-loss]"))
        ['nan-loss', 'unsafe-load']
    """
    return frozenset(slug for found in _FILE.finditer(text) for slug in _slugs(found["slugs"]))


def named_in_comments(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Line and slug of everything that comments of both kinds silence."""
    for number, line in enumerate(lines, 1):
        if "snellen:" in line:
            for found in (*_COMMENT.finditer(line), *_FILE.finditer(line)):
                yield from ((number, slug) for slug in _slugs(found["slugs"]))


def _slugs(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
