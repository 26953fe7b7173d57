"""Take a log apart: lines, exceptions, metrics, environment."""

from __future__ import annotations

import io
import os
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from snellen.core.log import Log
from snellen.errors import UsageError
from snellen.explain.decoding import text_stream
from snellen.explain.environment import find_environment
from snellen.explain.metrics import find_metrics
from snellen.explain.reading import Collector, Kept, read_into
from snellen.explain.sources import files_of, opened
from snellen.explain.streams import unmarked
from snellen.explain.tracebacks import find_exceptions

__all__ = ["Parsed", "Source", "parse", "parsed", "read"]

Source = str | os.PathLike[str] | BaseException | BinaryIO
"""What can be explained: a path, a text, an exception, an open byte stream."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A log taken apart.

    Args:
        log: The log.
        found: The triggers that any of its lines held, kept or not.
        problems: Files of a folder that could not be read, one line each.
    """

    log: Log
    found: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()


def parse(source: Source, *, triggers: Iterable[str] = ()) -> Log:
    """Take a log apart.

    Args:
        source: A path (a log, a saved notebook, a TensorBoard event file, a folder of them), the text itself, an
            exception, or an open byte stream. A string without a line break that names a file or folder is a path.
        triggers: Lower-case literals whose surroundings are kept of a huge log.

    Raises:
        UsageError: It cannot be read, or is not text.

    Example:
        >>> parse("epoch 3 loss: nan").metrics[0].values["loss"]
        nan
    """
    return read(source, triggers=triggers).log


def read(source: Source, *, triggers: Iterable[str] = ()) -> Parsed:
    """As `parse`, with what could not be read.

    Raises:
        UsageError: Nothing can be read.
    """
    collector = Collector(triggers)
    if isinstance(source, BaseException):
        text = "".join(traceback.format_exception(source))
        return _parsed(collector, io.BytesIO(text.encode("utf-8", "replace")))
    if isinstance(source, str) and not _names_something(source):
        return _parsed(collector, io.BytesIO(source.encode("utf-8", "replace")))
    if not isinstance(source, (str, os.PathLike)):
        return _parsed(collector, text_stream(source, "what comes in"))
    path = Path(source)
    if path.is_dir():
        return _folder(collector, path)
    with opened(path) as stream:
        return _parsed(collector, stream)


def parsed(kept: Kept, parts: Sequence[tuple[int, str]] = (), problems: Sequence[str] = ()) -> Parsed:
    """The lines that were kept, taken apart."""
    lines = unmarked(kept.lines)
    exceptions = find_exceptions(lines)
    log = Log(
        lines=tuple(lines),
        exceptions=exceptions,
        metrics=find_metrics(lines, exceptions),
        environment=find_environment(lines),
        total_lines=kept.total,
        parts=tuple(parts),
    )
    return Parsed(log, kept.found, tuple(problems))


def _names_something(text: str) -> bool:
    if "\n" in text or not text or "\0" in text or len(text) > 4096:
        return False
    try:
        return Path(text).exists()
    except OSError:
        return False


def _parsed(collector: Collector, stream: BinaryIO) -> Parsed:
    read_into(collector, stream)
    return parsed(collector.finish())


def _folder(collector: Collector, folder: Path) -> Parsed:
    parts: list[tuple[int, str]] = []
    problems: list[str] = []
    for path in files_of(folder):
        try:
            with opened(path) as stream:
                parts.append((collector.begin(), path.relative_to(folder).as_posix()))
                read_into(collector, stream)
        except UsageError as error:
            problems.append(str(error))
    if not parts:
        raise UsageError(f"{folder} holds no log that can be read: {problems[0]}")
    return parsed(collector.finish(), parts, problems)
