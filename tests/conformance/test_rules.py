"""Every rule of the catalogue: a whole page, a reason for every gap, and facets that do what the examples say."""

from __future__ import annotations

from pathlib import Path

import pytest

import snellen.rules.catalogue as found_rules
from snellen.authoring import proof
from snellen.core.rule import Rule

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
def test_page_and_gaps_are_in_order(rule: Rule) -> None:
    assert list(proof.page_problems(rule)) == []
    assert list(proof.gap_problems(rule)) == []


@pytest.mark.parametrize("rule", RULES)
def test_every_facet_of_text_has_examples_of_both_kinds(rule: Rule) -> None:
    assert list(proof.missing_examples(rule, EXAMPLES / rule.slug)) == []


@pytest.mark.parametrize("path", examples("*/fires_*.log"))
def test_the_rule_comes_first_and_has_cause_evidence_and_fix(path: Path) -> None:
    assert list(proof.log_problems(path, path.parent.name)) == []


@pytest.mark.parametrize("path", examples("*/silent_*.log"))
def test_the_rule_leaves_the_log_alone(path: Path) -> None:
    assert list(proof.log_problems(path, path.parent.name)) == []


@pytest.mark.parametrize("path", examples("*/bad_*.*"))
def test_only_that_rule_finds_something_in_bad_source(path: Path) -> None:
    assert list(proof.source_problems(path, path.parent.name)) == []


@pytest.mark.parametrize("path", examples("*/good_*.*"))
def test_no_rule_finds_anything_in_good_source(path: Path) -> None:
    assert list(proof.source_problems(path, path.parent.name)) == []


@pytest.mark.parametrize("path", examples("*/fixed_*.*"))
def test_safe_fixes_give_the_fixed_source_and_nothing_the_second_time(path: Path) -> None:
    assert list(proof.fix_problems(path)) == []
