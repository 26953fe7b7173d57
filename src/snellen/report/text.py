"""Findings and reports of checks as text for a terminal; without a terminal the same words without colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.text import Text

from snellen.core.check_report import CheckReport
from snellen.core.finding import CheckResult, Finding, FixSafety, Level, State

__all__ = ["count_words", "finding_text", "findings_text", "plural", "report_text"]

_LEVEL_STYLE: Final = {Level.ERROR: "bold red", Level.WARNING: "bold yellow", Level.NOTE: "bold cyan"}
_STATE_WORDS: Final = {
    State.FAILED: "failed",
    State.WARNED: "warned",
    State.PASSED: "passed",
    State.NOT_APPLICABLE: "not applicable",
    State.SKIPPED: "skipped",
    State.MUTED: "muted",
    State.CRASHED: "crashed",
}
_SAFETY_WORDS: Final = {
    FixSafety.SAFE: "--fix applies it",
    FixSafety.UNSAFE: "read it first",
    FixSafety.MANUAL: "",
}


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
        text.append(f"  {finding.location}", "dim")
    text.append(f"\n        {finding.message}\n")
    for evidence in finding.evidence[:5]:
        place = f"{evidence.location}: " if evidence.location else ""
        text.append(f"        - {place}{evidence.text}\n", "dim")
    if len(finding.evidence) > 5:
        text.append(f"        - and {len(finding.evidence) - 5} more\n", "dim")
    if finding.fix is not None:
        text.append("        fix: ", "green")
        text.append(finding.fix.text)
        words = _SAFETY_WORDS[finding.fix.safety] if finding.fix.applicable else ""
        text.append(f"  ({words})\n" if words else "\n", "dim")
        if finding.fix.command:
            text.append(f"        $ {finding.fix.command}\n")
    return text


def findings_text(findings: Sequence[Finding]) -> Text:
    """Findings one below the other."""
    return Text("\n").join(finding_text(finding) for finding in findings)


def report_text(report: CheckReport, *, verbose: bool = False) -> Text:
    """A report: findings first, then what was settled, then what was not judged and why.

    Args:
        report: From `check`.
        verbose: Also name the checks that passed.
    """
    findings = report.findings
    text = Text()
    text.append(f"{report.subject}: {count_words(findings)}\n", "bold")
    if findings:
        text.append("\n")
        text.append_text(findings_text(findings))
    if report.settled:
        text.append("\nauto became\n", "bold")
        rows = [(key, str(value), why) for key, value, why in report.settled if str(value) != "auto"]
        text.append(_columns(rows))
    if verbose:
        passed = [result for result in report.results if result.state is State.PASSED]
        text.append("\npassed\n", "bold")
        text.append(_columns([(result.slug, result.title, result.reason) for result in passed]))
    text.append_text(_gaps(report))
    text.append(f"\n{_summary(report)}\n")
    return text


def _gaps(report: CheckReport) -> Text:
    text = Text()
    muted = [result for result in report.results if result.state is State.MUTED]
    partly = [result for result in report.results if result.state is State.PASSED and result.reason]
    for title, results in (("not checked", report.not_judged), ("checked in part", partly), ("muted", muted)):
        if results:
            text.append(f"\n{title}\n", "bold")
            text.append(_columns([_row(result) for result in results]))
    return text


def _row(result: CheckResult) -> tuple[str, str, str]:
    count = f"{plural(len(result.findings), 'finding')}: " if result.state is State.MUTED else ""
    return result.slug, _STATE_WORDS[result.state], f"{count}{result.reason}"


def _summary(report: CheckReport) -> str:
    counts = {state: sum(result.state is state for result in report.results) for state in State}
    words = [f"{count} {_STATE_WORDS[state]}" for state, count in counts.items() if count]
    return f"{plural(len(report.results), 'check')}: {', '.join(words)}"


def _columns(rows: Sequence[tuple[str, str, str]]) -> str:
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    return "".join(f"  {row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]}".rstrip() + "\n" for row in rows)
