"""Which rules to ask about a log, without loading the others.

A rule is worth asking only when the log holds one of its triggers. These are read from the rule's source, which takes a
hundredth of the time that running it does: a rule brings along what its other facets need.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from snellen.core.rule import LogFacet, Rule
from snellen.rules.catalogue import ENTRY_POINT_GROUP, added, files, load
from snellen.rules.project import find_files

__all__ = ["Askable", "askable", "literals_in"]

_FACET = re.compile(r"^    log=(?:LogFacet\(\s*(?:triggers=)?(?P<name>\w+)?|(?P<absent>absent\())", re.MULTILINE)
_TOKEN = re.compile(r'(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<mark>[(),*])|(?:#[^\n]*|\s)+')


@dataclass(frozen=True, slots=True)
class Askable:
    """Rules with a facet for logs.

    Args:
        unread: Slug to the triggers of rules that were not loaded; `()`: always ask.
        loaded: Those that had to be.
    """

    unread: Mapping[str, tuple[str, ...]]
    loaded: Mapping[str, Rule]

    @property
    def literals(self) -> tuple[str, ...]:
        """All triggers."""
        facets = (rule.log for rule in self.loaded.values())
        given = [facet.triggers for facet in facets if isinstance(facet, LogFacet)]
        return tuple(sorted({literal for literals in (*self.unread.values(), *given) for literal in literals}))

    def about(self, text: str) -> dict[str, Rule]:
        """The rules whose triggers a text in lower case holds, by slug, in the catalogue's order."""
        return self._wanted(lambda literal: literal in text)

    def among(self, literals: Collection[str]) -> dict[str, Rule]:
        """The rules that have one of these triggers, by slug, in the catalogue's order."""
        return self._wanted(lambda literal: literal in literals)

    def _wanted(self, held: Callable[[str], bool]) -> dict[str, Rule]:
        wanted = {
            slug: load(slug) for slug, triggers in self.unread.items() if not triggers or any(map(held, triggers))
        }
        return {**wanted, **self.loaded}


def askable() -> Askable:
    """All rules with a facet for logs: this package's, the project's, and other packages'."""
    unread, loaded = {}, {}
    for slug, path in files().items():
        literals = literals_in(path)
        if literals is None:
            loaded[slug] = load(slug)
        elif literals is not False:
            unread[slug] = literals
    if find_files(Path.cwd()) or _is_extended():
        loaded.update(added())
    return Askable(unread, loaded)


def literals_in(path: Path) -> tuple[str, ...] | Literal[False] | None:
    """The triggers of the rule in a file: `False` when it has no facet for logs, `None` when one has to run it to know.

    Args:
        path: The rule's file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return None
    facets = list(_FACET.finditer(text))
    if len(facets) != 1:
        return None
    if facets[0]["absent"]:
        return False
    if facets[0]["name"]:
        constant = re.search(rf"^{facets[0]['name']}(?:: [^=\n]+)? = ", text, re.MULTILINE)
        return _strings(text, constant.end()) if constant else None
    return _strings(text, facets[0].end())


def _strings(text: str, at: int) -> tuple[str, ...] | None:
    """The strings of a tuple; `None` when it holds anything else."""
    strings: list[str] = []
    depth, after_string = 0, False
    while found := _TOKEN.match(text, at):
        at = found.end()
        if found["string"]:
            if after_string or not depth:
                return None
            strings.append(ast.literal_eval(found["string"]) if "\\" in found["string"] else found["string"][1:-1])
            after_string = True
        elif found["mark"]:
            depth += (found["mark"] == "(") - (found["mark"] == ")")
            after_string = after_string and found["mark"] != ","
            if depth == 0:
                return tuple(strings)
    return None


def _is_extended() -> bool:
    """Whether an installed package adds rules; the standard library's way to ask costs as much as all the rest."""
    return any(_names_group(path) for path in _entry_points(sys.path))


def _entry_points(folders: Iterable[str]) -> Iterator[str]:
    for folder in dict.fromkeys(folders):
        try:
            with os.scandir(folder or ".") as entries:
                names = [entry.path for entry in entries if entry.name.endswith((".dist-info", ".egg-info"))]
        except OSError:
            continue
        yield from (f"{name}/entry_points.txt" for name in names)


def _names_group(path: str) -> bool:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a few hundred of them, and a Path takes as long as the reading
            return ENTRY_POINT_GROUP.encode() in file.read()
    except OSError:
        return False
