"""Rules about what a run needs of device, main memory and time: facts are stated, the arithmetic is by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plans import Known, findings
from snellen.core.facts.duration import DurationFacts
from snellen.core.facts.machine import MachineFacts
from snellen.core.facts.memory import CheckpointFacts, HostMemoryFacts, MemoryChange, MemoryFacts, PhaseMemory
from snellen.core.finding import FixSafety, Level
from snellen.core.plan import NotApplicable

GIB = 1 << 30
T4 = MachineFacts("kaggle-t4", here=False, accelerator="cuda", devices=1, bf16=False)
SMALLER = MemoryChange("batch size 4, accumulate 2", "slower", 4 * GIB, 9 * GIB, "yes",
                       (("optim.batch_size", 4), ("optim.accumulate", 2)))  # fmt: skip


def memory(tensors: int, low: int, high: int, *, budget: int | None = 15, **more: object) -> MemoryFacts:
    """Sizes in GiB."""
    phases = (PhaseMemory("train", tensors * GIB, low * GIB, high * GIB, "8 crops"),
              PhaseMemory("predict", GIB, 2 * GIB, 3 * GIB, "the largest image"))  # fmt: skip
    facts = MemoryFacts("kaggle-t4", "fp16", 8, phases, None if budget is None else budget * GIB, "its memory",
                        (GIB // 10, GIB // 2), 6, (SMALLER,), (("activations", GIB),))  # fmt: skip
    return replace(facts, **more)


def found(slug: str, **facts: object) -> list:
    return findings(slug, Known({}, machine=T4, **facts))


@pytest.mark.parametrize(
    ("sizes", "level", "slug"),
    [
        ((17, 18, 20), Level.ERROR, "cuda-oom"),
        ((12, 13, 20), Level.WARNING, "cuda-oom"),
        ((14, 16, 20), Level.ERROR, "cuda-lib-alloc"),
    ],
)
def test_what_does_not_fit_is_told_once_and_as_surely_as_it_is_known(sizes, level, slug) -> None:
    facts = memory(*sizes)
    by_slug = {name: found(name, memory=facts) for name in ("cuda-oom", "cuda-lib-alloc")}
    assert [name for name, found_there in by_slug.items() if found_there] == [slug]
    (finding,) = by_slug[slug]
    assert finding.level is level
    assert finding.fix.settings == SMALLER.settings
    assert finding.fix.safety is FixSafety.UNSAFE
    assert any("the largest image" in one.text for one in finding.evidence)


def test_what_fits_is_left_alone_and_what_is_not_known_is_not_judged() -> None:
    for slug in ("cuda-oom", "cuda-lib-alloc"):
        assert found(slug, memory=memory(10, 11, 12)) == []
        with pytest.raises(NotApplicable):
            found(slug, memory=memory(17, 18, 20, budget=None))
        with pytest.raises(NotApplicable):
            findings(slug, Known({}, machine=replace(T4, accelerator="cpu"), memory=memory(17, 18, 20)))


def test_without_a_change_that_is_enough_none_is_promised() -> None:
    changes = (replace(SMALLER, fits="no"),)
    (finding,) = found("cuda-oom", memory=memory(17, 18, 20, changes=changes))
    assert not finding.fix.applicable
    assert "No single change" in finding.fix.text


HOST = HostMemoryFacts(8 * GIB, "a control group", (GIB, 2 * GIB), (GIB // 2, GIB), GIB // 4, GIB // 2, workers=4)
"""Alone 1.75 to 2.75 GiB; four loader processes add 4 x (1/2 to 1) and 7 more batches of 1/4 GiB."""


def test_loader_processes_that_do_not_fit_are_reduced_to_those_that_do() -> None:
    assert HOST.need(4) == (int(5.5 * GIB), int(8.5 * GIB))
    (finding,) = found("worker-killed", host_memory=HOST)
    assert finding.level is Level.WARNING
    assert finding.fix.settings == (("data.workers", 3),)
    (finding,) = found("worker-killed", host_memory=replace(HOST, limit=5 * GIB))
    assert finding.level is Level.ERROR
    assert found("worker-killed", host_memory=replace(HOST, limit=9 * GIB)) == []
    assert found("host-oom", host_memory=HOST) == []


def test_a_process_that_does_not_fit_alone_is_not_blamed_on_its_loaders() -> None:
    small = replace(HOST, limit=GIB)
    (finding,) = found("host-oom", host_memory=small)
    assert finding.level is Level.ERROR
    assert found("worker-killed", host_memory=small) == []
    (finding,) = found("host-oom", host_memory=replace(HOST, limit=2 * GIB))
    assert finding.level is Level.WARNING
    with pytest.raises(NotApplicable):
        found("host-oom", host_memory=replace(HOST, limit=None))


RUN = DurationFacts("kaggle-t4", (1.0, 2.0), 36000, 50, (0.0, 0.0), (10.0, 20.0), "memory", 12, 30)


@pytest.mark.parametrize(
    ("hours", "level", "limit", "epochs"),
    [
        ((10.0, 20.0), Level.WARNING, "a session has 12", 30),
        ((13.0, 20.0), Level.ERROR, "a session has 12", 30),
        ((40.0, 60.0), Level.ERROR, "the quota of a week has 30", 25),
    ],
)
def test_a_run_beyond_its_hours_is_told_with_the_epochs_that_fit(hours, level, limit, epochs) -> None:
    (finding,) = found("quota-exceeded", duration=replace(RUN, hours=hours))
    assert finding.level is level
    assert limit in finding.message
    assert finding.fix.settings == (("optim.epochs", epochs),)


def test_hours_that_nobody_counts_are_no_limit() -> None:
    assert found("quota-exceeded", duration=replace(RUN, hours=(1.0, 11.0))) == []
    with pytest.raises(NotApplicable):
        found("quota-exceeded", duration=replace(RUN, session_hours=None, weekly_hours=None))


def test_all_checkpoints_that_are_kept_and_the_one_being_written_count() -> None:
    assert CheckpointFacts(last=3 * GIB, best=GIB, kept=2).most == 11 * GIB
