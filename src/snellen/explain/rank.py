"""Ask every rule what it makes of a log, and put the answers in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from snellen.core.finding import Fix
from snellen.core.log import Diagnosis, Log, LogMatch
from snellen.core.rule import LogFacet, Rule

__all__ = ["Ranking", "rank", "triggers_of"]

_SURE_ENOUGH = 0.5
"""Below this an answer is more likely to mislead than to help."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The answers, best first, and the rules that failed on this log."""

    diagnoses: tuple[Diagnosis, ...]
    problems: tuple[str, ...] = ()


def triggers_of(rules: Iterable[Rule]) -> tuple[str, ...]:
    """The literals that any of the rules looks for in logs."""
    facets = (rule.log for rule in rules)
    return tuple(sorted({text for facet in facets if isinstance(facet, LogFacet) for text in facet.triggers}))


def rank(log: Log, rules: Mapping[str, Rule]) -> Ranking:
    """Ask the rules whose triggers the log holds; the surest answer comes first, of equal ones the earliest."""
    text = "\n".join(line.text for line in log.lines).lower()
    answers: list[tuple[LogMatch, Rule]] = []
    problems: list[str] = []
    for rule in rules.values():
        facet = rule.log
        if not isinstance(facet, LogFacet) or not (not facet.triggers or any(part in text for part in facet.triggers)):
            continue
        try:
            match = facet.examine(log)
        except Exception as error:  # noqa: BLE001 - a broken rule must not take the others' answers with it
            problems.append(f"{rule.slug}: {type(error).__name__}: {error}")
            continue
        if match is not None and match.score >= _SURE_ENOUGH:
            answers.append((match, rule))
    answers.sort(key=lambda answer: (-answer[0].score, _first_line(answer[0])))
    return Ranking(tuple(_diagnosis(match, rule) for match, rule in answers), tuple(problems))


def _first_line(match: LogMatch) -> int:
    return min((fact.location.line or 0 for fact in match.evidence if fact.location), default=0)


def _diagnosis(match: LogMatch, rule: Rule) -> Diagnosis:
    return Diagnosis(
        slug=rule.slug,
        title=rule.title,
        score=match.score,
        evidence=match.evidence,
        cause=match.cause,
        fix=match.fix if match.fix.text else Fix(rule.section("Fix")),
        confirm=rule.section("How to confirm"),
        otherwise=rule.section("When it is something else"),
    )
