"""The evidence that a rule's log facet is given: what a failed (or suspicious) run printed, taken apart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from snellen.core.finding import Evidence, Fix, Location

__all__ = ["Diagnosis", "Frame", "Log", "LogLine", "LogMatch", "LoggedException", "MetricRecord"]

_EVIDENCE_WIDTH = 300
_LIBRARY = re.compile(
    r"(?:^|/)(?:site-packages|dist-packages|lib/python3?[\d.]*|lib64/python3?[\d.]*|Lib)/|^<frozen|^<string"
)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log, counted from 1, without colour codes, rank prefixes and time stamps."""

    number: int
    text: str

    @property
    def evidence(self) -> Evidence:
        """The line as a fact that a diagnosis rests on."""
        return Evidence(self.text.strip()[:_EVIDENCE_WIDTH], Location("log", self.number))


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a traceback."""

    path: str
    line: int
    function: str
    code: str = ""

    @property
    def in_library(self) -> bool:
        """Whether the file belongs to an installed library or to Python itself, not to the user's project."""
        return bool(_LIBRARY.search(self.path.replace("\\", "/")))

    @property
    def evidence(self) -> Evidence:
        """The frame as a fact that a diagnosis rests on."""
        place = f"{self.path}:{self.line}" if self.line else self.path
        return Evidence(f"{place} in {self.function}: {self.code}".rstrip(": "), Location(self.path, self.line or None))


@dataclass(frozen=True, slots=True)
class LoggedException:
    """One exception of a traceback.

    Args:
        type: The name as printed, for example `torch.OutOfMemoryError`.
        message: Everything after the colon, continuation lines included.
        frames: Outermost first.
        line: Number of the line on which type and message stand.
    """

    type: str
    message: str
    frames: tuple[Frame, ...] = ()
    line: int = 0

    @property
    def text(self) -> str:
        """Type and message in one string."""
        return f"{self.type}: {self.message}" if self.message else self.type

    @property
    def name(self) -> str:
        """The type without its module: `OutOfMemoryError` of `torch.OutOfMemoryError`."""
        return self.type.rpartition(".")[2]

    @property
    def evidence(self) -> Evidence:
        """The exception as a fact that a diagnosis rests on."""
        return Evidence(" ".join(self.text.split())[:_EVIDENCE_WIDTH], Location("log", self.line or None))

    @property
    def user_frame(self) -> Frame | None:
        """The innermost frame outside installed libraries, else the innermost of all."""
        own = [frame for frame in self.frames if not frame.in_library] or self.frames
        return own[-1] if own else None


@dataclass(frozen=True, slots=True)
class MetricRecord:
    """Numbers that one line reported, for example `{"loss": nan, "lr": 1e-4}`."""

    line: int
    values: Mapping[str, float]
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Log:
    """A log taken apart; the root cause of a chain of exceptions comes first.

    Args:
        lines: The lines kept for matching (all of a short log; head, tail and telling parts of a huge one).
        exceptions: Root cause first.
        metrics: In the order printed.
        environment: Versions and settings that the log states, for example `{"torch": "2.6.0"}`.
        total_lines: Number of lines read.
    """

    lines: tuple[LogLine, ...]
    exceptions: tuple[LoggedException, ...] = ()
    metrics: tuple[MetricRecord, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    total_lines: int = 0

    @property
    def root(self) -> LoggedException | None:
        """The exception that the others follow from."""
        return self.exceptions[0] if self.exceptions else None

    def search(self, pattern: str, *, flags: re.RegexFlag = re.IGNORECASE) -> LogLine | None:
        """The first kept line that the pattern is found in."""
        return next(self.find(pattern, flags=flags), None)

    def find(self, pattern: str, *, flags: re.RegexFlag = re.IGNORECASE) -> Iterator[LogLine]:
        """All kept lines that the pattern is found in."""
        compiled = re.compile(pattern, flags)
        return (line for line in self.lines if compiled.search(line.text))


@dataclass(frozen=True, slots=True)
class LogMatch:
    """A rule's claim on a log.

    Args:
        score: How sure, 0 to 1; the fraction of such claims that turn out right.
        evidence: The lines that it rests on.
        cause: Why this happened, in this case.
        fix: What to do, in this case.
    """

    score: float
    evidence: tuple[Evidence, ...]
    cause: str
    fix: Fix


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One answer of `explain`.

    Args:
        slug: The rule that knows the failure.
        title: Its title.
        score: How sure, 0 to 1.
        evidence: The lines of the log that it rests on.
        cause: Why it happened.
        fix: What to do, computed for this case where the log allows it.
        confirm: How to make sure.
        otherwise: When it is something else.
    """

    slug: str
    title: str
    score: float
    evidence: tuple[Evidence, ...]
    cause: str
    fix: Fix
    confirm: str = ""
    otherwise: str = ""
