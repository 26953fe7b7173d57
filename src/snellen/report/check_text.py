"""The report of a check as text: what was found, what was not checked and why, what was looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rich.text import Text

from snellen.core.check_report import CheckReport
from snellen.core.finding import CheckResult, Finding, Level, State
from snellen.report.text import count_words, finding_text, plural, shown

__all__ = ["by_level_and_family", "by_reason", "report_text"]

_STATE_WORDS: Final = {
    State.FAILED: "failed",
    State.WARNED: "warned",
    State.PASSED: "passed",
    State.NOT_APPLICABLE: "not applicable",
    State.SKIPPED: "skipped",
    State.MUTED: "muted",
    State.CRASHED: "crashed",
}
_NAMED: Final = 4
"""Checks named for one reason; `--verbose` names all."""
_REASONS: Final = 12
"""Reasons that are shown before those of single checks are only counted; `--verbose` shows all."""


def by_level_and_family(results: Iterable[CheckResult]) -> dict[tuple[Level, str], list[Finding]]:
    """Findings that count, errors first, those of one family together."""
    grouped: dict[tuple[Level, str], list[Finding]] = {}
    for result in results:
        if result.state in (State.FAILED, State.WARNED):
            for finding in result.findings:
                grouped.setdefault((finding.level, result.family), []).append(finding)
    return dict(sorted(grouped.items(), key=lambda one: (list(Level).index(one[0][0]), one[0][1])))


def by_reason(results: Iterable[CheckResult]) -> dict[tuple[State, str], list[CheckResult]]:
    """Results that came to no judgement by state and reason: the crashed ones first, then the most frequent reason."""
    grouped: dict[tuple[State, str], list[CheckResult]] = {}
    for result in results:
        grouped.setdefault((result.state, result.reason), []).append(result)
    return dict(sorted(grouped.items(), key=lambda one: (one[0][0] is not State.CRASHED, -len(one[1]))))


def report_text(report: CheckReport, *, verbose: bool = False) -> Text:
    """A report: findings by severity and family, what was settled, what was not judged and why, what was looked at.

    Args:
        report: From `check`.
        verbose: Also name the checks that passed, and all that came to no judgement.
    """
    text = Text()
    text.append(f"{shown(report.subject)}: {count_words(report.findings)}\n", "bold")
    for (level, family), findings in by_level_and_family(report.results).items():
        text.append(f"\n{plural(len(findings), level.value)}{f' · {family}' if family else ''}\n", "bold")
        text.append_text(Text("\n").join(finding_text(finding) for finding in findings))
    text.append_text(_block("looked at", _lines(report.looked_at)))
    text.append_text(_block("it will take", _lines(report.forecast)))
    if report.settled:
        rows = [(key, str(value), why) for key, value, why in report.settled if str(value) != "auto"]
        text.append_text(_block("auto became", _columns(rows)))
    if verbose:
        passed = [result for result in report.results if result.state is State.PASSED]
        rows = [(result.slug, result.title, result.reason) for result in passed]
        text.append_text(_block("passed", _columns(rows)))
    text.append_text(_gaps(report, verbose=verbose))
    text.append(f"\n{_summary(report)}\n")
    return text


def _gaps(report: CheckReport, *, verbose: bool) -> Text:
    text = _block("not checked, because", _reasons(by_reason(report.not_judged), verbose=verbose))
    partly = [result for result in report.results if result.state is State.PASSED and result.reason]
    text.append_text(_block("checked in part", _columns([_row(result) for result in partly])))
    muted = [result for result in report.results if result.state is State.MUTED]
    text.append_text(_block("muted", _columns([_row(result) for result in muted])))
    return text


def _reasons(grouped: Mapping[tuple[State, str], Sequence[CheckResult]], *, verbose: bool) -> str:
    lines: list[str] = []
    left = 0
    for (state, reason), results in grouped.items():
        if not verbose and len(lines) >= _REASONS and len(results) == 1 and state is State.NOT_APPLICABLE:
            left += 1
            continue
        named = len(results) if verbose or state is State.CRASHED else _NAMED
        names = ", ".join(result.slug for result in results[:named])
        more = f" and {len(results) - named} more" if len(results) > named else ""
        said = f"{_STATE_WORDS[state]}: {reason}" if state is State.CRASHED else reason or _STATE_WORDS[state]
        # Most reasons are those of one check; they take a line each.
        body = f"\n      {len(results)}: {names}{more}" if len(results) > 1 else f": {names}"
        lines.append(f"  {said}{body}\n")
    if left:
        lines.append(f"  and {plural(left, 'check')}, each for a reason of its own: --verbose\n")
    return "".join(lines)


def _row(result: CheckResult) -> tuple[str, str, str]:
    count = f"{plural(len(result.findings), 'finding')}: " if result.state is State.MUTED else ""
    return result.slug, _STATE_WORDS[result.state], f"{count}{result.reason}"


def _summary(report: CheckReport) -> str:
    counts = {state: sum(result.state is state for result in report.results) for state in State}
    words = [f"{count} {_STATE_WORDS[state]}" for state, count in counts.items() if count]
    took = f" in {report.seconds:.1f} s" if report.seconds else ""
    return f"{plural(len(report.results), 'check')}{took}: {', '.join(words)}"


def _block(title: str, body: str) -> Text:
    text = Text()
    if body:
        text.append(f"\n{title}\n", "bold")
        text.append(shown(body))
    return text


def _lines(sentences: Sequence[str]) -> str:
    return "".join(f"  {sentence}\n" for sentence in sentences)


def _columns(rows: Sequence[tuple[str, str, str]]) -> str:
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    return "".join(f"  {row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]}".rstrip() + "\n" for row in rows)
