"""`# snellen: ignore[slug]`: findings that a person has looked at."""

from __future__ import annotations

import re
from collections.abc import Sequence

from snellen.core.source import Span

__all__ = ["suppressed"]

_COMMENT = re.compile(r"#\s*snellen:\s*ignore\[(?P<slugs>[^\]]*)\]")
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
        if found and slug in {part.strip() for part in found["slugs"].split(",")}:
            return True
    return False
