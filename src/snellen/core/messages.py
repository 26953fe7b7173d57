"""Readers of error messages that several rules share."""

from __future__ import annotations

import re
from dataclasses import dataclass

from snellen.core.finding import Evidence
from snellen.core.log import Frame, Log, LoggedException

__all__ = ["Message", "channel_counts", "find_message", "numbers"]

_INTEGER = re.compile(r"\d{1,12}")


@dataclass(frozen=True, slots=True)
class Message:
    """Where a log says something.

    Args:
        match: What was found.
        evidence: The exception or the line that says it.
        error: The exception, `None` when it is only a line, as in a log that was cut.
    """

    match: re.Match[str]
    evidence: Evidence
    error: LoggedException | None = None

    @property
    def frame(self) -> Frame | None:
        """The innermost frame of the user's own code."""
        return self.error.user_frame if self.error is not None else None

    @property
    def facts(self) -> tuple[Evidence, ...]:
        """The message and the line of the user's code that it came from."""
        return (self.evidence,) if self.frame is None else (self.evidence, self.frame.evidence)

    @property
    def code(self) -> str:
        """The code of all frames, one line each, outermost first."""
        return "\n".join(frame.code for frame in self.error.frames) if self.error is not None else ""


def find_message(log: Log, pattern: re.Pattern[str]) -> Message | None:
    """The first exception whose text a pattern is found in, else the first line.

    Example:
        >>> from snellen.core.log import LogLine
        >>> log = Log((LogLine(3, "RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x12 and 8x3)"),))
        >>> find_message(log, re.compile(r"[(](.+) and (.+)[)]")).match.groups()
        ('2x12', '8x3')
    """
    for error in log.exceptions:
        if found := pattern.search(error.text):
            return Message(found, error.evidence, error)
    for line in log.lines:
        if found := pattern.search(line.text):
            return Message(found, line.evidence)
    return None


def numbers(text: str) -> tuple[int, ...]:
    """The whole numbers of a printed shape.

    Example:
        >>> numbers("torch.Size([1, 3, 222, 224])"), numbers("4 x 32768")
        ((1, 3, 222, 224), (4, 32768))
    """
    return tuple(int(found[0]) for found in _INTEGER.finditer(text))


def channel_counts(first: int, second: int) -> bool:
    """Whether two sizes that do not fit read as the channels of images: grey, two, RGB or RGBA.

    Example:
        >>> channel_counts(4, 3), channel_counts(64, 3)
        (True, False)
    """
    return first != second and {first, second} <= {1, 2, 3, 4} and 3 in (first, second)
