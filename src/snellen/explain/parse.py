"""Take a log apart: lines, exceptions, metric lines, versions."""

from __future__ import annotations

import io
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from snellen.core.log import Log, LogLine, MetricRecord
from snellen.errors import UsageError
from snellen.explain.notebook import outputs_of
from snellen.explain.reading import read_lines
from snellen.explain.tracebacks import find_exceptions

__all__ = ["parse"]

_METRIC_LINE = re.compile(r"loss|cost|objective|\bnll\b|grad_?norm|elbo|perplexity", re.IGNORECASE)
_METRIC = re.compile(
    r"""["']?(?<![\w./@-])(?P<key>[A-Za-z_][\w./@-]*)["']?\s*(?:\[[^\]]*\]\s*)?[:=]?\s*
        (?:tensor\()?(?P<value>[-+]?(?:nan|inf(?:inity)?|\d[\d,]*\.?\d*(?:e[-+]?\d+)?|\.\d+))(?![\w.%])""",
    re.IGNORECASE | re.VERBOSE,
)
_VERSION = re.compile(
    r"\b(?P<name>torch|pytorch|torchvision|numpy|timm|cuda|python|pillow|opencv)(?: version)?\s*[:=]*\s*v?"
    r"(?P<version>\d+\.\d+(?:\.\d+)?(?:\+\w+)?)",
    re.IGNORECASE,
)
_STEP_KEYS = ("step", "iter", "iteration", "global_step", "it")


def parse(source: str | os.PathLike[str] | BaseException | BinaryIO, *, triggers: Iterable[str] = ()) -> Log:
    """Take a log apart.

    Args:
        source: A path (a log or a saved notebook), the text itself, an exception, or an open byte stream. A string
            without a line break that names a file is a path.
        triggers: Lower-case literals whose surroundings are kept of a huge log.

    Raises:
        UsageError: The file cannot be read.

    Example:
        >>> parse("epoch 3 loss: nan").metrics[0].values["loss"]
        nan
    """
    if isinstance(source, BaseException):
        text = "".join(traceback.format_exception(source))
        return _parse(io.BytesIO(text.encode("utf-8", "replace")), triggers)
    if isinstance(source, str) and not _names_file(source):
        return _parse(io.BytesIO(source.encode("utf-8", "replace")), triggers)
    if isinstance(source, (str, os.PathLike)):
        return _parse_file(Path(source), triggers)
    return _parse(source, triggers)


def _names_file(text: str) -> bool:
    if "\n" in text or not text or "\0" in text or len(text) > 4096:
        return False
    try:
        return Path(text).is_file()
    except OSError:
        return False


def _parse_file(path: Path, triggers: Iterable[str]) -> Log:
    try:
        if path.suffix == ".ipynb":
            return _parse(io.BytesIO(outputs_of(path.read_bytes(), str(path)).encode("utf-8", "replace")), triggers)
        with path.open("rb") as stream:
            return _parse(stream, triggers)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot read {path}: {reason}", hint="give the path of a log file, or - for stdin") from error


def _parse(stream: BinaryIO, triggers: Iterable[str]) -> Log:
    kept = read_lines(stream, triggers)
    return Log(
        lines=tuple(kept.lines),
        exceptions=find_exceptions(kept.lines),
        metrics=tuple(_metrics(kept.lines)),
        environment=_environment(kept.lines),
        total_lines=kept.total,
    )


def _metrics(lines: Sequence[LogLine]) -> Iterator[MetricRecord]:
    for line in lines:
        if not _METRIC_LINE.search(line.text):
            continue
        values = {found["key"]: _number(found["value"]) for found in _METRIC.finditer(line.text)}
        if values:
            step = next((values[key] for key in _STEP_KEYS if key in values), None)
            whole = int(step) if step is not None and abs(step) < sys.maxsize else None
            yield MetricRecord(line.number, values, whole)


def _number(text: str) -> float:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return 0.0


def _environment(lines: Sequence[LogLine]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        for version in _VERSION.finditer(line.text):
            name = version["name"].lower()
            found.setdefault("torch" if name == "pytorch" else name, version["version"])
    return found
