"""Read the numbers that training loops report, whatever the framework, into one kind of record."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from snellen.core.log import LoggedException, LogLine, MetricRecord

__all__ = ["find_metrics"]

_MOST = 50_000
"""Records of one log."""
_MEASURE = re.compile(
    r"loss|\bacc|accuracy|\btop-?[15]|@[15]\b|\biou|miou|dice|\bmap\b|map50|psnr|ssim|\bf1|\bauc|\bnll\b|\bcost\b|objective"
    r"|grad_?norm|elbo|perplexity|precision|recall|f-?score|\bl_\w+|\berr(?:or)?_?\d?\b|\bepe\b|\bfid\b|mem(?:ory)?\b|\bl[12]\b",
    re.IGNORECASE,
)
_PAIR = re.compile(
    r"""["']?(?<![\w./@-])(?P<key>[A-Za-z_][\w./@-]{0,80})["']?\s{0,24}(?:\[[^\]]{0,40}\]\s{0,9})?[:=]?\s{0,24}["']?
        (?:tensor\()?(?P<value>[-+]?(?:nan|inf(?:inity)?|\d[\d,]*\.?\d*(?:e[-+]?\d+)?|\.\d+))
        (?P<unit>\s?[KMGT]i?B?\b|%(?!\|))?(?![\w.%])""",
    re.IGNORECASE | re.VERBOSE,
)
_SHARE = re.compile(r"(?P<key>acc\w*)\s*[:=]?\s*\d+\s*/\s*\d+\s*\((?P<value>\d+(?:\.\d+)?)\s?%\)", re.IGNORECASE)
_EPOCH = re.compile(
    r"epochs?[\"']?\s{0,9}(?:\(\w{1,20}\)\s{0,9})?[:=#]?\s{0,9}\[?\s{0,9}(?P<a>\d+)(?![\d.]*%)|^Train: (?P<b>\d+) \["
    r"|^\s{0,20}(?P<c>\d+)/\d+\s{1,9}[\d.]+[GM]\s",
    re.IGNORECASE,
)
_STEP = re.compile(
    r"(?:\biter(?:ation)?s?|(?:\b|_)step|\bit)[\"']?\s{0,9}[:=]?\s{0,9}\[?\s{0,9}(?P<a>\d[\d,]*)"
    r"|\]\s?\[\s{0,9}(?P<b>\d+)\s?/\s?\d+|\s\[\s{0,9}(?P<c>\d+)/\d+|\|\s{0,9}(?P<d>\d+)/\d+\s\[",
    re.IGNORECASE,
)
_SPLIT = re.compile(
    r"(?<![\w/-])(?:(?P<train>train(?:ing)?)|(?P<val>val(?:id(?:ation)?)?|eval(?:uat(?:ion|ing|e))?)|(?P<test>test(?:ing)?))"
    r"(?![\w/.-])",
    re.IGNORECASE,
)
_KEY_SPLIT = re.compile(
    r"^(?:(train)|(val|valid|validation|eval)|(test))(?=[_/. -])|[/_](?:(train)|(val|valid|eval)|(test))$",
    re.IGNORECASE,
)
_SPLITS = ("train", "val", "test")
_COUNTS = frozenset(
    ("epoch", "epochs", "step", "iter", "iteration", "it", "global_step", "global_iter", "train", "test", "val")
)
_FACTORS = {"K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}
_NUMBER = re.compile(r"^[-+]?(?:nan|inf|(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)%?$", re.IGNORECASE)
_NAME = re.compile(r"^[A-Za-z_][\w./@()\-%]*:?$")
_YOLO = ("Epoch", "GPU_mem", "box_loss", "cls_loss", "dfl_loss", "Instances", "Size")
_YOLO_ROW = re.compile(r"^\s+\d+/\d+\s+[\d.]+[GM]\s+[\d.]+|^\s+\d+/\d+\s+[\d.]+[GM]\s+nan\b")


@lru_cache(maxsize=4096)
def _is_measure(key: str) -> bool:
    return bool(_MEASURE.search(key))


@lru_cache(maxsize=4096)
def _split_of(key: str) -> str | None:
    found = _KEY_SPLIT.search(key)
    return _SPLITS[(found.lastindex or 1) % 3 - 1] if found else None


def find_metrics(lines: Sequence[LogLine], exceptions: Iterable[LoggedException] = ()) -> tuple[MetricRecord, ...]:
    """What the lines report, in their order; the text of exceptions reports nothing."""
    spoken = {
        number for error in exceptions for number in range(error.start, error.line + error.message.count("\n") + 1)
    }
    table = _Table()
    found: list[MetricRecord] = []
    for line in lines:
        if line.number in spoken:
            continue
        record = table.record(line)
        if record is None and not table.header:
            record = _of_line(line)
        if record is not None:
            found.append(record)
            if len(found) >= _MOST:
                break
    return tuple(found)


def _of_line(line: LogLine) -> MetricRecord | None:
    text = line.text
    if "{" in text and (record := _of_json(line)) is not None:
        return record
    if not _MEASURE.search(text):
        return None
    values: dict[str, float] = {}
    for found in _PAIR.finditer(text):
        key, unit = found["key"], (found["unit"] or "").strip()
        measured = _is_measure(key)
        if unit and not (measured or _SPLIT.match(key)):
            continue
        if "mem" in key.lower() or unit in ("", "%"):
            values.setdefault(key, _number(found["value"]) * (_FACTORS.get(unit[:1].upper(), 1.0) if unit else 1.0))
    values.update((found["key"], float(found["value"])) for found in _SHARE.finditer(text))
    return _record(line, values, text)


def _of_json(line: LogLine) -> MetricRecord | None:
    start = line.text.find('{"')
    if start < 0 or start > 40:
        return None
    try:
        data = json.loads(line.text[start:])
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    values = dict(_numbers(data))
    split = str(data.get("mode") or data.get("split") or data.get("phase") or "")
    counted = any(key.lower() in _COUNTS for key in values)
    if not values or not (counted or any(map(_is_measure, values))):
        return None
    return _record(line, values, split, told=True)


def _numbers(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in data.items():
        if isinstance(value, bool):
            continue
        if isinstance(value, (int, float)):
            yield f"{prefix}{key}", _finite_or_not(value)
        elif isinstance(value, str) and _NUMBER.match(value):
            yield f"{prefix}{key}", float(value.rstrip("%"))
        elif isinstance(value, dict) and not prefix:
            yield from _numbers(value, f"{key}/")


def _finite_or_not(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _record(line: LogLine, values: Mapping[str, float], text: str, *, told: bool = False) -> MetricRecord | None:
    measured = [key for key in values if _is_measure(key) or key.lower() in ("train", "test", "val")]
    if not measured and not told:
        return None
    epoch, step = _whole(values, ("epoch",)), _whole(values, ("global_step", "step", "iter", "iteration", "it"))
    if not told:
        epoch = epoch if epoch is not None else _count(_EPOCH, text)
        step = step if step is not None else _count(_STEP, text)
    return MetricRecord(line.number, values, step, epoch, _split(text, measured))


def _whole(values: Mapping[str, float], names: Sequence[str]) -> int | None:
    lowered = {key.lower(): value for key, value in values.items()}
    value = next((lowered[name] for name in names if name in lowered), None)
    return int(value) if value is not None and abs(value) < sys.maxsize else None


def _count(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    value = next((group for group in found.groups() if group), None) if found else None
    return int(value.replace(",", "")[:18]) if value else None


def _split(text: str, keys: Sequence[str]) -> str:
    """Which part of the data was measured: the line says so, or all names do."""
    found = _SPLIT.search(text[:80])
    if found and found.lastgroup:
        return found.lastgroup
    named = {_split_of(key) for key in keys}
    return (named.pop() or "") if len(named) == 1 else ""


def _number(text: str) -> float:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return 0.0


class _Table:
    """Columns under a header: drawn tables, comma-separated values, ultralytics' rows."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._kind = ""
        self.header = False

    def record(self, line: LogLine) -> MetricRecord | None:
        """The record of a row; `None` where the line is none, and `header` tells whether it is one."""
        text = line.text
        self.header = False
        if text.startswith(("|", "│", "┃")):
            return self._drawn(line)
        if text.startswith(("+-", "|-", "├", "┡", "┌", "┏")):
            return None
        if "," in text:
            return self._separated(line)
        return self._aligned(line)

    def _drawn(self, line: LogLine) -> MetricRecord | None:
        cells = [cell.strip() for cell in re.split(r"[|│┃]", line.text.strip("|│┃ "))]
        if not any(_NUMBER.match(cell) for cell in cells):
            if not all(set(cell) <= set("-:=+ ") for cell in cells):
                self._names, self._kind = cells, "drawn"
            return None
        if self._kind != "drawn" or len(cells) != len(self._names):
            return None
        values: dict[str, float] = {}
        row = ""
        for name, cell in zip(self._names, cells, strict=True):
            if _NUMBER.match(cell):
                values.setdefault(f"{name}.{row}" if row else name, float(cell.rstrip("%")))
            else:
                row = cell
        return _record(line, values, "")

    def _separated(self, line: LogLine) -> MetricRecord | None:
        cells = [cell.strip().strip('"') for cell in line.text.split(",")]
        if len(cells) < 3:
            return None
        if all(re.match(r"^[A-Za-z_][\w ./@()\-:]*$", cell) for cell in cells):
            self._names, self._kind = cells, "separated"
            return None
        if self._kind != "separated" or len(cells) != len(self._names):
            return None
        if not all(not cell or _NUMBER.match(cell) for cell in cells):
            return None
        values = {name: float(cell.rstrip("%")) for name, cell in zip(self._names, cells, strict=True) if cell}
        return _record(line, values, "", told=any(name.lower() in _COUNTS for name in values))

    def _aligned(self, line: LogLine) -> MetricRecord | None:
        columns, progress, _ = line.text.partition("%|")
        words = columns.split()[: -1 if progress else None]
        if len(words) >= 4 and all(_NAME.match(word) for word in words) and _MEASURE.search(line.text):
            names = [word.strip(":") for word in words]
            if any(name.lower() in ("epoch", "class", "images") for name in names):
                self._names = [name.partition("(")[2] if "(" in name and ")" not in name else name for name in names]
                self._names = [name.rstrip(")") if "(" not in name else name for name in self._names]
                self._kind, self.header = "aligned", True
            return None
        names = self._names if self._kind == "aligned" else []
        if not names and _YOLO_ROW.match(line.text):
            names = list(_YOLO)
        if not names or len(words) < len(names) or not _NUMBER.match(words[2]):
            return None
        values = {}
        for name, word in zip(names, words, strict=False):
            number = word.rstrip(":").partition("/")[0]
            factor = _FACTORS.get(number[-1:].upper(), 0.0)
            if _NUMBER.match(number):
                values[name] = float(number.rstrip("%"))
            elif factor and _NUMBER.match(number[:-1]):
                values[name] = float(number[:-1]) * factor
        return _record(line, values, "" if names[0] != "Class" else "val") if len(values) >= 3 else None
