"""Findings as SARIF 2.1.0, which code hosts and editors read.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from snellen.core.finding import Edit, Finding, Location
from snellen.core.rule import Rule

__all__ = ["sarif"]

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif(findings: Iterable[Finding], rules: Mapping[str, Rule], *, version: str) -> dict[str, Any]:
    """One run of the linter.

    Args:
        findings: What was found.
        rules: Those that were asked, by slug.
        version: Snellen's own.

    Example:
        >>> sarif([], {}, version="0.1.0")["runs"][0]["results"]
        []
    """
    slugs = sorted(rules)
    positions = {slug: position for position, slug in enumerate(slugs)}
    driver = {"name": "snellen", "semanticVersion": version, "rules": [_rule(rules[slug]) for slug in slugs]}
    results = [_result(finding, positions.get(finding.slug)) for finding in findings]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.slug,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": " ".join(rule.section("What happens").split())},
        "help": {"text": " ".join(rule.section("Fix").split())},
        "defaultConfiguration": {"level": rule.level.value},
        "properties": {"tags": [rule.family]},
    }


def _result(finding: Finding, position: int | None) -> dict[str, Any]:
    text = finding.message if finding.fix is None else f"{finding.message}. {finding.fix.text}"
    result: dict[str, Any] = {"ruleId": finding.slug, "level": finding.level.value, "message": {"text": text}}
    if position is not None:
        result["ruleIndex"] = position
    if finding.location is not None:
        result["locations"] = [_location(finding.location)]
    related = [fact for fact in finding.evidence if fact.location is not None]
    if related:
        result["relatedLocations"] = [
            {**_location(fact.location), "message": {"text": fact.text}} for fact in related if fact.location
        ]
    # Edits of a notebook's cell have no place in its JSON text.
    if finding.fix is not None and finding.fix.edits and "#cell=" not in finding.fix.edits[0].path:
        replacements = [_replacement(edit) for edit in finding.fix.edits]
        change = {"artifactLocation": {"uri": _uri(finding.fix.edits[0].path)}, "replacements": replacements}
        result["fixes"] = [{"description": {"text": finding.fix.text}, "artifactChanges": [change]}]
    return result


def _location(place: Location) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(place.path)}}
    if place.line is not None:
        physical["region"] = {"startLine": place.line, **({"startColumn": place.column} if place.column else {})}
    return {"physicalLocation": physical}


def _replacement(edit: Edit) -> dict[str, Any]:
    region = {
        "startLine": edit.start_line,
        "startColumn": edit.start_column + 1,
        "endLine": edit.end_line,
        "endColumn": edit.end_column + 1,
    }
    return {"deletedRegion": region, "insertedContent": {"text": edit.replacement}}


def _uri(path: str) -> str:
    given = Path(path)
    return given.as_uri() if given.is_absolute() else given.as_posix()
