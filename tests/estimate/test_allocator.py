"""The allocator played through on paper: sizes, segments, splitting, joining, and the end of memory.

The expected numbers follow from the constants that PyTorch documents and from cases worked out by hand.
"""

from __future__ import annotations

import random

import pytest

from snellen.estimate.allocator import CachingAllocator, OutOfMemory, replay
from snellen.trace.timeline import Allocation, Category, Event, Timeline

KIB, MIB = 1 << 10, 1 << 20


@pytest.mark.parametrize(
    ("asked", "allocated", "reserved"),
    [
        (1, 512, 2 * MIB), (512, 512, 2 * MIB), (513, 1024, 2 * MIB), (MIB, MIB, 2 * MIB),
        # what would be left of a large segment is worth keeping only beyond 1 MiB
        (MIB + 1, MIB + 512, 20 * MIB), (19 * MIB, 20 * MIB, 20 * MIB), (10 * MIB, 10 * MIB, 10 * MIB),
        (10 * MIB + 1, 10 * MIB + 512, 12 * MIB), (33 * MIB, 34 * MIB, 34 * MIB),
    ],
)  # fmt: skip
def test_sizes_and_segments(asked: int, allocated: int, reserved: int) -> None:
    allocator = CachingAllocator()
    allocator.allocate(asked)
    assert (allocator.allocated, allocator.reserved) == (allocated, reserved)


def test_a_freed_block_is_used_again_and_neighbours_are_joined() -> None:
    allocator = CachingAllocator()
    first, second, third = (allocator.allocate(4 * MIB) for _ in range(3))
    assert allocator.reserved == 20 * MIB
    for block in (first, third, second):
        allocator.free(block)
    assert allocator.allocated == 0
    allocator.allocate(20 * MIB)
    assert allocator.reserved == 20 * MIB


def test_memory_in_pieces_does_not_hold_what_is_larger_than_each_piece() -> None:
    allocator = CachingAllocator()
    blocks = [allocator.allocate(2 * MIB) for _ in range(10)]
    for block in blocks[::2]:
        allocator.free(block)
    assert allocator.allocated == 10 * MIB
    allocator.allocate(4 * MIB)
    assert allocator.reserved == 40 * MIB


def test_what_is_cached_is_given_back_before_memory_is_at_an_end() -> None:
    allocator = CachingAllocator(capacity=100 * MIB)
    allocator.free(allocator.allocate(60 * MIB))
    block = allocator.allocate(90 * MIB)
    assert allocator.reserved == 90 * MIB
    with pytest.raises(OutOfMemory) as caught:
        allocator.allocate(11 * MIB)
    assert (caught.value.requested, caught.value.reserved) == (11 * MIB, 90 * MIB)
    allocator.free(block)
    allocator.empty_cache()
    assert allocator.reserved == 0


def test_nothing_is_lost_in_a_long_random_life() -> None:
    allocator, alive, rng = CachingAllocator(), [], random.Random(0)
    for _ in range(5000):
        if alive and rng.random() < 0.5:
            allocator.free(alive.pop(rng.randrange(len(alive))))
        else:
            alive.append(allocator.allocate(int(2 ** rng.uniform(4, 26))))
        assert allocator.allocated == sum(block.size for block in alive) <= allocator.reserved
    for block in alive:
        allocator.free(block)
    allocator.empty_cache()
    assert (allocator.allocated, allocator.reserved) == (0, 0)


def test_a_timeline_is_played_through() -> None:
    blocks = [Allocation(size, Category.ACTIVATIONS) for size in (3 * MIB, 0, 5 * MIB)]
    events = [Event(0, made=True), Event(1, made=True), Event(0, made=False), Event(2, made=True), Event(1, made=False)]
    peaks = replay(Timeline(blocks, events))
    assert (peaks.allocated, peaks.reserved) == (5 * MIB, 20 * MIB)
    with pytest.raises(OutOfMemory):
        replay(Timeline(blocks, events), capacity=4 * MIB)
