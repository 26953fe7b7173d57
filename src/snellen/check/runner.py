"""Runs the before facets of all rules over a plan; every check ends in exactly one state."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from snellen.core.check_report import CheckReport
from snellen.core.finding import CheckResult, Finding, Level, State
from snellen.core.plan import Cost, NotApplicable, Plan
from snellen.core.rule import Absent, BeforeFacet, Rule
from snellen.errors import UsageError

__all__ = ["CheckSettings", "run_checks"]

_MUTE = re.compile(r"#\s*snellen:\s*ignore\[([\w\s,-]+)\]")


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """Which checks run, and how far they may go.

    Args:
        max_cost: Checks that cost more are skipped.
        select: Slugs or families; without any, all.
        ignore: Slugs or families whose findings are muted.
        on_start: Is told the title of each check before it starts.
        clock: Seconds.
    """

    max_cost: Cost = Cost.SECONDS
    select: Sequence[str] = ()
    ignore: Sequence[str] = ()
    on_start: Callable[[str], None] | None = None
    clock: Callable[[], float] = field(default=time.perf_counter)


def run_checks(
    plan: Plan, rules: Iterable[Rule], settings: CheckSettings | None = None, *, subject: str | None = None
) -> CheckReport:
    """Run the checks, cheapest first.

    Findings of the linter in the run's own code (the fact `source_findings`) count for the rules that made them.

    Args:
        plan: The run.
        rules: Those that exist; ones without a before or source facet are left out.
        settings: Which, and how far.
        subject: What is checked, for people; the run file without it.

    Raises:
        UsageError: A selected or ignored name is neither a rule nor a family.
    """
    settings = settings or CheckSettings()
    known = list(rules)
    _refuse_unknown_names(known, settings)
    judge = _Judge(plan, settings)
    checked = [rule for rule in known if not (isinstance(rule.before, Absent) and isinstance(rule.source, Absent))]
    checked.sort(key=lambda rule: (list(Cost).index(_cost(rule)), rule.slug))
    results = tuple(judge.judge(rule) for rule in checked)
    return CheckReport(subject or str(plan.path or "this run"), results)


def _refuse_unknown_names(rules: Sequence[Rule], settings: CheckSettings) -> None:
    names = {rule.slug for rule in rules} | {rule.family for rule in rules}
    unknown = [name for name in (*settings.select, *settings.ignore) if name not in names]
    if unknown:
        raise UsageError(f"{unknown[0]!r} is neither a rule nor a family of rules", hint="snellen rules lists them")


def _cost(rule: Rule) -> Cost:
    return rule.before.cost if isinstance(rule.before, BeforeFacet) else Cost.SECONDS


def _named(rule: Rule, names: Sequence[str]) -> bool:
    return rule.slug in names or rule.family in names


class _Judge:
    """Brings one rule after the other to its state."""

    def __init__(self, plan: Plan, settings: CheckSettings) -> None:
        self._plan = plan
        self._settings = settings
        self._mutes = _mutes_in(plan.path)

    def judge(self, rule: Rule) -> CheckResult:
        started = self._settings.clock()
        result = self._judge(rule)
        return replace(result, seconds=self._settings.clock() - started)

    def _judge(self, rule: Rule) -> CheckResult:
        if self._settings.select and not _named(rule, self._settings.select):
            return self._end(rule, State.SKIPPED, reason="not selected")
        cost = _cost(rule)
        if list(Cost).index(cost) > list(Cost).index(self._settings.max_cost):
            return self._end(rule, State.SKIPPED, reason=f"costs {cost.value}; --max-cost {cost.value} runs it")
        if self._settings.on_start is not None:
            self._settings.on_start(rule.title)
        findings: list[Finding] = []
        reasons: dict[str, str] = {}
        answered = False
        for facet, examine in ((rule.before, self._before), (rule.source, self._source)):
            if isinstance(facet, Absent):
                continue
            try:
                found = examine(rule)
            except NotApplicable as answer:
                reasons[examine.__name__] = str(answer)
            except Exception as error:  # noqa: BLE001 - a check that crashes is reported, never fatal
                return self._end(rule, State.CRASHED, findings, f"{type(error).__name__}: {error}")
            else:
                answered = True
                findings += found
        if not answered:
            return self._end(rule, State.NOT_APPLICABLE, reason="; ".join(dict.fromkeys(reasons.values())))
        return self._weigh(rule, findings, reasons.get("_before", ""))

    def _before(self, rule: Rule) -> list[Finding]:
        return list(rule.before.examine(self._plan)) if isinstance(rule.before, BeforeFacet) else []

    def _source(self, rule: Rule) -> list[Finding]:
        if not self._plan.settings.get("code"):
            raise NotApplicable("the run names no `code` to look into")
        found: Sequence[Finding] = self._plan.fact("source_findings")
        return [finding for finding in found if finding.slug == rule.slug]

    def _weigh(self, rule: Rule, findings: Sequence[Finding], unanswered: str) -> CheckResult:
        unique = [finding for index, finding in enumerate(findings) if finding not in findings[:index]]
        if _named(rule, self._settings.ignore) and unique:
            return self._end(rule, State.MUTED, unique, "ignored")
        open_findings = [finding for finding in unique if not self._muted(finding)]
        if unique and not open_findings:
            return self._end(rule, State.MUTED, unique, "muted in the run file")
        if not open_findings:
            reason = f"in the run's code; of the run itself: {unanswered}" if unanswered else ""
            return self._end(rule, State.PASSED, reason=reason)
        worst = Level.ERROR if any(finding.level is Level.ERROR for finding in open_findings) else Level.WARNING
        state = State.FAILED if worst is Level.ERROR else State.WARNED
        return self._end(rule, state, open_findings)

    def _muted(self, finding: Finding) -> bool:
        slugs = self._mutes.get(0, frozenset())
        place = finding.location
        if place is not None and place.path == str(self._plan.path) and place.line is not None:
            slugs = slugs | self._mutes.get(place.line, frozenset())
        return finding.slug in slugs

    def _end(self, rule: Rule, state: State, findings: Sequence[Finding] = (), reason: str = "") -> CheckResult:
        return CheckResult(rule.slug, state, rule.title, tuple(findings), reason)


def _mutes_in(path: Path | None) -> Mapping[int, frozenset[str]]:
    """Slugs muted by comments of the run file: by line, and on line 0 those of comments that stand alone."""
    if path is None:
        return {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    mutes: dict[int, frozenset[str]] = {}
    for number, line in enumerate(lines, 1):
        found = _MUTE.search(line)
        if found:
            place = 0 if line.lstrip().startswith("#") else number
            slugs = frozenset(slug.strip() for slug in found[1].split(","))
            mutes[place] = mutes.get(place, frozenset()) | slugs
    return mutes
