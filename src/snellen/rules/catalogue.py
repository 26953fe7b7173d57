"""Find the rules: the files below `rules/<family>/`, those of the project's `snellen_rules/`, and other packages'.

A package adds rules with the entry point group `snellen.rules`, each naming a `Rule` or a list of them:

    [project.entry-points."snellen.rules"]
    mine = "my_package.rules:RULES"
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from snellen.core.file_kinds import nearest
from snellen.core.rule import Rule
from snellen.errors import SnellenError, UsageError
from snellen.rules.project import find_files, project_rules

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["BrokenRuleError", "added", "broken", "catalogue", "files", "get", "load"]

ENTRY_POINT_GROUP = "snellen.rules"


class BrokenRuleError(SnellenError):
    """A rule of this package that breaks the catalogue's order; its message names the file."""


def catalogue() -> Mapping[str, Rule]:
    """All rules by slug, in the order of family and name; read once, a project's own when they change.

    Raises:
        BrokenRuleError: A rule of this package has a name that is not its file's, or a slug that is taken.

    Example:
        >>> catalogue()["half-overflow"].family
        'precision'
    """
    return _loaded(find_files(Path.cwd()))[0]


def broken() -> tuple[str, ...]:
    """What is wrong with rules of the project and of other packages; they are left out."""
    return _loaded(find_files(Path.cwd()))[1]


def get(slug: str) -> Rule:
    """One rule.

    Raises:
        UsageError: There is none of that name; the nearest is named.
    """
    found = catalogue()
    if slug in found:
        return found[slug]
    close = nearest(slug, found)
    hint = f"did you mean {close}? " if close else ""
    raise UsageError(f"no rule is called {slug!r}", hint=f"{hint}`snellen rules` lists all {len(found)}")


@cache
def files() -> Mapping[str, Path]:
    """The files of this package's rules by slug; nothing is loaded."""
    root = importlib.import_module("snellen.rules").__path__[0]
    return {
        module.name.replace("_", "-"): Path(root, family.name, f"{module.name}.py")
        for family in pkgutil.iter_modules([root])
        if family.ispkg
        for module in pkgutil.iter_modules([str(Path(root, family.name))])
    }


def load(slug: str) -> Rule:
    """One of this package's rules, without the others.

    Raises:
        BrokenRuleError: Its name is not its file's.
    """
    path = files()[slug]
    return _rule_of(f"snellen.rules.{path.parent.name}.{path.stem}", path.parent.name)


def added() -> Mapping[str, Rule]:
    """The rules of the project and of other packages."""
    return {slug: rule for slug, rule in catalogue().items() if slug not in _built_in()}


@cache
def _built_in() -> Mapping[str, Rule]:
    found: dict[str, Rule] = {}
    for rule in _own():
        if rule.slug in found:
            raise BrokenRuleError(f"two rules are called {rule.slug}: {found[rule.slug].module} and {rule.module}")
        found[rule.slug] = rule
    return MappingProxyType(found)


@cache
def _loaded(files: tuple[tuple[Path, int], ...]) -> tuple[Mapping[str, Rule], tuple[str, ...]]:
    found = dict(_built_in())
    problems: list[str] = []
    for rule in project_rules(path for path, _ in files):
        if isinstance(rule, str):
            problems.append(rule)
        elif rule.slug in found:
            problems.append(f"{rule.module}: a rule called {rule.slug} exists already")
        else:
            found[rule.slug] = rule
    # Imported late: it takes longer than all else that reading a log needs.
    for point in importlib.import_module("importlib.metadata").entry_points(group=ENTRY_POINT_GROUP):
        _add(point, found, problems)
    return MappingProxyType(found), tuple(problems)


def _own() -> Iterator[Rule]:
    return map(load, files())


def _rule_of(module: str, family: str) -> Rule:
    rule = getattr(importlib.import_module(module), "RULE", None)
    if not isinstance(rule, Rule):
        raise BrokenRuleError(f"{module} has no constant RULE of type Rule")
    slug = module.rpartition(".")[2].replace("_", "-")
    for what, given, expected in (
        ("slug", rule.slug, slug),
        ("family", rule.family, family),
        ("module", rule.module, module),
    ):
        if given != expected:
            raise BrokenRuleError(f"{module}: {what} is {given!r}, expected {expected!r}")
    return rule


def _add(point: EntryPoint, found: dict[str, Rule], problems: list[str]) -> None:
    try:
        given = point.load()
        for rule in [given] if isinstance(given, Rule) else _rules_in(given):
            if rule.slug in found:
                problems.append(f"{point.value}: a rule called {rule.slug} exists already")
            else:
                found[rule.slug] = rule
    except Exception as error:  # noqa: BLE001 - somebody else's package must not take our rules with it
        problems.append(f"{point.value}: {type(error).__name__}: {error}")


def _rules_in(given: object) -> Iterable[Rule]:
    if not isinstance(given, Iterable):
        raise TypeError(f"expected a Rule or a list of them, got {type(given).__name__}")
    items = list(given)
    for item in items:
        if not isinstance(item, Rule):
            raise TypeError(f"expected a Rule, got {type(item).__name__}")
    return items
