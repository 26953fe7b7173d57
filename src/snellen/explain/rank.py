"""Ask every rule what it makes of a log, and put the answers in order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from snellen.core.finding import Evidence, Fix, Level, Location
from snellen.core.log import Diagnosis, Log, LogMatch
from snellen.core.probe import Answer
from snellen.core.rule import LogFacet, Rule
from snellen.explain.episodes import Episode, episodes

__all__ = ["Ranking", "rank", "text_of", "triggers_of"]

_SURE_ENOUGH = 0.5
"""Below this an answer is more likely to mislead than to help.

Scores are given out as the rules state them. On labelled logs each range of scores holds more than it claims; a curve
fitted there would only make them bolder on logs that nobody has seen (`benchmarks/explain_accuracy.py` prints both).
"""
_WARNING = re.compile(r"\b\w*Warning\b|^\s*(?:WARNING|WARN|W\d{4})\b")


@dataclass(frozen=True, slots=True)
class Ranking:
    """The answers, best first.

    Args:
        diagnoses: The answers.
        problems: Rules that failed on this log, and files of a folder that could not be read.
        probed: What this machine says to the answers, by slug, where it was asked.
        failed: The exception that ended the log, in one line, when no rule knows it but an earlier one.
        askable: Slugs of the answers about which this machine can be asked.
    """

    diagnoses: tuple[Diagnosis, ...]
    problems: tuple[str, ...] = ()
    probed: Mapping[str, Answer] | None = None
    failed: str = ""
    askable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Claim:
    match: LogMatch
    rule: Rule
    tier: int

    @property
    def order(self) -> tuple[int, float, int]:
        lines = _lines(self.match)
        return self.tier, -self.match.score, min(lines, default=0)


def triggers_of(rules: Iterable[Rule]) -> tuple[str, ...]:
    """The literals that any of the rules looks for in logs."""
    facets = (rule.log for rule in rules)
    return tuple(sorted({text for facet in facets if isinstance(facet, LogFacet) for text in facet.triggers}))


def text_of(log: Log) -> str:
    """All lines in lower case, as triggers are looked for."""
    return "\n".join(line.text for line in log.lines).lower()


def rank(log: Log, rules: Mapping[str, Rule]) -> Ranking:
    """Ask the rules whose triggers the log holds.

    The failure that ended the log comes before those that it got over. Of one failure the root cause comes before what
    followed from it, the surer answer before the other, of equal ones the earlier. A warning is an answer only when
    nothing failed that no rule knows.
    """
    found: dict[str, Diagnosis] = {}
    problems: dict[str, None] = {}
    parts = episodes(log)
    failed = ""
    for part in parts:
        for claim in sorted(_claims(part.log, rules, problems), key=lambda claim: claim.order):
            found.setdefault(claim.rule.slug, _diagnosis(claim, log, _note(part, parts)))
        if part.last and not found and part.log.root is not None and len(parts) > 1:
            failed = f"line {part.log.root.line}: {' '.join(part.log.root.text.split())[:200]}"
    if not found and len(parts) > 1:
        for claim in sorted(_claims(log, rules, problems), key=lambda claim: claim.order):
            found.setdefault(claim.rule.slug, _diagnosis(claim, log, ""))
        failed = ""
    facets = {slug: rules[slug].log for slug in found}
    askable = frozenset(slug for slug, facet in facets.items() if isinstance(facet, LogFacet) and facet.probe)
    return Ranking(tuple(found.values()), tuple(problems), failed=failed if found else "", askable=askable)


def _claims(log: Log, rules: Mapping[str, Rule], problems: dict[str, None]) -> list[_Claim]:
    text = text_of(log)
    matches: list[tuple[LogMatch, Rule]] = []
    for rule in rules.values():
        facet = rule.log
        if not isinstance(facet, LogFacet) or not (not facet.triggers or any(part in text for part in facet.triggers)):
            continue
        try:
            match = facet.examine(log)
        except Exception as error:  # noqa: BLE001 - a broken rule must not take the others' answers with it
            problems[f"{rule.slug}: {type(error).__name__}: {error}"] = None
            continue
        if match is not None and match.score >= _SURE_ENOUGH:
            matches.append((match, rule))
    claims = [_Claim(match, rule, _tier(match, rule, log)) for match, rule in matches]
    known = any(claim.tier < 2 for claim in claims)
    # A warning in front of an error that nobody knows is not its cause.
    return [claim for claim in claims if claim.tier < 2 or known]


def _tier(match: LogMatch, rule: Rule, log: Log) -> int:
    """0: claims the root cause; 1: what follows from it; 2: a warning, while something failed."""
    failures = [error for error in log.exceptions if not error.follows]
    lines = _lines(match)
    spans = [range(error.start, error.line + error.message.count("\n") + 1) for error in failures]
    on_root = any(line in span for line in lines for span in spans)
    if failures and not on_root:
        warns = rule.level is not Level.ERROR or all(_WARNING.search(fact.text) for fact in match.evidence)
        if warns:
            return 2
        following = {line for error in log.exceptions if error.follows for line in range(error.start, error.line + 1)}
        if lines and lines <= following:
            return 1
    return 0


def _lines(match: LogMatch) -> set[int]:
    places = (fact.location for fact in match.evidence)
    return {place.line for place in places if place is not None and place.path == "log" and place.line is not None}


def _note(part: Episode, parts: list[Episode]) -> str:
    if len(parts) == 1:
        return ""
    if part.last:
        return "this ended the log; earlier failures in it are listed below" if part.log.exceptions else ""
    return "an earlier failure: the log goes on after it"


def _diagnosis(claim: _Claim, log: Log, note: str) -> Diagnosis:
    match, rule = claim.match, claim.rule
    return Diagnosis(
        slug=rule.slug,
        title=rule.title,
        score=match.score,
        evidence=tuple(_placed(fact, log) for fact in match.evidence),
        cause=match.cause,
        fix=match.fix if match.fix.text else Fix(rule.section("Fix")),
        confirm=rule.section("How to confirm"),
        otherwise=rule.section("When it is something else"),
        note=note,
    )


def _placed(fact: Evidence, log: Log) -> Evidence:
    """A fact of a log that was put together of several files, with its place in its own file."""
    place = fact.location
    if not log.parts or place is None or place.path != "log" or place.line is None:
        return fact
    first, name = max((part for part in log.parts if part[0] <= place.line), default=log.parts[0])
    return replace(fact, location=Location(name, place.line - first + 1))
