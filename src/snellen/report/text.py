"""Findings as text for a terminal; without a terminal the same words without colours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from rich.text import Text

from snellen.core.finding import Finding, FixSafety, Level

__all__ = ["count_words", "finding_text", "findings_text", "harmless", "plural", "shown"]

_LEVEL_STYLE: Final = {Level.ERROR: "bold red", Level.WARNING: "bold yellow", Level.NOTE: "bold cyan"}
_SAFETY_WORDS: Final = {
    FixSafety.SAFE: "--fix applies it",
    FixSafety.UNSAFE: "read it first",
    FixSafety.MANUAL: "",
}


_LONGEST: Final = 300
"""Characters without a blank of which all are shown: more than a folder of any sane data set has, and five lines."""
_LONG = re.compile(rf"\S{{{_LONGEST + 1},}}")
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(text: str) -> str:
    r"""The text without what could steer a terminal, turn the reading direction or not be written: names of files may.

    Example:
        >>> harmless("a\x1b[2Jb.png")
        'a?[2Jb.png'
    """
    return _STEERING.sub("?", text)


def shown(text: str) -> str:
    """The harmless text with paths of thousands of characters shortened in the middle: both ends tell which file it is.

    Example:
        >>> shown(f"cannot read /data/{'x' * 10_000}/7.png")[:30], len(shown("y" * 10_000))
        ('cannot read /data/xxxxxxxxxxxx', 300)
    """
    return harmless(_LONG.sub(_shortened, text))


def _shortened(found: re.Match[str]) -> str:
    half = (_LONGEST - 3) // 2
    word = found.group()
    return f"{word[: _LONGEST - 3 - half]}...{word[-half:]}"


def plural(count: int, word: str) -> str:
    """A number and a noun.

    Example:
        >>> plural(1, "error"), plural(2, "error")
        ('1 error', '2 errors')
    """
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def count_words(findings: Iterable[Finding]) -> str:
    """How many findings of each level.

    Example:
        >>> count_words([Finding("nan-loss", Level.ERROR, "x")])
        '1 error'
    """
    levels = [finding.level for finding in findings]
    words = [plural(levels.count(level), level.value) for level in Level if level in levels]
    return ", ".join(words) if words else "no findings"


def finding_text(finding: Finding) -> Text:
    """One finding: level, slug and place; the message; where it shows; the fix."""
    text = Text()
    text.append(f"{finding.level.value:8}", _LEVEL_STYLE[finding.level])
    text.append(finding.slug, "bold")
    if finding.location is not None:
        text.append(f"  {shown(str(finding.location))}", "dim")
    text.append(f"\n        {shown(finding.message)}\n")
    for evidence in finding.evidence[:5]:
        place = f"{evidence.location}: " if evidence.location else ""
        text.append(f"        - {shown(place + evidence.text)}\n", "dim")
    if len(finding.evidence) > 5:
        text.append(f"        - and {len(finding.evidence) - 5} more\n", "dim")
    if finding.fix is not None:
        text.append("        fix: ", "green")
        text.append(shown(finding.fix.text))
        words = _SAFETY_WORDS[finding.fix.safety] if finding.fix.applicable else ""
        text.append(f"  ({words})\n" if words else "\n", "dim")
        if finding.fix.command:
            text.append(f"        $ {harmless(finding.fix.command)}\n")
    return text


def findings_text(findings: Sequence[Finding]) -> Text:
    """Findings one below the other."""
    return Text("\n").join(finding_text(finding) for finding in findings)
