"""Batches of loader processes: the same as without them, in memory that is used again once nobody looks at it."""

from __future__ import annotations

import os
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from mixed_batches import COUNT, Gather, Mixed
from snellen.engine.handover import Handed, Lender
from snellen.engine.loading import BatchLoader
from snellen.engine.seeding import Purpose


def same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            same(one[name], other[name])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for part, its in zip(one, other, strict=True):
            same(part, its)
    else:
        assert one == other


def loader(workers: int) -> BatchLoader:
    return BatchLoader(Gather(), Mixed(), seed=1, purpose=Purpose.TRAINING_SAMPLE, workers=workers)  # type: ignore[arg-type]


def test_batches_of_loaders_are_those_of_one_process_and_stay_as_they_are():
    order = [[index, (index + 7) % COUNT] for index in range(COUNT)] * 3
    alone, others = loader(0), loader(2)
    expected = list(alone.batches(0, order))
    # All are held at once, which is more than a loader has memory for.
    held = list(others.batches(0, order))
    for one, other in zip(expected, held, strict=True):
        same(one, other)
    held[0]["pixels"][0].zero_()
    held[0]["whole"][0][...] = 0
    same(expected[1], held[1])
    del held
    # An epoch that is left early, and one after it.
    for _ in others.batches(1, order):
        break
    for one, other in zip(alone.batches(2, order), others.batches(2, order), strict=True):
        same(one, other)
    others.close()


def sent(lender: Lender, value: float) -> Any:
    found = pickle.loads(pickle.dumps(lender.hand({"pixels": torch.full((100, 1000), value)})))  # noqa: S301 - made here
    if not isinstance(found, Handed):
        pytest.skip("this system has no memory without a name")
    return found.batch["pixels"]


def test_memory_is_used_again_only_when_the_last_view_is_gone():
    lender = Lender()
    first = sent(lender, 1.0)
    place, view = first.data_ptr(), first[3:5].numpy()
    del first
    second = sent(lender, 2.0)
    assert second.data_ptr() != place
    assert set(np.unique(view)) == {1.0}
    del view
    third = sent(lender, 3.0)
    assert third.data_ptr() == place
    assert set(second.unique().tolist()) == {2.0}
    # One that is thrown away unseen does not keep its memory either.
    places = {sent(lender, value).data_ptr() for value in range(40)}
    assert len(places) == 1


def test_a_larger_batch_takes_the_place_of_a_smaller_one():
    lender = Lender()
    for side in (200, 500, 300, 900):
        batch = {"pixels": torch.rand(side, side)}
        found = pickle.loads(pickle.dumps(lender.hand(batch)))  # noqa: S301 - made here
        same(getattr(found, "batch", found), batch)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_gives_nothing_back():
    lender = Lender()
    held = sent(lender, 1.0)
    child = os.fork()
    if not child:
        del held
        os._exit(0)
    os.waitpid(child, 0)
    sent(lender, 2.0)
    assert set(held.unique().tolist()) == {1.0}
