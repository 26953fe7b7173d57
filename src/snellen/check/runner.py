"""Runs the before facets of all rules over a plan; every check ends in exactly one state."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from snellen.core.baseline import new_findings, read_baseline
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
        select: Slugs, families or patterns such as `mask-*`; without any, all.
        ignore: The same; their findings are muted.
        without_code: Why there is no source of the run to look into, when it names none.
        baseline: A file of findings that are known and muted, from `snellen.core.baseline`.
        on_start: Is told the title of each check before it starts.
        clock: Seconds.
    """

    max_cost: Cost = Cost.SECONDS
    select: Sequence[str] = ()
    ignore: Sequence[str] = ()
    without_code: str = "the run names no `code` to look into"
    baseline: Path | None = None
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
        UsageError: A selected or ignored name fits neither a rule nor a family, or the baseline is none.
    """
    settings = settings or CheckSettings()
    started = settings.clock()
    present = list(rules)
    _refuse_unknown_names(present, settings)
    judge = _Judge(plan, settings)
    checked = [rule for rule in present if not (isinstance(rule.before, Absent) and isinstance(rule.source, Absent))]
    checked.sort(key=lambda rule: (list(Cost).index(_cost(rule)), rule.slug))
    if settings.baseline is not None:
        read_baseline(settings.baseline, verb="check")  # one that is none is said before minutes are spent
    results = tuple(judge.judge(rule) for rule in checked)
    if settings.baseline is not None:
        results = _without_known(results, settings.baseline)
    return CheckReport(subject or str(plan.path or "this run"), results, seconds=settings.clock() - started)


def _refuse_unknown_names(rules: Sequence[Rule], settings: CheckSettings) -> None:
    names = {rule.slug for rule in rules} | {rule.family for rule in rules}
    given = dict.fromkeys((*settings.select, *settings.ignore))
    unknown = [one for one in given if not any(fnmatchcase(name, one) for name in names)]
    if unknown:
        said = ", ".join(repr(one) for one in unknown)
        raise UsageError(f"{said}: neither a rule nor a family of rules", hint="snellen rules lists them")


def _without_known(results: Sequence[CheckResult], baseline: Path) -> tuple[CheckResult, ...]:
    """The results, where findings that the baseline holds are muted."""
    counted = [one for result in results if result.state in (State.FAILED, State.WARNED) for one in result.findings]
    new = {id(finding) for finding in new_findings(counted, read_baseline(baseline, verb="check"), baseline.parent)}
    answer = []
    for result in results:
        fresh = tuple(finding for finding in result.findings if id(finding) in new)
        old = len(result.findings) - len(fresh)
        if result.state not in (State.FAILED, State.WARNED) or not old:
            answer.append(result)
        elif not fresh:
            answer.append(replace(result, state=State.MUTED, reason=f"known to {baseline}"))
        else:
            state, reason = _state_of(fresh), f"{old} more known to {baseline}"
            answer.append(replace(result, state=state, findings=fresh, reason=reason))
    return tuple(answer)


def _state_of(findings: Iterable[Finding]) -> State:
    return State.FAILED if any(finding.level is Level.ERROR for finding in findings) else State.WARNED


def _cost(rule: Rule) -> Cost:
    return rule.before.cost if isinstance(rule.before, BeforeFacet) else Cost.SECONDS


def _named(rule: Rule, names: Sequence[str]) -> bool:
    return any(fnmatchcase(rule.slug, name) or fnmatchcase(rule.family, name) for name in names)


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
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a check that crashes is reported, never fatal
                return self._end(rule, State.CRASHED, findings, f"{type(error).__name__}: {error}")
            else:
                answered = True
                findings += found
        if not answered:
            return self._end(rule, State.NOT_APPLICABLE, reason=reasons.get("_before") or reasons["_source"])
        return self._weigh(rule, findings, reasons.get("_before", ""))

    def _before(self, rule: Rule) -> list[Finding]:
        return list(rule.before.examine(self._plan)) if isinstance(rule.before, BeforeFacet) else []

    def _source(self, rule: Rule) -> list[Finding]:
        if not self._plan.settings.get("code"):
            raise NotApplicable(self._settings.without_code)
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
        return self._end(rule, _state_of(open_findings), open_findings)

    def _muted(self, finding: Finding) -> bool:
        slugs = self._mutes.get(0, frozenset())
        place = finding.location
        if place is not None and place.path == str(self._plan.path) and place.line is not None:
            slugs = slugs | self._mutes.get(place.line, frozenset())
        return finding.slug in slugs

    def _end(self, rule: Rule, state: State, findings: Sequence[Finding] = (), reason: str = "") -> CheckResult:
        return CheckResult(rule.slug, state, rule.title, tuple(findings), reason, family=rule.family)


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
