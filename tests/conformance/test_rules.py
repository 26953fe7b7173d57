"""Every rule of the catalogue: a whole page, a reason for every gap, and facets that do what the examples say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import snellen.rules.catalogue as found_rules
from snellen.core.rule import HEADINGS, Absent, Rule
from snellen.explain import examine
from snellen.lint.fixes import fix_files
from snellen.lint.runner import chosen_rules, run

CATALOGUE = found_rules.catalogue()
RULES = [pytest.param(rule, id=slug) for slug, rule in CATALOGUE.items()]
EXAMPLES = Path(__file__).parents[1] / "rules"
SOURCE = Path(found_rules.__file__).parent
FIRST = 17
"""Rules that the catalogue began with; there are never fewer."""


def examples(pattern: str) -> list[object]:
    found = sorted(EXAMPLES.glob(pattern))
    return [pytest.param(path, id=f"{path.parent.name}/{path.name}") for path in found]


def test_every_rule_file_is_in_the_catalogue() -> None:
    files = [path for path in SOURCE.glob("*/*.py") if path.stem != "__init__"]
    assert len(CATALOGUE) >= max(FIRST, len(files))
    assert {path.stem.replace("_", "-") for path in files} <= set(CATALOGUE)


def test_no_example_belongs_to_no_rule() -> None:
    assert {folder.name for folder in EXAMPLES.iterdir() if folder.is_dir() and folder.name[0] not in "._"} <= set(
        CATALOGUE
    )


@pytest.mark.parametrize("rule", RULES)
def test_the_page_has_all_headings_in_order(rule: Rule) -> None:
    title, _, rest = rule.page.strip().partition("\n")
    assert 20 < len(title) <= 120
    assert title.endswith(".")
    assert tuple(re.findall(r"^([^\n]+)\n-{3,}$", rest, re.MULTILINE)) == HEADINGS
    assert all(len(rule.section(heading)) > 40 for heading in HEADINGS)
    assert "https://" in rule.section("Sources")


@pytest.mark.parametrize("rule", RULES)
def test_every_gap_has_a_reason_and_every_rule_sees_something(rule: Rule) -> None:
    gaps = [facet for facet in (rule.log, rule.source, rule.before, rule.during) if isinstance(facet, Absent)]
    assert all(len(gap.reason.split()) >= 4 for gap in gaps)
    assert rule.moments


@pytest.mark.parametrize("rule", RULES)
def test_every_facet_of_text_has_examples_of_both_kinds(rule: Rule) -> None:
    folder = EXAMPLES / rule.slug
    if not isinstance(rule.log, Absent):
        assert list(folder.glob("fires_*.log")), "no log in which it fires"
        assert list(folder.glob("silent_*.log")), "no log that it leaves alone"
    if not isinstance(rule.source, Absent):
        assert [*folder.glob("bad_*.py"), *folder.glob("bad_*.ipynb")], "no source in which it fires"
        assert [*folder.glob("good_*.py"), *folder.glob("good_*.ipynb")], "no source that it leaves alone"


@pytest.mark.parametrize("path", examples("*/fires_*.log"))
def test_the_rule_comes_first_and_has_cause_evidence_and_fix(path: Path) -> None:
    ranking = examine(path)
    best = ranking.diagnoses[0]
    assert not ranking.problems
    assert best.slug == path.parent.name
    assert best.cause
    assert best.fix.text
    assert best.confirm
    assert best.evidence
    assert 0.5 <= best.score <= 1.0


@pytest.mark.parametrize("path", examples("*/silent_*.log"))
def test_the_rule_leaves_the_log_alone(path: Path) -> None:
    ranking = examine(path)
    assert not ranking.problems
    assert path.parent.name not in [diagnosis.slug for diagnosis in ranking.diagnoses]


@pytest.mark.parametrize("path", examples("*/bad_*.*"))
def test_only_that_rule_finds_something_in_bad_source(path: Path) -> None:
    report = run([path], chosen_rules())
    assert not report.errors
    assert {finding.slug for finding in report.findings} == {path.parent.name}
    assert all(finding.fix is not None and finding.fix.text for finding in report.findings)


@pytest.mark.parametrize("path", [*examples("*/good_*.*")])
def test_no_rule_finds_anything_in_good_source(path: Path) -> None:
    report = run([path], chosen_rules())
    assert not report.errors
    assert not report.findings


@pytest.mark.parametrize("fixed", examples("*/fixed_*.py"))
def test_safe_fixes_give_the_fixed_source_and_nothing_the_second_time(fixed: Path, tmp_path: Path) -> None:
    path = tmp_path / "source.py"
    shutil.copy(fixed.with_name(fixed.name.replace("fixed_", "bad_")), path)

    def look() -> object:
        return run([path], chosen_rules())

    first = fix_files(run([path], chosen_rules()), unsafe=False, write=True, again=look)  # type: ignore[arg-type]
    assert first.applied
    assert path.read_text() == fixed.read_text()
    second = fix_files(run([path], chosen_rules()), unsafe=False, write=True, again=look)  # type: ignore[arg-type]
    assert second.applied == 0
    assert path.read_text() == fixed.read_text()
