"""Sizes of memory as logs print them, and how a column of them moves over a run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from snellen.core.log import Log, LogLine

__all__ = ["MemorySeries", "bytes_of", "growing_memory", "keeps_growing", "memory_series", "readable"]

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50, "e": 2**60}
_SIZE = re.compile(r"(?P<number>\d[\d,]*(?:\.\d+)?)\s?(?P<unit>[KMGTPE]?)i?(?:B(?:ytes?)?)?\b", re.IGNORECASE)
_NAMED = re.compile(
    r"(?P<key>(?:mem(?:ory)?|vram|ram|rss|uss)"
    r"(?:[ _-]?(?:used?|usage|alloc(?:ated)?|consumption|reserved|mb|gb|mib|gib|footprint)){0,2})"
    r"[\"']?\s{0,4}(?:\([A-Za-z]{1,3}\))?\s{0,4}(?:is|[:=])?\s{0,6}"
    r"(?P<number>\d[\d,]*(?:\.\d+)?)\s?(?P<unit>[KMGT]i?B?|bytes)?(?![\w%.]|\s?%)",
    re.IGNORECASE,
)
_BEFORE = re.compile(
    r"(?:^|[^A-Za-z])(?P<prefix>(?:(?:max|peak|gpu|cuda|cpu|host|process|current|used|allocated|total)[ _-]?){0,3})$",
    re.IGNORECASE,
)
_ULTRALYTICS = re.compile(r"^\s*\d{1,5}/\d{1,5}\s+(?P<number>\d+(?:\.\d+)?)G\s")
_SMI = re.compile(r"(?P<number>\d{1,6})\s?MiB\s?/\s?(?P<total>\d{2,6})\s?MiB")
_ROW = re.compile(
    r"\b\d+(?:\.\d+)?\s?[MG](?:i?B)?(?:\s{0,3}(?:--|->|=>|→|,|\|)\s{0,3}\d+(?:\.\d+)?\s?[MG](?:i?B)?){4,200}"
)
_TENSORS = re.compile(
    r"\b(?:count|number|num|#)\s?(?:of)?\s?(?:\w{1,12} ){0,2}?(?:tensors|objects)\b[^\d\n]{0,30}(?P<number>\d{2,9})\b",
    re.IGNORECASE,
)
_SEPARATORS = 4
_MOST_LINES = 4000
_LIKELY = ("nvidia-smi", "mem", "ram", "rss", "uss", "mib", "tensors", "objects")


@dataclass(frozen=True, slots=True)
class MemorySeries:
    """One column of a log.

    Args:
        name: As printed: `memory`, `max_mem`, `GPU_mem`.
        values: Bytes, or whatever unit the log leaves out; a count for `tensors`.
        lines: The line of each value.
        unit: `bytes`, `count`, or `""` when the log does not say.
        total: Size of the device, where the log says it.
    """

    name: str
    values: tuple[float, ...]
    lines: tuple[LogLine, ...]
    unit: str = "bytes"
    total: float | None = None


def bytes_of(text: str) -> int | None:
    """A printed size in bytes.

    Example:
        >>> bytes_of("1.5 GiB"), bytes_of("20.00 MB"), bytes_of("151781376 bytes")
        (1610612736, 20971520, 151781376)
    """
    found = _SIZE.search(text)
    return None if found is None else int(float(found["number"].replace(",", "")) * _UNITS[found["unit"].lower()])


def readable(count: float) -> str:
    """A number of bytes for people.

    Example:
        >>> readable(8.08 * 2**30), readable(7_340_032)
        ('8.08 GiB', '7 MiB')
    """
    if count >= 2**40:
        return f"{count / 2**40:,.1f} TiB"
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def memory_series(log: Log) -> tuple[MemorySeries, ...]:
    """The columns of a log that report memory, each rank for itself."""
    found: dict[tuple[str, str], list[tuple[float, LogLine, str, float | None]]] = {}
    row = 0
    for line, lowered in _telling(log):
        if "nvidia-smi" in lowered:
            row = 0
        if match := _ULTRALYTICS.match(line.text):
            found.setdefault(("GPU_mem", line.stream), []).append((_number(match, "g"), line, "bytes", None))
        elif match := _SMI.search(line.text) if "mib" in lowered else None:
            entry = (_number(match, "m"), line, "bytes", float(match["total"]) * 2**20)
            found.setdefault((f"GPU {row} of nvidia-smi", line.stream), []).append(entry)
            row += 1
        else:
            for name, value, unit in _values(line.text, lowered):
                found.setdefault((name, line.stream), []).append((value, line, unit, None))
    series = [
        MemorySeries(name, tuple(e[0] for e in column), tuple(e[1] for e in column), column[0][2], column[-1][3])
        for (name, _), column in found.items()
    ]
    return (*series, *_rows(log))


def _telling(log: Log) -> list[tuple[LogLine, str]]:
    """The lines that may report memory, also in lower case; of a long log the last ones."""
    pairs = ((line, line.text.lower()) for line in log.lines)
    return [
        (line, text) for line, text in pairs if any(word in text for word in _LIKELY) or _ULTRALYTICS.match(line.text)
    ][-_MOST_LINES:]


def _number(match: re.Match[str], unit: str) -> float:
    return float(match["number"].replace(",", "")) * _UNITS[unit[:1].lower()]


def _values(text: str, lowered: str) -> Iterator[tuple[str, float, str]]:
    counted = "tensors" in lowered or "objects" in lowered
    if match := _TENSORS.search(text) if counted else None:
        yield "tensors", float(match["number"]), "count"
    seen: set[str] = set()
    for match in _NAMED.finditer(text):
        before = _BEFORE.search(text[max(0, match.start() - 40) : match.start()])
        name, unit = f"{before['prefix'] if before else ''}{match['key']}".strip().lower(), match["unit"] or ""
        if before is None or name in seen:
            continue
        seen.add(name)
        if unit.lower().startswith("b"):
            unit = ""
        scale = unit or next((mark[0] for mark in ("gib", "gb", "mib", "mb") if name.endswith(mark)), "")
        yield name, _number(match, scale), "bytes" if scale or match["unit"] else ""


def _rows(log: Log) -> Iterator[MemorySeries]:
    """Values that stand side by side in one line."""
    for line in log.lines:
        several = line.text.count("M") + line.text.count("G") > _SEPARATORS
        match = _ROW.search(line.text) if several else None
        if match:
            values = tuple(float(bytes_of(part[0]) or 0) for part in re.finditer(r"\d+(?:\.\d+)?\s?[MG]", match[0]))
            yield MemorySeries("memory", values, (line,) * len(values))


_BLOCKS = 6
_LEAST, _ENOUGH = 4, 8
"""Reports that a judgement takes at all, and for the milder test."""


def keeps_growing(values: Sequence[float]) -> bool:
    """Whether a column still grows at its end as it did before, and by much: it does not level off.

    Example:
        >>> keeps_growing([100, 150, 200, 250, 300, 350, 400, 450])
        True
        >>> keeps_growing([2934, 4413, 4433, 4537, 4537, 4537, 4537, 4537])
        False
    """
    if len(values) < _LEAST:
        return False
    lowest, least_growth, last_share = list(values), 1.5, 0.6
    if len(values) >= _ENOUGH:
        # What is lowest in each part: a peak that comes and goes is no leak. The first part is the warm-up.
        edges = [round(part * len(values) / _BLOCKS) for part in range(_BLOCKS + 1)]
        lowest = [min(values[low:high]) for low, high in pairwise(edges)][1:]
        least_growth, last_share = 1.25, 0.4
    steps = [after - before for before, after in pairwise(lowest)]
    mean = (lowest[-1] - lowest[0]) / len(steps)
    steady = all(step > 0 for step in steps) and steps[-1] >= mean * last_share and max(steps) <= mean * 2.5
    return steady and lowest[-1] >= lowest[0] * least_growth


def growing_memory(log: Log) -> MemorySeries | None:
    """The column of a log that keeps growing, the one that grew most."""
    growing = [series for series in memory_series(log) if series.unit != "count" and keeps_growing(series.values)]
    return max(growing, key=lambda series: series.values[-1] / max(series.values[0], 1e-9), default=None)
