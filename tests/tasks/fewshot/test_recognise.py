"""Queries against supports: by comparison with all, or by an index where that finds the same."""

from __future__ import annotations

import numpy as np
import pytest

from snellen.ops.vector_index import RECALL
from snellen.tasks.fewshot.recognise import Comparison, told_recall

SUPPORTS, QUERIES, WIDTH = 3000, 64, 64


@pytest.mark.parametrize(("copies", "kept"), [(1, True), (10, False)])
def test_an_index_is_used_where_it_finds_the_nearest(copies: int, kept: bool) -> None:
    # Of copies of one vector the first is the nearest, which an index cannot know.
    generator = np.random.default_rng(0)
    distinct = generator.standard_normal((SUPPORTS // copies, WIDTH)).astype(np.float32)
    supports, labels = np.repeat(distinct, copies, axis=0), generator.integers(0, 5, SUPPORTS)
    queries = generator.standard_normal((QUERIES, WIDTH)).astype(np.float32)
    indexed, exact = (Comparison(supports, labels, "nearest", index_from=least) for least in (1000, 10_000))
    found, expected = indexed.answer(queries), exact.answer(queries)
    assert exact.recall is None
    assert indexed.recall is not None
    assert (indexed.recall >= RECALL) is kept
    assert ("compared with all" in told_recall(indexed.recall)) is not kept
    same = found.label == expected.label
    assert same.mean() >= (RECALL if kept else 1.0)
