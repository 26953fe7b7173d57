"""The paths that a run file names: there or not, and if not, what stands beside them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from snellen.check.alive import problems_of
from snellen.core.facts.paths import PathFacts
from snellen.core.plan import Plan

__all__ = ["look_at", "named_paths", "provide_paths", "true_case"]

_MADE_BY_THE_RUN = {"output", "cache"}
_LISTS_OF_NAMES = {"data.classes"}  # a path, or a list of words that are none


def provide_paths(plan: Plan) -> tuple[PathFacts, ...]:
    """The fact `paths`: every path that the run reads."""
    named = [(key, given) for key, given in named_paths(plan) if key not in _MADE_BY_THE_RUN]
    problems = problems_of(plan.root / given for _, given in named)
    return tuple(look_at(key, given, plan.root, problem=problems.get(plan.root / given, "")) for key, given in named)


def named_paths(plan: Plan) -> Iterator[tuple[str, str]]:
    """Key path and text of every path in the settings.

    Which keys are paths is known from the schema where the settings fit it; otherwise the usual names are taken.
    """
    try:
        keys = plan.fact("path_keys")
    except Exception:  # noqa: BLE001 - without a schema the usual names do
        keys = ("data.train", "data.val", "data.test", "model.weights", "code")
    for key in keys:
        value = _get(plan.settings, key)
        if isinstance(value, str) and value:
            yield key, value
        elif isinstance(value, list) and key not in _LISTS_OF_NAMES:
            yield from ((f"{key}[{index}]", item) for index, item in enumerate(value) if isinstance(item, str))


def look_at(key: str, given: str, root: Path, *, problem: str = "") -> PathFacts:
    """Facts about one path; with a problem it is not touched."""
    path = root / given
    if problem:
        return PathFacts(key, given, str(path), exists=False, problem=problem)
    exists = _exists(path)
    spelled = true_case(path)
    # A file system that ignores case finds `Train` for `train`; the machine that trains may not.
    other_case = str(spelled) if spelled is not None and spelled.parts[-2:] != path.parts[-2:] else None
    if exists:
        return PathFacts(key, given, str(path), True, other_case)
    names = _names(path.parent)
    close = difflib.get_close_matches(path.name.casefold(), [name.casefold() for name in names], n=1, cutoff=0.6)
    nearest = next((name for name in names if close and name.casefold() == close[0]), None)
    return PathFacts(
        key, given, str(path), False, other_case, nearest, tuple(names[:8]), parent_exists=path.parent.is_dir()
    )


def true_case(path: Path) -> Path | None:
    """The path as the disk spells it when upper and lower case do not count, `None` when it is not there even so."""
    spelled = Path(path.anchor)
    for part in path.parts[1:] if path.anchor else path.parts:
        names = _names(spelled)
        match = next((name for name in names if name.casefold() == part.casefold()), part)
        spelled = spelled / (part if part in names else match)
        if not _exists(spelled):
            return None
    return spelled


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return []


def _get(settings: Mapping[str, Any], key: str) -> Any:
    value: Any = settings
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
