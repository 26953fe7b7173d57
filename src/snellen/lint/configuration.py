"""`[tool.snellen.lint]` of pyproject.toml: what a project asks of the linter.

[tool.snellen.lint]
select = ["half-overflow"]              only these rules
ignore = ["unsafe-load"]                all but these
exclude = ["third_party", "*_old.py"]   files and folders that are not looked at
baseline = ".snellen-baseline.json"     findings that are known and wait
[tool.snellen.lint.per-file-ignores]
"tests/**" = ["no-grad-missing"]
"""

from __future__ import annotations

import fnmatch
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from snellen.core.file_kinds import nearest
from snellen.errors import UsageError

__all__ = ["Configuration", "find_configuration", "read_configuration"]

_LISTS = ("select", "ignore", "exclude")
_KEYS = (*_LISTS, "baseline", "per-file-ignores")


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a project asks of the linter.

    Args:
        root: The folder that patterns and the baseline are relative to.
        select: Slugs of the only rules to ask; empty for all.
        ignore: Slugs of rules not to ask.
        exclude: Patterns of files and folders that are not looked at.
        per_file_ignores: Pattern to slugs that are not asked there.
        baseline: The file of known findings, `None` without one.
    """

    root: Path = field(default_factory=Path)
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    per_file_ignores: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    baseline: Path | None = None

    def excludes(self, path: Path) -> bool:
        """Whether a file found below a folder is left out; one named itself never is."""
        return any(_matches(self._relative(path), pattern) for pattern in self.exclude)

    def ignores(self, path: str, slug: str) -> bool:
        """Whether a rule is not asked of a file."""
        if not self.per_file_ignores:
            return False
        place = self._relative(Path(path))
        return any(slug in slugs and _matches(place, pattern) for pattern, slugs in self.per_file_ignores.items())

    def _relative(self, path: Path) -> PurePosixPath:
        return PurePosixPath(Path(os.path.relpath(path.absolute(), self.root.absolute())).as_posix())


def _matches(path: PurePosixPath, pattern: str) -> bool:
    pattern = pattern.rstrip("/").removeprefix("./")
    return any(
        fnmatch.fnmatchcase(str(part), pattern) or fnmatch.fnmatchcase(part.name, pattern)
        for part in (path, *path.parents)
    ) or fnmatch.fnmatchcase(str(path), f"{pattern}/*")


def find_configuration(paths: Sequence[str | os.PathLike[str]]) -> Configuration:
    """The configuration of the nearest pyproject.toml at or above the first path; the default without one.

    Raises:
        UsageError: It has unknown keys or values of the wrong kind; all of them are named.
    """
    start = Path(paths[0] if paths else ".").absolute()
    for folder in (start, *start.parents):
        path = folder / "pyproject.toml"
        if path.is_file():
            return read_configuration(path)
        if (folder / ".git").exists():
            break
    return Configuration()


def read_configuration(path: Path) -> Configuration:
    """The configuration of a pyproject.toml.

    Raises:
        UsageError: It cannot be read, has unknown keys or values of the wrong kind; all of them are named.
    """
    try:
        with path.open("rb") as file:
            table = tomllib.load(file).get("tool", {}).get("snellen", {}).get("lint", {})
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", hint="mend the file, or lint another folder") from error
    problems = list(_problems(table))
    if problems:
        raise UsageError(f"{path}: {'; '.join(problems)}", hint=f"[tool.snellen.lint] takes {', '.join(_KEYS)}")
    baseline = table.get("baseline")
    return Configuration(
        root=path.parent,
        **{name: tuple(table.get(name, ())) for name in _LISTS},
        per_file_ignores={pattern: tuple(slugs) for pattern, slugs in table.get("per-file-ignores", {}).items()},
        baseline=path.parent / baseline if baseline is not None else None,
    )


def _problems(table: Any) -> Iterable[str]:
    if not isinstance(table, dict):
        yield f"tool.snellen.lint is {type(table).__name__}, expected a table"
        return
    for key in table:
        if key not in _KEYS:
            close = nearest(key, _KEYS)
            yield f"unknown key {key!r}" + (f", did you mean {close!r}?" if close else "")
    for key in _LISTS:
        if not _is_list_of_text(table.get(key, [])):
            yield f"{key} is {table[key]!r}, expected a list of texts"
    if not isinstance(table.get("baseline", ""), str):
        yield f"baseline is {table['baseline']!r}, expected a path"
    files = table.get("per-file-ignores", {})
    if not isinstance(files, dict) or not all(_is_list_of_text(slugs) for slugs in files.values()):
        yield "per-file-ignores is not a table of pattern = [slugs]"


def _is_list_of_text(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
