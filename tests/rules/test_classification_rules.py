"""Rules that watch a classification: stuck at chance, transfer that does not help, a transformer on few images."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from plans import Known, findings
from snellen.core.facts.data import FolderAudit, Sample
from snellen.core.plan import NotApplicable
from snellen.core.rule import DuringFacet
from snellen.core.step import Step, Verdict
from snellen.rules.catalogue import get

BATCH = 32
FILES = [f"{number}.png" for number in range(BATCH)]


def watch(slug: str, steps: Sequence[Step]) -> list[Verdict]:
    facet = get(slug).during
    assert isinstance(facet, DuringFacet)
    look = facet.start()
    return [verdict for step in steps if (verdict := look(step)) is not None]


def run_of(accuracies: Sequence[float], *, chance: float = 0.1, warm_up: int = 100, seed: int = 0) -> list[Step]:
    """Steps of which each batch is right as often as binomial luck has it; 40 steps are an epoch."""
    draw = random.Random(seed)
    steps = []
    for number, share in enumerate(accuracies):
        right = sum(draw.random() < share for _ in range(BATCH)) / BATCH
        rate = 1e-3 * min(1.0, (number + 1) / warm_up)
        logs = {"accuracy": right, "chance": chance}
        steps.append(Step(number // 40, number, 2.31 + draw.uniform(-0.05, 0.05), 1.0, rate, files=FILES, logs=logs))
    return steps


@pytest.mark.parametrize("seed", range(5))
def test_accuracy_that_stays_at_chance_is_told_once_with_its_interval(seed: int) -> None:
    verdicts = watch("stuck-at-chance", run_of([0.1] * 600, seed=seed))
    assert len(verdicts) == 1
    assert "99%:" in verdicts[0].finding.message
    assert "guessing gets, 0.100" in verdicts[0].finding.message


@pytest.mark.parametrize(("peak", "advice"), [(1e-2, "optim.lr: 1.0e-03"), (1e-9, "a larger learning rate")])
def test_the_rate_that_is_advised_follows_from_the_highest_and_not_from_where_the_schedule_ended(
    peak: float, advice: str
) -> None:
    steps = run_of([0.1] * 600)
    last = len(steps) - 1
    falling = [replace(one, lr=peak * (1 - number / last)) for number, one in enumerate(steps)]
    (verdict,) = watch("stuck-at-chance", falling)
    assert verdict.finding.fix is not None
    assert advice in verdict.finding.fix.text


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("accuracies", "chance"),
    [
        pytest.param([0.1] * 120 + [0.1 + 0.002 * n for n in range(400)], 0.1, id="a long healthy warm-up"),
        pytest.param([0.16] * 600, 0.1, id="little, but more than chance"),
        pytest.param([0.03] * 600, 0.01, id="three times chance of a hundred classes"),
        pytest.param([0.1] * 100, 0.1, id="only the first steps"),
        pytest.param([0.8] * 600, 0.5, id="two classes"),
    ],
)
def test_a_run_that_learns_is_left_alone(accuracies: list[float], chance: float, seed: int) -> None:
    assert watch("stuck-at-chance", run_of(accuracies, chance=chance, seed=seed)) == []


def test_nothing_is_said_while_the_learning_rate_still_rises() -> None:
    assert watch("stuck-at-chance", run_of([0.1] * 600, warm_up=700)) == []


def fine_tuning(accuracy: float, **evaluation: float) -> list[Step]:
    """Ten epochs of ten steps whose learning rate falls."""
    figures = {"accuracy": accuracy, "images": 500.0, **evaluation}
    return [
        Step(number // 10, number, 1.0, 1.0, 1e-3 * (1 - number / 100), evaluation=figures if number else {})
        for number in range(100)
    ]


GOOD = {
    "probe_accuracy": 0.8,
    "probe_accuracy_low": 0.76,
    "probe_accuracy_high": 0.84,
    "pixel_probe_accuracy": 0.4,
    "probe_gain_low": 0.35,
    "probe_gain_high": 0.45,
}


def test_features_no_better_than_thumbnails_are_told() -> None:
    useless = {
        **GOOD,
        "probe_accuracy": 0.38,
        "probe_accuracy_low": 0.34,
        "probe_gain_low": -0.05,
        "probe_gain_high": 0.01,
    }
    found = watch("transfer-without-gain", fine_tuning(0.5, **useless))
    assert len(found) == 1
    assert "0.380" in found[0].finding.message
    assert "0.400" in found[0].finding.message
    assert found[0].finding.evidence


def test_training_that_unlearns_is_told_after_the_learning_rate_has_fallen() -> None:
    found = watch("transfer-without-gain", fine_tuning(0.6, **GOOD))
    assert [one.finding.slug for one in found] == ["transfer-without-gain"]
    assert "unlearned" in found[0].finding.message
    assert found[0].finding.fix is not None
    assert found[0].finding.fix.settings == (("model.freeze", "all"),)
    highest = max(step.lr for step in fine_tuning(0.6, **GOOD))
    assert f"optim.lr: {highest / 10:.1e}" in found[0].finding.fix.text


@pytest.mark.parametrize(
    ("accuracy", "figures"),
    [
        pytest.param(0.85, GOOD, id="better than the probe"),
        pytest.param(0.75, GOOD, id="within the intervals"),
        pytest.param(0.6, {}, id="from a random start"),
        pytest.param(0.97, {**GOOD, "pixel_probe_accuracy": 0.95, "probe_gain_high": 0.01}, id="thumbnails do"),
        pytest.param(0.5, {**GOOD, "probe_accuracy_low": 0.4, "probe_gain_high": 0.2}, id="too few images to tell"),
    ],
)
def test_a_transfer_that_may_help_is_left_alone(accuracy: float, figures: dict[str, float]) -> None:
    assert watch("transfer-without-gain", fine_tuning(accuracy, **figures)) == []


def images(count: int) -> FolderAudit:
    return FolderAudit("data.train", "train", "class-folders", samples=[Sample("a.png", label="a")] * count)


def told(model: dict[str, Any], count: int) -> list[str]:
    plan = Known({"task": "classify", "model": model}, audit=(images(count),))
    return [finding.message for finding in findings("transformer-few-images", plan)]


def test_a_transformer_from_a_random_start_on_few_images_is_told_before_the_run() -> None:
    messages = told({"name": "vit_tiny_patch16_224", "pretrained": False}, 3000)
    assert len(messages) == 1
    assert "3,000" in messages[0]
    assert told({"name": "vit_tiny_patch16_224", "pretrained": False}, 200_000) == []


@pytest.mark.parametrize(
    "model",
    [
        {"name": "resnet18", "pretrained": False},
        {"name": "vit_tiny_patch16_224"},
        {"name": "vit_tiny_patch16_224", "pretrained": False, "weights": "w.safetensors"},
        {"name": 3},
        {},
    ],
)
def test_other_networks_and_pretrained_ones_do_not_raise_the_question(model: dict[str, Any]) -> None:
    with pytest.raises(NotApplicable):
        told(model, 3000)


def curves(training: float, validation: float, **about: str) -> list[Step]:
    facts = {"kind": "transformer", "start": "random", "model": "vit_tiny_patch16_224", **about}
    figures = {"accuracy": validation, "images": 500.0}
    return [
        Step(n // 20, n, 1.0, 1.0, 1e-3, files=FILES, logs={"accuracy": training}, evaluation=figures, about=facts)
        for n in range(200)
    ]


def test_a_transformer_that_learns_by_heart_is_told_from_its_curves() -> None:
    found = watch("transformer-few-images", curves(0.95, 0.4))
    assert len(found) == 1
    assert "by heart" in found[0].finding.message


def test_curves_that_stay_together_and_other_networks_are_left_alone() -> None:
    assert watch("transformer-few-images", curves(0.6, 0.55)) == []
    assert watch("transformer-few-images", curves(0.95, 0.4, kind="convolutional")) == []
    assert watch("transformer-few-images", curves(0.95, 0.4, start="pretrained")) == []
