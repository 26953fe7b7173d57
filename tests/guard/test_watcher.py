"""The guard stops what cannot be saved and survives its own rules."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from snellen.core.finding import Finding, Level
from snellen.core.rule import DuringFacet
from snellen.core.step import Action, Step, Verdict
from snellen.guard import RuleGuard
from snellen.rules.catalogue import catalogue, get

NAN, INF = float("nan"), float("inf")


def step(loss=1.0, norm=1.0, *, precision="fp32", scale=None, number=3):
    return Step(0, number, loss, norm, 1e-3, precision=precision, loss_scale=scale, files=("a.png", "b.png"))


def rule(slug, start):
    return dataclasses.replace(get("nan-loss"), slug=slug, during=DuringFacet(start))


@pytest.mark.parametrize(
    ("facts", "stops"),
    [
        (step(), False),
        (step(norm=None), False),
        (step(loss=NAN), True),
        (step(loss=-INF), True),
        (step(norm=NAN), True),
        (step(norm=INF, precision="bf16"), True),
        (step(norm=INF, precision="fp16", scale=65536.0), False),
        (step(loss=NAN, norm=NAN, precision="fp16", scale=65536.0), True),
    ],
)
def test_a_loss_or_gradient_that_is_not_finite_stops_the_run(facts, stops):
    verdicts = RuleGuard(catalogue().values()).observe(facts)
    assert [verdict.action for verdict in verdicts] == ([Action.STOP] if stops else [])
    if stops:
        assert verdicts[0].finding.slug == "nan-loss"
        assert "a.png" in verdicts[0].finding.message
        assert "step 3" in verdicts[0].finding.message
        assert verdicts[0].finding.fix.text


def test_a_scaler_that_never_finds_its_scale_is_stopped():
    guard = RuleGuard(catalogue().values())
    overflow = step(norm=INF, precision="fp16", scale=1.0)
    for _ in range(10):
        assert guard.observe(overflow) == []
    assert guard.observe(step(precision="fp16", scale=1.0)) == []
    verdicts = [guard.observe(overflow) for _ in range(25)]
    assert verdicts[:24] == [[]] * 24
    assert "25 steps in a row" in verdicts[24][0].finding.message


def test_a_rule_that_crashes_is_told_once_and_the_others_go_on():
    def crashing():
        def look(_step):
            raise ZeroDivisionError("oh")

        return look

    def unstartable():
        raise ValueError("no")

    guard = RuleGuard([rule("first", crashing), rule("second", unstartable), get("nan-loss")])
    first = guard.observe(step(loss=NAN))
    assert [verdict.action for verdict in first] == [Action.STOP, Action.CONTINUE, Action.CONTINUE]
    assert {verdict.finding.slug for verdict in first} == {"first", "second", "nan-loss"}
    assert all(verdict.finding.level is Level.NOTE for verdict in first[1:])
    assert [verdict.finding.slug for verdict in guard.observe(step(loss=NAN))] == ["nan-loss"]
    assert guard.slugs == ("nan-loss",)


def test_a_healer_may_soften_a_verdict():
    def heal(_step, verdict):
        return Verdict(Action.SKIP, verdict.finding)

    guard = RuleGuard([get("nan-loss")], healer=heal)
    assert guard.observe(step(loss=NAN))[0].action is Action.SKIP


def test_each_run_starts_with_no_memory_of_another():
    def counting():
        count = 0

        def look(_step):
            nonlocal count
            count += 1
            return Verdict(Action.CONTINUE, Finding("c", Level.NOTE, str(count)))

        return look

    counter = rule("c", counting)
    for _ in range(2):
        guard = RuleGuard([counter])
        assert [guard.observe(step())[0].finding.message for _ in range(2)] == ["1", "2"]
        assert guard.seconds >= 0


def test_a_guard_can_be_sent_to_the_processes_of_further_devices() -> None:
    guard = pickle.loads(pickle.dumps(RuleGuard(catalogue().values())))  # noqa: S301 - our own object
    assert guard.slugs
    assert [verdict.action for verdict in guard.observe(Step(0, 0, float("nan"), 1.0, 1e-4))] == [Action.STOP]
