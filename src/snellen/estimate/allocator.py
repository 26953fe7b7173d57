"""PyTorch's caching allocator for CUDA, played through on paper: what is reserved, not only what is asked for.

Source: c10/cuda/CUDACachingAllocator.cpp of PyTorch and its documentation,
https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-memory-management. Sizes are rounded up to 512 bytes; requests
up to 1 MiB come from segments of 2 MiB, those below 10 MiB from segments of 20 MiB, larger ones get segments rounded
up to 2 MiB; a free block is split when what is left is worth keeping; neighbours that are free are joined.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import Final

from snellen.trace.timeline import Timeline

__all__ = ["CachingAllocator", "OutOfMemory", "Peaks", "replay"]

_SMALLEST: Final = 512
_SMALL: Final = 1 << 20
_SMALL_SEGMENT: Final = 2 << 20
_LARGE_SEGMENT: Final = 20 << 20
_LEAST_LARGE: Final = 10 << 20
_ROUND_LARGE: Final = 2 << 20


class OutOfMemory(Exception):  # noqa: N818 - as it is called everywhere
    """A request did not fit, even after everything unused was given back.

    Args:
        requested: Bytes asked for.
        allocated: Bytes in use then.
        reserved: Bytes held then, cached ones included.
    """

    def __init__(self, requested: int, allocated: int, reserved: int) -> None:
        super().__init__(f"{requested} bytes asked for with {allocated} in use and {reserved} reserved")
        self.requested, self.allocated, self.reserved = requested, allocated, reserved


@dataclass(slots=True, eq=False)
class _Block:
    """A stretch of a segment, linked to its neighbours."""

    size: int
    small: bool
    free: bool = False
    before: _Block | None = None
    after: _Block | None = None


@dataclass(frozen=True, slots=True)
class Peaks:
    """The most that was in use and the most that was held, in bytes."""

    allocated: int
    reserved: int


class CachingAllocator:
    """Allocates and frees as PyTorch does on one device.

    Args:
        capacity: Bytes that the device has for it, `None` for no limit.

    Example:
        >>> allocator = CachingAllocator()
        >>> block = allocator.allocate(1)
        >>> allocator.allocated, allocator.reserved
        (512, 2097152)
    """

    def __init__(self, capacity: int | None = None) -> None:
        self.capacity = capacity
        self.allocated = self.reserved = 0
        self.peak_allocated = self.peak_reserved = 0
        self._free: dict[bool, list[tuple[int, int, _Block]]] = {True: [], False: []}

    def allocate(self, size: int) -> _Block:
        """A block of at least that many bytes.

        Raises:
            OutOfMemory: It does not fit.
        """
        rounded = max(_SMALLEST, -(-size // _SMALLEST) * _SMALLEST)
        small = rounded <= _SMALL
        block = self._best_fit(rounded, small=small) or self._new_segment(rounded, small=small)
        self._split(block, rounded)
        block.free = False
        self.allocated += block.size
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        return block

    def free(self, block: _Block) -> None:
        """Give a block back to the cache."""
        self.allocated -= block.size
        block.free = True
        if block.before is not None and block.before.free:
            previous = block.before
            self._forget(previous)
            block = self._joined(previous, block)
        if block.after is not None and block.after.free:
            self._forget(block.after)
            block = self._joined(block, block.after)
        self._remember(block)

    def empty_cache(self) -> None:
        """Give whole segments that nothing uses back to the device."""
        for small, blocks in self._free.items():
            kept = [entry for entry in blocks if entry[2].before is not None or entry[2].after is not None]
            self.reserved -= sum(entry[0] for entry in blocks) - sum(entry[0] for entry in kept)
            self._free[small] = kept

    def _best_fit(self, size: int, *, small: bool) -> _Block | None:
        blocks = self._free[small]
        position = bisect.bisect_left(blocks, (size, 0))
        if position == len(blocks):
            return None
        return blocks.pop(position)[2]

    def _new_segment(self, size: int, *, small: bool) -> _Block:
        segment = (
            _SMALL_SEGMENT
            if small
            else _LARGE_SEGMENT
            if size < _LEAST_LARGE
            else -(-size // _ROUND_LARGE) * _ROUND_LARGE
        )
        if self.capacity is not None and self.reserved + segment > self.capacity:
            self.empty_cache()
            if self.reserved + segment > self.capacity:
                raise OutOfMemory(size, self.allocated, self.reserved)
        self.reserved += segment
        self.peak_reserved = max(self.peak_reserved, self.reserved)
        return _Block(segment, small)

    def _split(self, block: _Block, size: int) -> None:
        left = block.size - size
        if left < (_SMALLEST if block.small else _SMALL + 1):
            return
        rest = _Block(left, block.small, free=True, before=block, after=block.after)
        if block.after is not None:
            block.after.before = rest
        block.after, block.size = rest, size
        self._remember(rest)

    @staticmethod
    def _joined(first: _Block, second: _Block) -> _Block:
        first.size += second.size
        first.after = second.after
        if second.after is not None:
            second.after.before = first
        return first

    def _remember(self, block: _Block) -> None:
        bisect.insort(self._free[block.small], (block.size, id(block), block))

    def _forget(self, block: _Block) -> None:
        blocks = self._free[block.small]
        position = bisect.bisect_left(blocks, (block.size, id(block)))
        blocks.pop(position)


def replay(timeline: Timeline, *, capacity: int | None = None) -> Peaks:
    """Play a timeline through the allocator.

    Args:
        timeline: What was made and given back.
        capacity: Bytes that the device has for it, `None` for no limit.

    Raises:
        OutOfMemory: It does not fit.
    """
    allocator = CachingAllocator(capacity)
    blocks: dict[int, _Block] = {}
    for event in timeline.events:
        if event.made and timeline.allocations[event.allocation].size:
            blocks[event.allocation] = allocator.allocate(timeline.allocations[event.allocation].size)
        elif not event.made and event.allocation in blocks:
            allocator.free(blocks.pop(event.allocation))
    return Peaks(allocator.peak_allocated, allocator.peak_reserved)
