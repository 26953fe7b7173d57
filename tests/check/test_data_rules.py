"""What the rules of the family data find in a plan."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from plans import Known, findings
from plant import planters
from snellen.core.facts.data import FolderAudit, ImageRecord, LayoutName, Sample
from snellen.core.facts.machine import MachineFacts
from snellen.core.facts.model import BatchFacts
from snellen.core.finding import Level
from snellen.core.plan import NotApplicable

MIB = 1 << 20


def machine(shared: int | None) -> MachineFacts:
    return MachineFacts("box", True, "cuda", 1, True, cpus=9, shared_memory_bytes=shared)


def audit(*records: ImageRecord) -> tuple[FolderAudit, ...]:
    return (FolderAudit("data.train", "train", "images", images={record.path: record for record in records}),)


def test_batches_that_do_not_fit_into_shared_memory_are_found_and_mended() -> None:
    settings = {"data": {"workers": 4, "image_size": 512}, "optim": {"batch_size": 8}}
    (finding,) = findings("shm-too-small", Known(settings, machine=machine(64 * MIB)))
    assert "192 MiB" in finding.message
    assert finding.fix is not None
    assert finding.fix.settings == (("data.workers", 1),)
    mended = {**settings, "data": {"workers": 1, "image_size": 512}}
    assert findings("shm-too-small", Known(mended, machine=machine(64 * MIB))) == []


def test_the_size_of_images_counts_where_none_is_set() -> None:
    plan = Known(
        {"data": {"workers": "auto"}},
        machine=machine(64 * MIB),
        audit=audit(ImageRecord("a.jpg", 1, height=300, width=400)),
    )
    assert "300 x 400" in findings("shm-too-small", plan)[0].message


@pytest.mark.parametrize(
    ("settings", "shared"),
    [({"data": {"workers": 0, "image_size": 512}}, MIB), ({"data": {"workers": 4, "image_size": 512}}, None)],
)
def test_without_workers_or_a_known_size_the_question_does_not_arise(settings: dict[str, Any], shared: int) -> None:
    with pytest.raises(NotApplicable):
        findings("shm-too-small", Known(settings, machine=machine(shared)))


def test_an_image_that_is_too_large_is_one_rules_finding_only() -> None:
    problem = "has 300.0 megapixels (20000 x 15000), the limit is 179: not decoded"
    plan = Known({}, audit=audit(ImageRecord("scan.png", 1, problem=problem)))
    assert len(findings("decompression-bomb", plan)) == 1
    assert findings("corrupt-image", plan) == []


def test_a_file_that_may_not_be_read_is_another_rules_finding() -> None:
    plan = Known({}, audit=audit(ImageRecord("scan.png", 1, problem="cannot be opened: [Errno 13] Permission denied")))
    assert findings("corrupt-image", plan) == []


def test_class_weights_are_compared_with_the_classes() -> None:
    settings = {"model": {"num_classes": 3}, "loss": {"class_weights": [1.0, 2.0]}}
    (finding,) = findings("class-weights-length", Known(settings))
    assert "2 numbers" in finding.message
    assert findings("class-weights-length", Known({**settings, "loss": {"class_weights": [1, 2, 3]}})) == []
    with pytest.raises(NotApplicable):
        findings("class-weights-length", Known({"model": {"num_classes": 3}}))


def test_the_guide_lists_every_fault_that_can_be_planted() -> None:
    guide = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "check-your-data.md"
    listed = re.findall(r"\[([a-z0-9-]+)\]\(\.\./rules/\1\.md\)", guide.read_text(encoding="utf-8"))
    assert sorted(listed) == sorted({slug for slug, _ in planters()})


def labelled(*pairs: tuple[str, str | None]) -> tuple[FolderAudit, ...]:
    samples = tuple(Sample(f"train/{name}", label=label) for name, label in pairs)
    return (FolderAudit("data.train", "train", "class-csv", samples=samples),)


def test_of_two_spellings_that_are_as_frequent_the_one_without_blanks_around_it_is_kept() -> None:
    plan = Known({}, audit=labelled(("1.png", " cat "), ("2.png", "cat"), ("3.png", "dog"), ("4.png", "dog ")))
    (finding,) = findings("class-name-variants", plan)
    assert finding.fix is not None
    assert finding.fix.text == "Rename: ' cat ' to 'cat', 'dog ' to 'dog'."


def test_a_row_without_a_label_does_not_contradict_the_name_of_its_file() -> None:
    named = [(f"{name}-{number}.png", name) for name in ("cat", "dog") for number in range(10)]
    assert (
        findings("label-against-name", Known({}, audit=labelled(*named, ("cat-10.png", None), ("dog-10.png", ""))))
        == []
    )
    (finding,) = findings("label-against-name", Known({}, audit=labelled(*named, ("cat-10.png", "dog"))))
    assert "cat-10.png is labelled dog, its name says cat" in finding.message


def images_of(count: int, layout: LayoutName = "class-folders") -> tuple[FolderAudit, ...]:
    samples = tuple(Sample(f"{number}.jpg", label="ab"[number % 2]) for number in range(count))
    return (FolderAudit("data.train", "train", layout, samples=samples),)


@pytest.mark.parametrize(
    ("images", "batches", "level"),
    [(40, BatchFacts(64), Level.NOTE), (40, BatchFacts(16, 4, 2), Level.WARNING), (64, BatchFacts(64), None)],
)
def test_a_step_that_takes_more_images_than_there_are(images: int, batches: BatchFacts, level: Level | None) -> None:
    plan = Known({"optim": {"batch_size": batches.size}}, audit=images_of(images), batches=batches)
    found = findings("batch-larger-than-set", plan)
    assert [finding.level for finding in found] == ([level] if level else [])
    for finding in found:
        assert f"data.train holds {images} images" in finding.message
        assert finding.fix is not None
        advised = dict(finding.fix.settings)
        mended = BatchFacts(advised["optim.batch_size"], advised.get("optim.accumulate", 1), batches.devices)
        assert findings("batch-larger-than-set", Known({}, audit=images_of(images), batches=mended)) == []


def test_a_batch_of_clips_is_not_compared_with_frames() -> None:
    with pytest.raises(NotApplicable):
        findings("batch-larger-than-set", Known({}, audit=images_of(4, "frame-pairs"), batches=BatchFacts(8)))
