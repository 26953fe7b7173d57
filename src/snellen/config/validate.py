"""Validation of a run file: every problem at once, each with place, found, expected, and a fix where one follows."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from snellen.config.describe import SchemaView, describe_value, nearest
from snellen.config.document import Document, join_key, parse_value, split_key
from snellen.config.schema import RunConfig
from snellen.core.finding import Edit, Finding, Fix, FixSafety, Level, Location
from snellen.errors import ConfigError

__all__ = ["COMMAND_LINE", "put_setting", "validate"]

COMMAND_LINE = "command line"
"""The path of a finding about a setting that was typed and not read from a file."""

Parts = tuple[str | int, ...]

_MOST = 100
"""Problems that are told; a file with more is another kind of file, and each takes time to look into."""

_SWITCHES = {"yes": True, "on": True, "y": True, "true": True, "no": False, "off": False, "n": False, "false": False}


@dataclass(frozen=True, slots=True)
class _Problem:
    parts: Parts
    kind: str
    message: str


def validate(
    document: Document, schema: type[RunConfig], *, overridden: frozenset[str] = frozenset()
) -> tuple[RunConfig | None, tuple[Finding, ...]]:
    """Validate a document.

    Args:
        document: The run file, overrides already in its data.
        schema: The task's run model.
        overridden: Key paths that were given on the command line.

    Returns:
        The settings, `None` when there are problems; and the problems in the order of the file.
    """
    view = SchemaView(schema)
    reporter = _Reporter(document, view, schema, overridden)
    config, problems = _run_pydantic(document.data, schema)
    problems += [
        _Problem(parts, "empty_path", "an empty path")
        for parts, value in _leaves(document.data, ())
        if value == "" and view.takes_path(parts)
    ]
    unread = {finding.location.key for finding in document.problems if finding.location is not None}
    problems = [one for one in problems if _join(one.parts) not in unread or _get(document.data, one.parts) is not None]
    told = document.problems[:_MOST]
    findings = [*told, *(reporter.report(problem) for problem in problems[: _MOST - len(told)])]
    findings.sort(key=lambda finding: (finding.location and finding.location.line) or 0)
    left = len(document.problems) + len(problems) - len(findings)
    if left:
        text = f"and {left} more problems with keys and values, which are told when some of these are mended"
        findings.append(Finding("config-type", Level.ERROR, text, Location(document.path)))
    return (None, tuple(findings)) if findings else (config, ())


def _run_pydantic(data: Mapping[str, Any], schema: type[RunConfig]) -> tuple[RunConfig | None, list[_Problem]]:
    try:
        # JSON mode, because strict Python mode wants tuples and Path objects where YAML has lists and text.
        return schema.model_validate_json(json.dumps(data)), []
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
    problems: dict[Parts, _Problem] = {}
    branches = set()
    for detail in details:
        parts = _parts_in_data(detail["loc"], data, missing=detail["type"] == "missing")
        # The branches of a union complain one by one; the first stands for all.
        problems.setdefault(parts, _Problem(parts, detail["type"], detail["msg"]))
        if detail["loc"] != parts and detail["loc"][-1:] != ("[key]",):
            branches.add(parts)
    # Where one branch fits but for a value inside, that value is the problem, not what the other branches wanted.
    closer = {parts[:length] for parts in problems for length in range(len(parts))}
    return None, [one for parts, one in problems.items() if parts not in branches & closer]


def _parts_in_data(loc: Sequence[str | int], data: Any, *, missing: bool) -> Parts:
    """Leave out what pydantic adds to a place: the name of a union's branch."""
    parts: list[str | int] = []
    for index, part in enumerate(loc):
        if isinstance(data, Mapping) and part in data:
            data = data[str(part)]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif missing and index < len(loc) - 1:
            break
        elif not missing:
            continue
        parts.append(part)
    return tuple(parts)


def _leaves(data: Any, parts: Parts) -> Iterator[tuple[Parts, Any]]:
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from _leaves(value, (*parts, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _leaves(value, (*parts, index))
    else:
        yield parts, data


class _Reporter:
    """Turns problems into findings."""

    def __init__(
        self, document: Document, view: SchemaView, schema: type[RunConfig], overridden: frozenset[str]
    ) -> None:
        self._document = document
        self._view = view
        self._schema = schema
        self._overridden = overridden

    def report(self, problem: _Problem) -> Finding:
        if problem.kind == "extra_forbidden":
            return self._unknown(problem)
        key = _join(problem.parts)
        expected = self._view.expected(problem.parts)
        if problem.kind == "missing":
            return self._finding("config-type", problem.parts, f"{key} is missing, expected {expected}")
        found = _get(self._document.data, problem.parts)
        message = f"{key or 'the run file'} is {describe_value(found)}, expected {expected}"
        if problem.kind in {"value_error", "assertion_error"}:
            text = problem.message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
            message = f"{key or 'the run file'}: {text}"
        elif problem.kind == "empty_path":
            message = f"{key} is empty, expected a path"
        return self._finding("config-type", problem.parts, message, self._mend(problem.parts, found))

    def _unknown(self, problem: _Problem) -> Finding:
        parts, name = problem.parts, str(problem.parts[-1])
        valid = self._view.keys(parts[:-1])
        section = _join(parts[:-1])
        message = f"{_join(parts)} is not a key that this run knows"
        match = nearest(name, valid)
        if match is not None:
            meant, certain = match
            fix = self._rename(parts, meant, certain=certain)
            return self._finding("config-unknown-key", parts, f"{message}; the nearest is {meant}", fix)
        elsewhere = self._view.elsewhere(name)
        if elsewhere:
            fix = Fix(f"Move it to {elsewhere}.", reason="the sections differ")
            return self._finding("config-unknown-key", parts, f"{message}; there is {elsewhere}", fix)
        where = f"{section} takes" if section else "a run file takes"
        fix = Fix("Remove it.", reason="what it was meant to do is not known")
        return self._finding("config-unknown-key", parts, f"{message}; {where} {', '.join(valid) or 'no keys'}", fix)

    def _rename(self, parts: Parts, meant: str, *, certain: bool) -> Fix:
        key, place = _join(parts), self._document.positions.get(_join(parts))
        target = (*parts[:-1], meant)
        text = f"Write {_join(target)} instead of {key}."
        if _has(self._document.data, target):
            return Fix(f"Remove {key}: {_join(target)} is given, too.", reason="only one of the two can be meant")
        written = self._line_text(place.line)[place.column - 1 :] if place and key not in self._overridden else ""
        name = str(parts[-1])
        if not place or not written.startswith(name):
            return Fix(text)
        edit = Edit(self._document.path, place.line, place.column - 1, place.line, place.column - 1 + len(name), meant)
        if certain:
            return Fix(text, FixSafety.SAFE, "it is the same word in another spelling", (edit,))
        return Fix(text, FixSafety.UNSAFE, "another key may have been meant", (edit,))

    def _line_text(self, line: int) -> str:
        lines = self._document.text.split("\n")
        return lines[line - 1] if line <= len(lines) else ""

    def _mend(self, parts: Parts, found: Any) -> Fix | None:
        key = _join(parts)
        settings_ok = key not in self._overridden and bool(parts)
        for value, reason in _candidates(found):
            if self._accepts(parts, value):
                return self._set(key, value, FixSafety.SAFE, reason, settings_ok=settings_ok)
        if isinstance(found, str) and (match := nearest(found, self._view.choices(parts), typos=False)):
            word = next((v for v in (match[0], _SWITCHES.get(match[0])) if self._accepts(parts, v)), None)
            if word is not None:
                safety = FixSafety.SAFE if match[1] else FixSafety.UNSAFE
                reason = "another name for the same thing" if match[1] else "another word may have been meant"
                return self._set(key, word, safety, reason, settings_ok=settings_ok)
        return None

    def _set(self, key: str, value: Any, safety: FixSafety, reason: str, *, settings_ok: bool) -> Fix:
        text = f"Write {key}: {_yaml(value)}"
        return Fix(text, safety, reason, settings=((key, value),)) if settings_ok else Fix(text, reason=reason)

    def _accepts(self, parts: Parts, value: Any) -> bool:
        data = copy.deepcopy(self._document.data)
        _put(data, parts, value)
        _, problems = _run_pydantic(data, self._schema)
        return not any(problem.parts[: len(parts)] == parts for problem in problems)

    def _finding(self, slug: str, parts: Parts, message: str, fix: Fix | None = None) -> Finding:
        key = _join(parts)
        if any(key == given or key.startswith((f"{given}.", f"{given}[")) for given in self._overridden):
            return Finding(slug, Level.ERROR, message, Location(COMMAND_LINE, key=key), fix=fix)
        place, at_value = None, slug == "config-type"
        for length in range(len(parts), 0, -1):
            place = self._document.positions.get(_join(parts[:length]))
            if place is not None:
                break
            at_value = False
        line = column = None
        if place is not None:
            line, column = (place.value_line, place.value_column) if at_value else (place.line, place.column)
        return Finding(slug, Level.ERROR, message, Location(self._document.path, line, column, key or None), fix=fix)


def _candidates(found: Any) -> Iterator[tuple[Any, str]]:
    """Values that say the same as the one found, in another type."""
    if isinstance(found, str):
        text = found.strip()
        if text.lower() in _SWITCHES:
            yield _SWITCHES[text.lower()], "YAML 1.2 knows true and false only"
        try:
            value = parse_value(text.replace("_", ""))
        except ConfigError:
            value = found
        if value != found and text:
            yield value, "the same value without quotes"
        if text.lower() in {"none", "nil", "null", "~"}:
            yield None, "YAML writes nothing as null"
    if isinstance(found, float) and found.is_integer() and abs(found) < 2**53:
        yield int(found), "the same number, written as a whole one"
    if not isinstance(found, (list, dict)) and found != "":
        yield [found], "a list of one"


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _join(parts: Parts) -> str:
    key = ""
    for part in parts:
        key = join_key(key, part)
    return key


def _has(data: Any, parts: Parts) -> bool:
    *parents, last = parts
    section = _get(data, tuple(parents))
    return isinstance(section, Mapping) and last in section


def _get(data: Any, parts: Parts) -> Any:
    for part in parts:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _put(data: Any, parts: Parts, value: Any) -> None:
    *parents, last = parts
    for part in parents:
        data = data.setdefault(part, {}) if isinstance(data, dict) else data[part]
    data[last] = value


def put_setting(data: dict[str, Any], key: str, value: Any) -> None:
    """Set one key path in nested data; missing sections are made.

    Raises:
        ConfigError: A part of the path is not a section.

    Example:
        >>> data = {"optim": {"lr": 1}}
        >>> put_setting(data, "optim.epochs", 3)
        >>> data
        {'optim': {'lr': 1, 'epochs': 3}}
    """
    try:
        _put(data, split_key(key), value)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ConfigError(f"cannot set {key}: a part of it is not a section") from error
