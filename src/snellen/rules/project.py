"""A project's own rules: the files of the folder `snellen_rules/` beside its pyproject.toml.

They are Python code of the project that one works in, and are run as such, as pytest runs a project's conftest.py: only
the folder of the current directory's own project counts, never one below a path that is looked at.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from snellen._env import project_rules_wanted
from snellen.core.rule import Rule

__all__ = ["FOLDER", "find_files", "find_folder", "project_rules"]

FOLDER = "snellen_rules"
_MARKERS = ("pyproject.toml", ".git")


def find_folder(start: Path) -> Path | None:
    """The folder of rules of the project that a directory belongs to.

    Args:
        start: The directory; those above are asked up to the project's top.
    """
    for above in (start, *start.parents):
        if (above / FOLDER).is_dir():
            return above / FOLDER
        if any((above / marker).exists() for marker in _MARKERS):
            return None
    return None


def find_files(start: Path) -> tuple[tuple[Path, int], ...]:
    """The files that hold a project's rules, each with the time of its last change; none when they are not wanted.

    Args:
        start: A directory of the project.
    """
    folder = find_folder(start) if project_rules_wanted() else None
    return tuple((path, path.stat().st_mtime_ns) for path in sorted(folder.glob("[!_]*.py"))) if folder else ()


def project_rules(paths: Iterable[Path]) -> Iterator[Rule | str]:
    """The rules that files hold, and in place of one that cannot be loaded what is wrong with it."""
    for path in paths:
        try:
            rule = getattr(_load(path), "RULE", None)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - one broken file must not take the other rules with it
            yield f"{path}: {type(error).__name__}: {error}"
            continue
        slug = path.stem.replace("_", "-")
        if not isinstance(rule, Rule):
            yield f"{path} has no constant RULE of type Rule"
        elif rule.slug != slug:
            yield f"{path}: slug is {rule.slug!r}, expected {slug!r}"
        else:
            yield rule


def _load(path: Path) -> ModuleType:
    name = f"{FOLDER}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
