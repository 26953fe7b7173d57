"""Places in source text: from the byte columns of `ast` to characters, from nodes to what is written."""

from __future__ import annotations

import ast
import re

from snellen.core.source import Span

__all__ = ["SourceText", "split_lines"]

_LINE_END = re.compile(r"\r\n|\r|\n")


def split_lines(text: str) -> list[str]:
    r"""Lines with their ends, split where Python splits them; `str.splitlines` splits at form feeds, too.

    Example:
        >>> split_lines("a\r\nb\x0cc\n")
        ['a\r\n', 'b\x0cc\n']
    """
    ends = [found.end() for found in _LINE_END.finditer(text)]
    starts = [0, *ends]
    return [text[start:end] for start, end in zip(starts, [*ends, len(text)], strict=True) if start < end]


class SourceText:
    """The text of one file with quick access to spans."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = split_lines(text)
        self._ascii = [line.isascii() for line in self.lines]

    def span(self, node: ast.expr | ast.stmt | ast.excepthandler) -> Span:
        """Where a node stands, columns in characters."""
        end_line = node.end_lineno or node.lineno
        start = self._column(node.lineno, node.col_offset)
        return Span(node.lineno, start, end_line, self._column(end_line, node.end_col_offset or 0))

    def code(self, node: ast.expr | ast.stmt) -> str:
        """What is written there."""
        return self.at(self.span(node))

    def at(self, span: Span) -> str:
        """The text of a span."""
        lines = self.lines[span.start_line - 1 : span.end_line]
        if not lines:
            return ""
        lines[-1] = lines[-1][: span.end_column]
        lines[0] = lines[0][span.start_column :]
        return "".join(lines)

    def _column(self, line: int, column: int) -> int:
        if line > len(self.lines) or self._ascii[line - 1]:
            return column
        return len(self.lines[line - 1].encode()[:column].decode("utf-8", "replace"))
