"""The outcome of all checks of a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from snellen.core.finding import CheckResult, Finding, Level, State

__all__ = ["CheckReport"]

_NOT_JUDGED = (State.NOT_APPLICABLE, State.SKIPPED, State.CRASHED)


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Every check with its one state.

    Args:
        subject: What was checked: the run file, or `this process`.
        results: In the order in which they ran.
        settled: What `auto` became: key path, value, why.
        looked_at: What was looked at, a sentence each.
        forecast: What the run will take, a sentence each.
        seconds: Time taken.

    Example:
        >>> report = CheckReport("run.yaml", (CheckResult("nan-loss", State.SKIPPED, reason="takes minutes"),))
        >>> report.exit_code, [result.slug for result in report.not_judged]
        (0, ['nan-loss'])
    """

    subject: str
    results: tuple[CheckResult, ...]
    settled: tuple[tuple[str, Any, str], ...] = ()
    looked_at: tuple[str, ...] = ()
    forecast: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Findings that count: those of failed and warned checks, errors first."""
        found = [
            finding
            for result in self.results
            if result.state in {State.FAILED, State.WARNED}
            for finding in result.findings
        ]
        return tuple(sorted(found, key=lambda finding: list(Level).index(finding.level)))

    @property
    def not_judged(self) -> tuple[CheckResult, ...]:
        """Checks that came to no judgement: not applicable, skipped or crashed."""
        return tuple(result for result in self.results if result.state in _NOT_JUDGED)

    @property
    def counts(self) -> dict[str, int]:
        """Number of checks by state; every state is there."""
        counted = Counter(result.state for result in self.results)
        return {state.value: counted[state] for state in State}

    @property
    def exit_code(self) -> int:
        """1 with a finding of level error, else 0."""
        return int(any(finding.level is Level.ERROR for finding in self.findings))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON and for `findings.json`."""
        return {
            "subject": self.subject,
            "exit_code": self.exit_code,
            "counts": self.counts,
            "findings": [finding.to_dict() for finding in self.findings],
            "checks": [result.to_dict() for result in self.results],
            "settled": [{"key": key, "value": value, "why": why} for key, value, why in self.settled],
            "looked_at": list(self.looked_at),
            "forecast": list(self.forecast),
            "seconds": round(self.seconds, 3),
        }
