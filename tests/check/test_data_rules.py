"""What the rules of the family data find in a plan."""

from __future__ import annotations

from typing import Any

import pytest

from plans import Known, findings
from snellen.core.facts.data import ImagesFacts
from snellen.core.facts.machine import MachineFacts
from snellen.core.plan import NotApplicable

MIB = 1 << 20


def machine(shared: int | None) -> MachineFacts:
    return MachineFacts("box", True, "cuda", 1, True, cpus=9, shared_memory_bytes=shared)


def images(**facts: Any) -> tuple[ImagesFacts, ...]:
    return (ImagesFacts("data.train", 10, 10, 10, **facts),)


def test_batches_that_do_not_fit_into_shared_memory_are_found_and_mended() -> None:
    settings = {"data": {"workers": 4, "image_size": 512}, "optim": {"batch_size": 8}}
    (finding,) = findings("shm-too-small", Known(settings, machine=machine(64 * MIB)))
    assert "192 MiB" in finding.message
    assert finding.fix is not None
    assert finding.fix.settings == (("data.workers", 1),)
    mended = {**settings, "data": {"workers": 1, "image_size": 512}}
    assert findings("shm-too-small", Known(mended, machine=machine(64 * MIB))) == []


def test_the_size_of_images_counts_where_none_is_set() -> None:
    plan = Known({"data": {"workers": "auto"}}, machine=machine(64 * MIB), images=images(largest=(300, 400)))
    assert "300 x 400" in findings("shm-too-small", plan)[0].message


@pytest.mark.parametrize(
    ("settings", "shared"),
    [({"data": {"workers": 0, "image_size": 512}}, MIB), ({"data": {"workers": 4, "image_size": 512}}, None)],
)
def test_without_workers_or_a_known_size_the_question_does_not_arise(settings: dict[str, Any], shared: int) -> None:
    with pytest.raises(NotApplicable):
        findings("shm-too-small", Known(settings, machine=machine(shared)))


def test_an_image_that_is_too_large_is_one_rules_finding_only() -> None:
    reason = "Image size (300000000 pixels) exceeds limit of 178956970 pixels, could be decompression bomb DOS attack."
    plan = Known({}, images=images(unreadable=(("scan.png", reason),)))
    assert len(findings("decompression-bomb", plan)) == 1
    assert findings("corrupt-image", plan) == []


def test_class_weights_are_compared_with_the_classes() -> None:
    settings = {"model": {"num_classes": 3}, "loss": {"class_weights": [1.0, 2.0]}}
    (finding,) = findings("class-weights-length", Known(settings))
    assert "2 numbers" in finding.message
    assert findings("class-weights-length", Known({**settings, "loss": {"class_weights": [1, 2, 3]}})) == []
    with pytest.raises(NotApplicable):
        findings("class-weights-length", Known({"model": {"num_classes": 3}}))
