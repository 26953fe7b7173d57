"""Every check ends in exactly one state."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from snellen.check.plan import RunPlan
from snellen.check.runner import CheckSettings, run_checks
from snellen.core.finding import Finding, Level, Location, State
from snellen.core.plan import Cost, FactUnavailable, NotApplicable
from snellen.core.rule import BeforeFacet, SourceFacet, absent
from snellen.errors import DataError, UsageError
from snellen.rules.catalogue import get

BASE = dataclasses.replace(get("nan-loss"), source=absent("x"))


def rule(slug, examine, *, cost=Cost.INSTANT, level=Level.ERROR, source=None):
    before = BeforeFacet(cost, examine) if examine else absent("nothing before")
    return dataclasses.replace(BASE, slug=slug, before=before, level=level, source=source or BASE.source)


def finding(slug="a", level=Level.ERROR, **place):
    return Finding(slug, level, "m", Location(**place) if place else None)


def refuse(_plan):
    raise NotApplicable("no images here")


def crash(_plan):
    raise KeyError("colour")


def states(rules, plan=None, **settings):
    report = run_checks(plan or RunPlan(root=Path()), rules, CheckSettings(**settings))
    return {result.slug: (result.state, result.reason) for result in report.results}, report


def test_each_outcome_has_its_state_and_its_reason():
    found, report = states(
        [
            rule("fails", lambda plan: [finding("fails"), finding("fails", Level.WARNING)]),
            rule("warns", lambda plan: iter([finding("warns", Level.WARNING)])),
            rule("notes", lambda plan: [finding("notes", Level.NOTE)]),
            rule("passes", lambda plan: ()),
            rule("refuses", refuse),
            rule("crashes", crash),
            rule("lacks", lambda plan: plan.fact("weights_fit")),
            rule("costs", lambda plan: (), cost=Cost.MINUTES),
            rule("has-no-check", None),
        ]
    )
    assert {slug: state for slug, (state, _) in found.items()} == {
        "fails": State.FAILED,
        "warns": State.WARNED,
        "notes": State.WARNED,
        "passes": State.PASSED,
        "refuses": State.NOT_APPLICABLE,
        "crashes": State.CRASHED,
        "lacks": State.NOT_APPLICABLE,
        "costs": State.SKIPPED,
    }
    assert found["refuses"][1] == "no images here"
    assert found["crashes"][1] == "KeyError: 'colour'"
    assert "weights fit" in found["lacks"][1]
    assert "--max-cost minutes" in found["costs"][1]
    assert report.exit_code == 1
    assert [one.level for one in report.findings] == [Level.ERROR, Level.WARNING, Level.WARNING, Level.NOTE]
    assert sum(report.counts.values()) == 8
    assert {result.slug for result in report.not_judged} == {"refuses", "crashes", "lacks", "costs"}


def test_a_crash_half_way_keeps_what_was_found_out_of_the_judgement():
    def half(_plan):
        yield finding()
        raise ValueError("later")

    found, report = states([rule("half", half)])
    assert found["half"][0] is State.CRASHED
    assert report.exit_code == 0


def test_cheap_checks_come_first_and_selection_is_told():
    order = []
    rules = [
        rule("slow", lambda plan: order.append("slow") or (), cost=Cost.SECONDS),
        rule("quick", lambda plan: order.append("quick") or ()),
    ]
    states(rules)
    assert order == ["quick", "slow"]
    found, _ = states(rules, select=["slow"])
    assert found["quick"] == (State.SKIPPED, "not selected")
    found, report = states([rule("fails", lambda plan: [finding("fails")])], ignore=["precision"])
    assert found["fails"][0] is State.MUTED
    assert report.exit_code == 0
    assert report.results[0].findings
    for settings in ({"select": ["nonsense"]}, {"ignore": ["nonsense"]}):
        with pytest.raises(UsageError, match="nonsense"):
            states(rules, **settings)


def test_comments_of_the_run_file_mute(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("# snellen: ignore[all-over]\nseed: 1  # snellen: ignore[here, there]\nname: x\n")
    plan = RunPlan(root=tmp_path, path=path)
    found, _ = states(
        [
            rule("all-over", lambda plan: [finding("all-over")]),
            rule("here", lambda plan: [finding("here", path=str(path), line=2)]),
            rule("there", lambda plan: [finding("there", path=str(path), line=3)]),
        ],
        plan,
    )
    assert {slug: state for slug, (state, _) in found.items()} == {
        "all-over": State.MUTED,
        "here": State.MUTED,
        "there": State.FAILED,
    }


def test_findings_of_the_linter_count_for_their_rule(tmp_path):
    looks = SourceFacet((), lambda file: ())
    rules = [
        rule("both", lambda plan: [finding("both", Level.WARNING)], source=looks),
        rule("source-only", None, source=looks),
        rule("clean", None, source=looks),
        rule("asks", refuse, source=looks),
    ]
    providers = {"source_findings": lambda plan: (finding("both"), finding("source-only"), finding("other"))}
    plan = RunPlan(root=tmp_path, settings={"code": ["src"]}, providers=providers)
    found, report = states(rules, plan)
    assert {slug: state for slug, (state, _) in found.items()} == {
        "both": State.FAILED,
        "source-only": State.FAILED,
        "clean": State.PASSED,
        "asks": State.PASSED,
    }
    assert len(next(result for result in report.results if result.slug == "both").findings) == 2
    assert "no images here" in found["asks"][1]
    without, _ = states(rules, RunPlan(root=tmp_path))
    assert without["source-only"][0] is State.NOT_APPLICABLE
    assert "names no `code`" in without["source-only"][1]
    assert without["both"][0] is State.WARNED


def test_a_fact_is_computed_once_and_a_failure_is_a_reason(tmp_path):
    calls = []

    def count(plan):
        calls.append(1)
        return len(calls)

    def fail(plan):
        calls.append(2)
        raise RuntimeError("disk on fire")

    plan = RunPlan(
        root=tmp_path,
        providers={
            "count": count,
            "fails": fail,
            "circle": lambda plan: plan.fact("circle"),
            "known": lambda plan: (_ for _ in ()).throw(DataError("no such folder")),
        },
    )
    assert [plan.fact("count") for _ in range(3)] == [1, 1, 1]
    for name, words in (
        ("fails", "disk on fire"),
        ("fails", "disk on fire"),
        ("circle", "a circle"),
        ("known", "^no such folder$"),
        ("unheard_of", "unheard of"),
    ):
        with pytest.raises(FactUnavailable, match=words):
            plan.fact(name)
    assert calls == [1, 2]
