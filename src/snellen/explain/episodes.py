"""Several failures in one log are told apart: what ended the run, and what it or an earlier one got over."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from snellen.core.log import Log, LoggedException
from snellen.explain.commands import is_command

__all__ = ["Episode", "episodes"]

_WENT_ON = 3
"""Records of metrics after a failure that show that the run went on."""


@dataclass(frozen=True, slots=True)
class Episode:
    """A stretch of a log that ends with a failure, or with the log.

    Args:
        log: Its lines, exceptions and metrics; the environment is that of the whole log.
        last: Whether the log ends with it.
        went_on: Whether the run, or another one, goes on after it.
    """

    log: Log
    last: bool
    went_on: bool


def episodes(log: Log) -> list[Episode]:
    """The episodes of a log, the one that ended it first; most logs are one.

    Example:
        >>> len(episodes(Log(())))
        1
    """
    cuts = _cuts(log)
    if not cuts:
        return [Episode(log, last=True, went_on=False)]
    edges = [0, *cuts, max(line.number for line in log.lines) + 1]
    parts = [_part(log, start, end) for start, end in itertools.pairwise(edges)]
    last = parts.pop()
    ended = Episode(last, last=True, went_on=False)
    return [ended, *(Episode(part, last=False, went_on=True) for part in reversed(parts))]


def _cuts(log: Log) -> list[int]:
    """Numbers of the lines at which a new episode begins."""
    failures = sorted((error for error in log.exceptions if not error.follows), key=lambda error: error.line)
    cuts: list[int] = []
    for place, error in enumerate(failures):
        end = error.line + error.message.count("\n")
        following = failures[place + 1].start if place + 1 < len(failures) else None
        cut = _resumed(log, end, following)
        if cut is not None:
            cuts.append(cut)
    return cuts


def _resumed(log: Log, end: int, following: int | None) -> int | None:
    """The line at which work goes on between one failure and the next, or the end."""
    stop = following if following is not None else float("inf")
    command = next((line.number for line in log.lines if end < line.number < stop and is_command(line.text)), None)
    if command is not None and (following is not None or _more_than_a_prompt(log, command)):
        return command
    between = [record.line for record in log.metrics if end < record.line < stop]
    return end + 1 if len(between) >= _WENT_ON else None


def _more_than_a_prompt(log: Log, number: int) -> bool:
    return sum(line.number > number and bool(line.text.strip()) for line in log.lines) >= _WENT_ON


def _part(log: Log, start: int, end: int) -> Log:
    exceptions = tuple(error for error in log.exceptions if start <= error.line < end)
    return replace(
        log,
        lines=tuple(line for line in log.lines if start <= line.number < end),
        exceptions=_with_a_root(exceptions),
        metrics=tuple(record for record in log.metrics if start <= record.line < end),
    )


def _with_a_root(exceptions: Sequence[LoggedException]) -> tuple[LoggedException, ...]:
    if exceptions and all(error.follows for error in exceptions):
        return (replace(exceptions[0], follows=False), *exceptions[1:])
    return tuple(exceptions)
