"""What a check, a linter pass or a guard has to say: findings, their evidence and their fixes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

__all__ = ["CheckResult", "Edit", "Evidence", "Finding", "Fix", "FixSafety", "Level", "Location", "State"]


class Level(StrEnum):
    """How bad a finding is; an `error` makes the exit code 1."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class State(StrEnum):
    """How a check ended. Every check ends in exactly one of these, so that silence is never ambiguous."""

    FAILED = "failed"
    WARNED = "warned"
    PASSED = "passed"
    NOT_APPLICABLE = "not-applicable"
    SKIPPED = "skipped"
    MUTED = "muted"
    CRASHED = "crashed"


class FixSafety(StrEnum):
    """Whether a fix may be applied without a person reading it."""

    SAFE = "safe"
    UNSAFE = "unsafe"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a file: line and column count from 1; `key` is a path such as `optim.lr`."""

    path: str
    line: int | None = None
    column: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)
        return f"{place} ({self.key})" if self.key else place


@dataclass(frozen=True, slots=True)
class Evidence:
    """One fact that a finding rests on, and where it was seen."""

    text: str
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace a span of a text file; lines count from 1, columns from 0 (as in `ast`), the end is exclusive."""

    path: str
    start_line: int
    start_column: int
    end_line: int
    end_column: int
    replacement: str


@dataclass(frozen=True, slots=True)
class Fix:
    """What to do about a finding.

    Args:
        text: The fix for this very case, in one or two sentences.
        safety: `safe` fixes are applied by `--fix`; `manual` ones cannot be applied by a program.
        reason: Why the fix is safe, or why it is not.
        edits: Changes of text files.
        settings: Changes of the run file by key path, for example `{"data.train": "data/train"}`.
        command: A command to type.
    """

    text: str
    safety: FixSafety = FixSafety.MANUAL
    reason: str = ""
    edits: tuple[Edit, ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()
    command: str | None = None

    @property
    def applicable(self) -> bool:
        """Whether a program can apply it."""
        return bool(self.edits or self.settings)


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem, by the rule that knows it.

    Example:
        >>> finding = Finding("half-overflow", Level.ERROR, "-1e9 does not fit float16")
        >>> finding.to_dict()["slug"]
        'half-overflow'
    """

    slug: str
    level: Level
    message: str
    location: Location | None = None
    evidence: tuple[Evidence, ...] = ()
    fix: Fix | None = None

    @property
    def mendable(self) -> bool:
        """Whether `--fix` mends it."""
        return self.fix is not None and self.fix.applicable and self.fix.safety is FixSafety.SAFE

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; the place is flattened to `path`, `line`, `column`, `key`."""
        data = asdict(self)
        place = data.pop("location") or {"path": None, "line": None, "column": None, "key": None}
        return {**data, "level": self.level.value, **place}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The end of one check.

    Args:
        slug: The rule.
        state: The one state it ended in.
        title: The rule's title, for people.
        findings: Not empty when failed, warned or muted.
        reason: Why it did not apply, was skipped or crashed; what was looked at when it passed.
        seconds: Time taken.
        family: The rule's family; `rehearsal` for a stage of a rehearsal.
    """

    slug: str
    state: State
    title: str = ""
    findings: tuple[Finding, ...] = ()
    reason: str = ""
    seconds: float = 0.0
    family: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "slug": self.slug,
            "family": self.family,
            "state": self.state.value,
            "title": self.title,
            "findings": [finding.to_dict() for finding in self.findings],
            "reason": self.reason,
            "seconds": round(self.seconds, 4),
        }
