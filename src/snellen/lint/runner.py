"""Files to facts, facts to findings."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from snellen.core.finding import Finding, Location
from snellen.core.rule import Rule, SourceFacet
from snellen.core.source import Hit, Import, Origin, SourceFile
from snellen.errors import UsageError
from snellen.lint.blocks import blocks_of
from snellen.lint.collect import Collector
from snellen.lint.configuration import Configuration
from snellen.lint.names import imports_of
from snellen.lint.notebooks import cell_edits
from snellen.lint.project import find_files
from snellen.lint.read import Module, Place, ReadError, read
from snellen.lint.scopes import Knowledge
from snellen.lint.suppress import ignored_in_file, named_in_comments, suppressed
from snellen.lint.text import SourceText
from snellen.rules.catalogue import catalogue, get

__all__ = ["FileError", "Report", "chosen_rules", "run"]


@dataclass(frozen=True, slots=True)
class FileError:
    """A file, or a part of one, that could not be looked at, or a rule that failed on it."""

    path: str
    line: int | None
    message: str


@dataclass(slots=True)
class Report:
    """What was found, and what could not be looked at; `known` findings of a baseline are only counted."""

    findings: list[Finding] = field(default_factory=list)
    errors: list[FileError] = field(default_factory=list)
    files: int = 0
    known: int = 0


@dataclass(slots=True)
class _Unit:
    """One file between its two readings."""

    path: Path
    root: Path
    module: Module
    text: SourceText
    names: dict[str, str]
    imported: tuple[Import, ...]
    known: Knowledge


def chosen_rules(select: Iterable[str] = (), ignore: Iterable[str] = ()) -> dict[str, Rule]:
    """The rules that look at source.

    Raises:
        UsageError: A slug that no rule has, or a rule that has nothing to say about source.
    """
    wanted, unwanted = [get(slug) for slug in select], {get(slug).slug for slug in ignore}
    for rule in wanted:
        if not isinstance(rule.source, SourceFacet):
            raise UsageError(f"{rule.slug} does not look at source: {rule.source.reason}")
    pool = wanted or list(catalogue().values())
    return {r.slug: r for r in pool if isinstance(r.source, SourceFacet) and r.slug not in unwanted}


def run(
    paths: Sequence[str | os.PathLike[str]], rules: Mapping[str, Rule], configuration: Configuration | None = None
) -> Report:
    """Look at every Python file, notebook and YAML file at or below the paths.

    A file that cannot be read or parsed, and a rule that fails, is reported; the rest goes on.

    Args:
        paths: Files and folders.
        rules: What to ask, by slug.
        configuration: What is left out where; nothing by default.

    Raises:
        UsageError: A path that does not exist.
    """
    report, configuration = Report(), configuration or Configuration()
    facets = {slug: rule.source for slug, rule in rules.items() if isinstance(rule.source, SourceFacet)}
    triggers = {text for facet in facets.values() for text in facet.triggers}
    units: list[_Unit] = []
    given = {Path(path) for path in paths}
    for path, root in find_files(paths):
        if path not in given and configuration.excludes(path):
            continue
        report.files += 1
        unit = _first_reading(path, root, report)
        if unit is not None:
            units.append(unit)
    results = _results(units)
    telling = [unit for unit in units if any(text in unit.module.text or unit.module.shell for text in triggers)]
    files = [(unit, _facts(unit, results)) for unit in telling]
    for unit, file in files:
        others = tuple(other for peer, other in files if peer is not unit and peer.root == unit.root)
        wanted = {slug: rule for slug, rule in rules.items() if not configuration.ignores(file.path, slug)}
        _ask(unit, replace(file, elsewhere=others), wanted, report)
    report.findings.sort(key=_order)
    return report


def _first_reading(path: Path, root: Path, report: Report) -> _Unit | None:
    try:
        module = read(path)
        text = SourceText(module.text)
        names, imported = imports_of(module.tree)
        collector = Collector(text, names, Knowledge(), {})
        collector.visit(module.tree)
    except (ReadError, RecursionError) as error:
        report.errors.append(FileError(str(path), getattr(error, "line", None), str(error)))
        return None
    report.errors.extend(FileError(str(path), problem.line, str(problem)) for problem in module.problems)
    for line, slug in named_in_comments(text.lines):
        if slug not in catalogue():
            report.errors.append(FileError(str(path), line, f"the comment silences {slug!r}, which is no rule"))
    return _Unit(path, root, module, text, names, imported, collector.found)


def _results(units: Iterable[_Unit]) -> dict[str, Origin]:
    """Where the results of the project's functions come from, by `stem.function`."""
    return {f"{unit.path.stem}.{name}": origin for unit in units for name, origin in unit.known.returns.items()}


def _facts(unit: _Unit, results: Mapping[str, Origin]) -> SourceFile:
    collector = Collector(unit.text, unit.names, unit.known, results)
    tree = unit.module.tree
    collector.visit(tree)
    calls = tuple(sorted(collector.calls, key=lambda call: call.span.start))
    blocks = blocks_of(tree, unit.text, calls, collector.name_of)
    # Trees of a large project take gigabytes, and nothing asks for them any more.
    unit.module.tree = ast.Module([], [])
    return SourceFile(
        path=str(unit.path),
        text=unit.module.text,
        imports=unit.names,
        calls=calls,
        assignments=tuple(collector.assignments),
        tries=tuple(blocks.tries),
        loops=tuple(sorted(collector.loops, key=lambda loop: loop.span.start)),
        withs=tuple(blocks.withs),
        idle=tuple(blocks.idle),
        functions=tuple(blocks.functions),
        classes=tuple(blocks.classes),
        imported=unit.imported,
        shell=tuple(unit.module.shell),
        settings=unit.module.settings,
        is_notebook=bool(unit.module.places),
    )


def _ask(unit: _Unit, file: SourceFile, rules: Mapping[str, Rule], report: Report) -> None:
    commands = "\n".join(command.code for command in file.shell)
    silenced = ignored_in_file(file.text) if "snellen:" in file.text else frozenset()
    for slug, rule in rules.items():
        facet = rule.source
        if slug in silenced:
            continue
        if not isinstance(facet, SourceFacet) or not any(t in file.text or t in commands for t in facet.triggers):
            continue
        try:
            hits = list(facet.examine(file))
        except Exception as error:  # noqa: BLE001 - a broken rule must not take the others' findings with it
            report.errors.append(FileError(file.path, None, f"rule {slug} failed: {type(error).__name__}: {error}"))
            continue
        for hit in hits:
            if not suppressed(unit.text.lines, hit.span, slug):
                report.findings.append(_finding(rule, hit, file, unit.module.places))


def _finding(rule: Rule, hit: Hit, file: SourceFile, places: Sequence[Place]) -> Finding:
    line, key = hit.span.start_line, None
    if places:
        place = places[min(line, len(places)) - 1]
        line, key = place.line, f"cell {place.cell}"
    location = Location(file.path, line, hit.span.start_column + 1, key)
    fix = hit.fix
    if fix is not None and places:
        fix = replace(fix, edits=cell_edits(fix.edits, places))
    return Finding(rule.slug, hit.level or rule.level, hit.message, location, hit.evidence, fix)


def _order(finding: Finding) -> tuple[str, int, int, str]:
    place = finding.location
    return (place.path, place.line or 0, place.column or 0, finding.slug) if place else ("", 0, 0, finding.slug)
