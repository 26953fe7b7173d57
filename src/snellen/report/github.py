"""Findings as annotations of GitHub Actions: one workflow command a line.

Source: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from snellen.core.finding import Finding, Level

__all__ = ["github"]

_COMMANDS = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "notice"}


def github(findings: Iterable[Finding]) -> Iterator[str]:
    """One line for each finding.

    Example:
        >>> from snellen.core.finding import Location
        >>> finding = Finding("unsafe-load", Level.WARNING, "100% pickle", Location("a,b.py", 3, 5))
        >>> list(github([finding]))
        ['::warning file=a%2Cb.py,line=3,col=5,title=unsafe-load::100%25 pickle']
    """
    for finding in findings:
        place = finding.location
        fields = {"title": finding.slug}
        if place is not None:
            given = {"file": place.path, "line": place.line, "col": place.column}
            fields = {**{key: str(value) for key, value in given.items() if value is not None}, **fields}
        text = finding.message if finding.fix is None else f"{finding.message}\n{finding.fix.text}"
        shown = ",".join(f"{key}={_property(value)}" for key, value in fields.items())
        yield f"::{_COMMANDS[finding.level]} {shown}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
