"""The evidence that a rule's log facet is given: what a failed (or suspicious) run printed, taken apart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from snellen.core.finding import Evidence, Fix, Location

__all__ = ["Diagnosis", "Frame", "Log", "LogLine", "LogMatch", "LoggedException", "MetricRecord"]

_EVIDENCE_WIDTH = 300
_compiled = lru_cache(maxsize=4096)(re.compile)
"""The rules' patterns together are more than `re` itself remembers."""
_LIBRARY = re.compile(
    r"(?:^|/)(?:site-packages|dist-packages|lib/python3?[\d.]*|lib64/python3?[\d.]*|Lib)/|^<frozen|^<string"
)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log, counted from 1, without colour codes, rank prefixes and time stamps.

    Args:
        number: Its number; several lines have the same one where a collector had put them into one.
        text: What it says.
        stream: The rank, worker or container that printed it, as it was marked; empty when it was not.
    """

    number: int
    text: str
    stream: str = ""

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
        start: Number of the first line of its traceback; `line` when it has none.
        stream: The rank, worker or container that printed it, as its lines are marked: `rank0`; empty when not.
        follows: Whether it only carries or follows from another one: a launcher's, a loader's messenger, a worker
            that lost its peer, an error while the process was ending.
    """

    type: str
    message: str
    frames: tuple[Frame, ...] = ()
    line: int = 0
    start: int = 0
    stream: str = ""
    follows: bool = False

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
    """Numbers that one line reported, for example `{"loss": nan, "lr": 1e-4}`.

    Args:
        line: The line's number.
        values: As printed; a percentage stays one: `{"Acc@1": 67.64}`.
        step: Optimiser step or batch that the line names; within the epoch where the program counts so.
        epoch: Epoch that it names.
        split: `train`, `val` or `test` where the line says so, else empty.
    """

    line: int
    values: Mapping[str, float]
    step: int | None = None
    epoch: int | None = None
    split: str = ""


@dataclass(frozen=True, slots=True)
class Log:
    """A log taken apart; the root cause of a chain of exceptions comes first.

    Args:
        lines: The lines kept for matching (all of a short log; head, tail and telling parts of a huge one).
        exceptions: Root cause first.
        metrics: In the order printed.
        environment: Versions and settings that the log states, for example `{"torch": "2.6.0"}`.
        total_lines: Number of lines read.
        parts: Where several files were read as one log: the number of each one's first line, and its name.
    """

    lines: tuple[LogLine, ...]
    exceptions: tuple[LoggedException, ...] = ()
    metrics: tuple[MetricRecord, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    total_lines: int = 0
    parts: tuple[tuple[int, str], ...] = ()

    @property
    def root(self) -> LoggedException | None:
        """The exception that the others follow from."""
        return self.exceptions[0] if self.exceptions else None

    def search(self, pattern: str, *, flags: re.RegexFlag = re.IGNORECASE) -> LogLine | None:
        """The first kept line that the pattern is found in."""
        return next(self.find(pattern, flags=flags), None)

    def find(self, pattern: str, *, flags: re.RegexFlag = re.IGNORECASE) -> Iterator[LogLine]:
        """All kept lines that the pattern is found in."""
        compiled = _compiled(pattern, flags)
        return (line for line in self.lines if compiled.search(line.text))

    def series(self, name: str, *, split: str | None = None) -> tuple[tuple[MetricRecord, float], ...]:
        """All values of the metrics whose name the pattern is found in, in the order printed.

        Args:
            name: Pattern, case does not count; a record with several such metrics gives the first.
            split: Only records of this split; `None`: all.

        Example:
            >>> log = Log((), metrics=(MetricRecord(1, {"loss": 2.0}), MetricRecord(2, {"Loss": 1.5})))
            >>> [value for _, value in log.series("^loss$")]
            [2.0, 1.5]
        """
        compiled = _compiled(name, re.IGNORECASE)
        records = (record for record in self.metrics if split in (None, record.split))
        found = ((r, next((v for key, v in r.values.items() if compiled.search(key)), None)) for r in records)
        return tuple((record, value) for record, value in found if value is not None)


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
        note: What puts the answer in its place: "an earlier failure", "on 4 ranks"; empty when there is nothing to say.
    """

    slug: str
    title: str
    score: float
    evidence: tuple[Evidence, ...]
    cause: str
    fix: Fix
    confirm: str = ""
    otherwise: str = ""
    note: str = ""
