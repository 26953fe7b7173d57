"""The rule cache-never-filled while a run goes on: nothing found in a whole epoch after the first."""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.rule import DuringFacet
from snellen.core.step import Action, Step, Verdict
from snellen.rules.catalogue import get

STEPS, READS = 10, 40


def steps(epochs: int, *, rate: float, first: int = 0) -> Iterator[Step]:
    """A run that reads so many items in each epoch, the share of which is found after the first."""
    hits = misses = 0
    for epoch in range(first, first + epochs):
        for number in range(STEPS):
            found = round(READS / STEPS * rate) if epoch > first else 0
            hits, misses = hits + found, misses + READS // STEPS - found
            cache = {"hits": hits, "misses": misses, "items": 0, "slots": READS}
            yield Step(epoch, epoch * STEPS + number, 1.0, 1.0, 1e-3, cache=cache)


def watch(run: Iterator[Step]) -> list[Verdict]:
    facet = get("cache-never-filled").during
    assert isinstance(facet, DuringFacet)
    look = facet.start()
    return [verdict for step in run if (verdict := look(step)) is not None]


def test_a_cache_in_which_nothing_is_found_is_told_once() -> None:
    (verdict,) = watch(steps(5, rate=0.0))
    assert verdict.action is Action.CONTINUE
    assert "asked 40 times in epoch 2, and not once" in verdict.finding.message
    assert "0 of 40 items" in verdict.finding.message
    assert verdict.finding.fix is not None


def test_the_first_epoch_and_the_first_after_a_resume_fill_it() -> None:
    assert watch(steps(2, rate=0.0)) == []
    assert len(watch(steps(3, rate=0.0, first=7))) == 1


def test_a_cache_that_works_or_is_not_there_is_left_alone() -> None:
    assert watch(steps(6, rate=0.25)) == []
    assert watch(iter([Step(number // 10, number, 1.0, 1.0, 1e-3) for number in range(60)])) == []
