"""Whether a rule is in order: its page is whole, its gaps have reasons, and its examples do what their names say.

fires_*.log     the rule's answer comes first        silent_*.log    it gives none
bad_*           only this rule finds something       good_*          no rule finds anything
fixed_*.py      what the safe fixes make of bad_*.py
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from snellen.core.rule import HEADINGS, Absent, Rule
from snellen.explain import examine
from snellen.lint.fixes import fix_files
from snellen.lint.runner import chosen_rules, run

__all__ = [
    "example_problems",
    "fix_problems",
    "gap_problems",
    "log_problems",
    "missing_examples",
    "page_problems",
    "problems_of",
    "source_problems",
]

_SHORTEST_SECTION = 40
_FEWEST_WORDS = 4


def problems_of(rule: Rule, folder: Path) -> Iterator[str]:
    """Everything that is not in order.

    Args:
        rule: The rule.
        folder: Its examples.
    """
    yield from page_problems(rule)
    yield from gap_problems(rule)
    yield from missing_examples(rule, folder)
    for path in sorted(folder.glob("*")):
        yield from example_problems(path, rule.slug)


def page_problems(rule: Rule) -> Iterator[str]:
    """What its page lacks: a title line, then the fixed headings in order, none of them empty, and a source."""
    title, _, rest = rule.page.strip().partition("\n")
    if not (20 < len(title) <= 120 and title.endswith(".")):
        yield f"the first line of the page is {title!r}, expected a sentence of 20 to 120 characters"
    headings = tuple(re.findall(r"^([^\n]+)\n-{3,}$", rest, re.MULTILINE))
    if headings != HEADINGS:
        yield f"the page has the headings {', '.join(headings) or 'none'}; expected {', '.join(HEADINGS)}"
    for heading in HEADINGS:
        if len(rule.section(heading)) <= _SHORTEST_SECTION:
            yield f"the section {heading!r} of the page says nothing yet"
    if "https://" not in rule.section("Sources"):
        yield "the section 'Sources' names no page"


def gap_problems(rule: Rule) -> Iterator[str]:
    """Facets that are absent without a reason."""
    for moment in ("log", "source", "before", "during"):
        facet = rule.facet(moment)
        if isinstance(facet, Absent) and len(facet.reason.split()) < _FEWEST_WORDS:
            yield f"the facet {moment} is absent because {facet.reason!r}: expected a reason of a few words"
    if not rule.moments:
        yield "the rule has no facet at all"


def missing_examples(rule: Rule, folder: Path) -> Iterator[str]:
    """Kinds of examples that its facets need and the folder does not have."""
    wanted = {
        "a log in which it fires (fires_*.log)": (rule.log, ("fires_*.log",)),
        "a log that it leaves alone (silent_*.log)": (rule.log, ("silent_*.log",)),
        "source in which it fires (bad_*)": (rule.source, ("bad_*",)),
        "source that it leaves alone (good_*)": (rule.source, ("good_*",)),
    }
    for what, (facet, patterns) in wanted.items():
        if not isinstance(facet, Absent) and not any(list(folder.glob(pattern)) for pattern in patterns):
            yield f"{folder} lacks {what}"


def example_problems(path: Path, slug: str) -> Iterator[str]:
    """What is wrong with one example, by the kind that its name says."""
    kind = path.name.partition("_")[0]
    if kind in ("fires", "silent"):
        yield from log_problems(path, slug)
    elif kind in ("bad", "good"):
        yield from source_problems(path, slug)
    elif kind == "fixed":
        yield from fix_problems(path)


def log_problems(path: Path, slug: str) -> Iterator[str]:
    """Whether the rule answers first and wholly, or stays silent."""
    ranking = examine(path)
    yield from (f"{path.name}: {problem}" for problem in ranking.problems)
    answers = [diagnosis.slug for diagnosis in ranking.diagnoses]
    if path.name.startswith("silent_"):
        if slug in answers:
            yield f"{path.name}: {slug} answers, expected silence"
        return
    if answers[:1] != [slug]:
        yield f"{path.name}: the first answer is {answers[0] if answers else 'none'}, expected {slug}"
        return
    best = ranking.diagnoses[0]
    for what, given in (("cause", best.cause), ("evidence", best.evidence), ("fix", best.fix.text)):
        if not given:
            yield f"{path.name}: the answer has no {what}"
    if not 0.5 <= best.score <= 1.0:
        yield f"{path.name}: the score is {best.score}, expected 0.5 to 1"


def source_problems(path: Path, slug: str) -> Iterator[str]:
    """Whether this rule alone finds something in bad source, with a fix, and none does in good source."""
    report = run([path], chosen_rules())
    yield from (f"{path.name}: {error.message}" for error in report.errors)
    found = sorted({finding.slug for finding in report.findings})
    expected = [slug] if path.name.startswith("bad_") else []
    if found != expected:
        places = "; ".join(f"{finding.location}: {finding.slug}" for finding in report.findings if finding.slug != slug)
        yield f"{path.name}: found {', '.join(found) or 'nothing'}, expected {slug if expected else 'nothing'} {places}"
    for finding in report.findings:
        if finding.fix is None or not finding.fix.text:
            yield f"{path.name}: the finding at {finding.location} has no fix"


def fix_problems(fixed: Path) -> Iterator[str]:
    """Whether the safe fixes turn bad_*.py into fixed_*.py, and find nothing to do the second time."""
    bad = fixed.with_name(fixed.name.replace("fixed_", "bad_", 1))
    if not bad.exists():
        yield f"{fixed.name}: there is no {bad.name}"
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"source{bad.suffix}")
        shutil.copy(bad, path)
        counts = []
        for _ in range(2):
            report = run([path], chosen_rules())
            done = fix_files(report, unsafe=False, write=True, again=lambda: run([path], chosen_rules()))
            counts.append(done.applied)
            yield from (f"{fixed.name}: {error.message}" for error in done.errors)
            if path.read_text(encoding="utf-8") != fixed.read_text(encoding="utf-8"):
                yield f"{fixed.name}: the safe fixes of {bad.name} give something else"
                return
    if counts[0] == 0:
        yield f"{fixed.name}: {bad.name} has no safe fix"
    if counts[1] != 0:
        yield f"{fixed.name}: the second run still finds something to fix"
