"""Arrays by number in memory that processes share: put in once, read by all, within a number of bytes.

An item counts from the moment in which it is whole; whoever is killed while writing leaves a gap and nothing else.
Nothing is overwritten and nothing is put out: what was read stays what it was, and an epoch that is longer than the
memory finds again what the one before has found, where a cache that puts out the oldest would find nothing.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from snellen.core.control_groups import available_memory
from snellen.core.lock import Holder
from snellen.data.cache.memory import MemoryFile, locked

__all__ = ["Arena", "Arrays", "Counts", "stored_bytes"]

Arrays: TypeAlias = tuple[npt.NDArray[Any], ...]

_ALIGNED: Final = 64
_EMPTY, _WRITING, _WHOLE = 0, 1, 2

_HEADER = struct.Struct("<7Q")
"""Slots, start and end of the data, how far it is filled, items in it, items that found no room, whether it is shut."""
_ROW = struct.Struct("<3Q")
"""Process, hits, misses; each process writes into a row of its own."""
_ROW_BYTES: Final = 64
_ROWS: Final = 512
_ENTRY = struct.Struct("<IIQQ16s")
"""State, writer, place, length of the description that stands there before the arrays, key."""
_ENTRY_BYTES: Final = 64
_ARRAY = struct.Struct("<8sQ")
_LOOK_EVERY: Final = 64 << 20
_LEFT_FREE: Final = 256 << 20
"""The arena stops growing when less than this is left for everybody else."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What an arena holds and how it was used.

    Args:
        items: Items in it.
        bytes: Bytes that they take.
        hits: Reads that found their item.
        misses: Reads that did not.
        refused: Items that found no room, counted at each attempt.
    """

    items: int = 0
    bytes: int = 0
    hits: int = 0
    misses: int = 0
    refused: int = 0

    @property
    def hit_rate(self) -> float | None:
        """Share of the reads that found their item, `None` without a read.

        Example:
            >>> Counts(hits=3, misses=1).hit_rate
            0.75
        """
        reads = self.hits + self.misses
        return self.hits / reads if reads else None

    def since(self, former: Counts) -> Counts:
        """The same with the reads since an earlier look."""
        hits, misses = self.hits - former.hits, self.misses - former.misses
        return Counts(self.items, self.bytes, hits, misses, self.refused - former.refused)


def stored_bytes(arrays: Arrays) -> int:
    """Bytes that an item takes in an arena.

    Example:
        >>> stored_bytes((np.zeros((2, 2, 3), np.uint8),))
        128
    """
    return _aligned(len(_description(arrays))) + sum(_aligned(array.nbytes) for array in arrays)


class Arena:
    """Shared memory for numbered items. Forked processes share it as it is, others when it is sent to them.

    Args:
        capacity: Bytes for items; memory is taken as they come in.
        slots: How many items there may be.
        folder: For a file, on systems without anonymous memory files.
        anonymous: Use an anonymous memory file where there is one.

    Raises:
        RunFolderError: The system gives no such memory.

    Example:
        >>> arena = Arena(1 << 20, slots=2)
        >>> arena.put(0, b"the picture's key", (np.arange(3),))
        True
        >>> [array.tolist() for array in arena.get(0, b"the picture's key")], arena.get(1, b"another")
        ([[0, 1, 2]], None)
        >>> arena.counts().hit_rate
        0.5
    """

    def __init__(self, capacity: int, *, slots: int, folder: Path | None = None, anonymous: bool = True) -> None:
        start = _whole_pages(_HEADER.size + _ROWS * _ROW_BYTES + slots * _ENTRY_BYTES)
        self._open(MemoryFile(start + _whole_pages(capacity), folder=folder, anonymous=anonymous))
        _HEADER.pack_into(self._control, 0, slots, start, start + capacity, start, 0, 0, 0)
        self.slots, self._start, self._end = slots, start, start + capacity

    def __getstate__(self) -> str:
        return self._file.where

    def __setstate__(self, where: str) -> None:
        self._open(MemoryFile.reopened(where))
        self.slots, self._start, self._end, *_ = _HEADER.unpack_from(self._control)

    def _open(self, file: MemoryFile) -> None:
        self._file = file
        size = os.fstat(file.handle).st_size
        self._control = mmap.mmap(file.handle, size)
        # Items are seen read-only, so that nobody can spoil what others read.
        self._items = mmap.mmap(file.handle, size, prot=mmap.PROT_READ)
        with contextlib.suppress(OSError, AttributeError):
            # Where the system lets memory files have large pages, reading is faster.
            self._items.madvise(mmap.MADV_HUGEPAGE)
        self._parsed: dict[bytes, Sequence[tuple[np.dtype[Any], tuple[int, ...], int]]] = {}
        self._process, self._row, self._threads = 0, 0, threading.Lock()
        self._hits = self._misses = 0
        self._looked_at = 0

    @property
    def capacity(self) -> int:
        """Bytes for items."""
        return self._end - self._start

    @property
    def full(self) -> bool:
        """Whether an item has found no room."""
        *_, refused, shut = _HEADER.unpack_from(self._control)
        return bool(refused or shut)

    def get(self, slot: int, key: bytes) -> Arrays | None:
        """The arrays of an item, read-only and without a copy; `None` when they are not there.

        Args:
            slot: Number of the item.
            key: What was put in must have had the same.
        """
        state, _, place, length, stored = _ENTRY.unpack_from(self._control, self._entry(slot))
        if state != _WHOLE or stored != key[:16].ljust(16, b"\0"):
            self._count(hit=False)
            return None
        described = self._items[place : place + length]
        layout = self._parsed.get(described)
        if layout is None:
            if len(self._parsed) > 4096:
                self._parsed.clear()
            layout = self._parsed[described] = _parse(described)
        self._count(hit=True)
        return tuple(np.ndarray(shape, dtype, self._items, place + offset) for dtype, shape, offset in layout)

    def put(self, slot: int, key: bytes, arrays: Arrays) -> bool:
        """Keep a copy of arrays, unless there is no room; whether they are kept now.

        Args:
            slot: Number of the item.
            key: Says what it is, 16 bytes.
            arrays: Of plain numbers.
        """
        entry, key = self._entry(slot), key[:16].ljust(16, b"\0")
        if self._holds(entry, key):
            return True
        state, writer, *_ = _ENTRY.unpack_from(self._control, entry)
        if self._closed or (state == _WRITING and writer != os.getpid() and _alive(writer)):
            return False
        described, size = _description(arrays), stored_bytes(arrays)
        with self._alone():
            place = self._reserve(entry, key, size)
        if place is None:
            return self._holds(entry, key)
        try:
            self._file.write(memoryview(described), place)
            at = place + _aligned(len(described))
            for array in arrays:
                self._file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, at)
                at += _aligned(array.nbytes)
        except OSError:
            with self._alone():
                self._change(shut=1)
                _ENTRY.pack_into(self._control, entry, _EMPTY, 0, 0, 0, b"")
            return False
        with self._alone():
            _ENTRY.pack_into(self._control, entry, _WRITING, os.getpid(), place, len(described), key)
            self._control[entry : entry + 4] = _WHOLE.to_bytes(4, "little")
            self._change(items=1)
        return True

    def counts(self) -> Counts:
        """What is in it and how it was used, by all processes."""
        _, start, _, filled, items, refused, _ = _HEADER.unpack_from(self._control)
        rows = [_ROW.unpack_from(self._control, _row_at(row)) for row in range(_ROWS)]
        return Counts(items, filled - start, sum(row[1] for row in rows), sum(row[2] for row in rows), refused)

    def close(self) -> None:
        """Give the memory back; arrays that were read must not be used any more."""
        with contextlib.suppress(BufferError):
            self._control.close()
        with contextlib.suppress(BufferError):
            self._items.close()
        self._file.close()

    @property
    def _closed(self) -> bool:
        return bool(_HEADER.unpack_from(self._control)[6])

    def _entry(self, slot: int) -> int:
        if not 0 <= slot < self.slots:
            raise IndexError(f"item {slot} of {self.slots}")
        return _row_at(_ROWS) + slot * _ENTRY_BYTES

    def _holds(self, entry: int, key: bytes) -> bool:
        state, _, _, _, stored = _ENTRY.unpack_from(self._control, entry)
        return bool(state == _WHOLE and stored == key)

    def _reserve(self, entry: int, key: bytes, size: int) -> int | None:
        """Room for an item, or `None`; the caller is alone."""
        state, writer, *_ = _ENTRY.unpack_from(self._control, entry)
        _, _, end, filled, _, _, shut = _HEADER.unpack_from(self._control)
        if self._holds(entry, key) or (state == _WRITING and writer != os.getpid() and _alive(writer)):
            return None
        if shut or filled + size > end:
            self._change(refused=1)
            return None
        if filled - self._looked_at >= _LOOK_EVERY:
            self._looked_at = filled
            free = available_memory()
            if free is not None and free < _LEFT_FREE + size:
                self._change(shut=1)
                return None
        self._change(filled=size)
        _ENTRY.pack_into(self._control, entry, _WRITING, os.getpid(), filled, 0, b"")
        return int(filled)

    def _change(self, *, filled: int = 0, items: int = 0, refused: int = 0, shut: int = 0) -> None:
        slots, start, end, *rest = _HEADER.unpack_from(self._control)
        changed = [old + more for old, more in zip(rest, (filled, items, refused, shut), strict=True)]
        _HEADER.pack_into(self._control, 0, slots, start, end, *changed)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        self._settle()
        with self._threads, locked(self._file.handle):
            yield

    def _count(self, *, hit: bool) -> None:
        if self._process != os.getpid():
            self._settle()
        if hit:
            self._hits += 1
        else:
            self._misses += 1
        if self._row:
            _ROW.pack_into(self._control, _row_at(self._row), self._process, self._hits, self._misses)

    def _settle(self) -> None:
        """After a fork: a row of one's own, and a lock that no thread of the parent holds."""
        if self._process == os.getpid():
            return
        self._process, self._threads, self._row = os.getpid(), threading.Lock(), 0
        with self._threads, locked(self._file.handle):
            for row in range(1, _ROWS):
                pid, hits, misses = _ROW.unpack_from(self._control, _row_at(row))
                if pid and pid != self._process and _alive(pid):
                    continue
                # What an ended process counted goes on counting in the first row.
                _, all_hits, all_misses = _ROW.unpack_from(self._control, _row_at(0))
                _ROW.pack_into(self._control, _row_at(0), 0, all_hits + hits, all_misses + misses)
                _ROW.pack_into(self._control, _row_at(row), self._process, 0, 0)
                self._row = row
                break
        self._hits = self._misses = 0


def _row_at(row: int) -> int:
    return _HEADER.size + row * _ROW_BYTES


def _aligned(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED


def _whole_pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


def _alive(pid: int) -> bool:
    return not Holder(pid, Holder.this_process().host, None, "").certainly_dead


def _description(arrays: Arrays) -> bytes:
    parts = [len(arrays).to_bytes(8, "little")]
    for array in arrays:
        if array.dtype.hasobject or len(array.dtype.str) > 8:
            raise TypeError(f"an array of {array.dtype} cannot be shared, expected plain numbers")
        parts += [_ARRAY.pack(array.dtype.str.encode(), array.ndim), struct.pack(f"<{array.ndim}Q", *array.shape)]
    return b"".join(parts)


def _parse(described: bytes) -> list[tuple[np.dtype[Any], tuple[int, ...], int]]:
    """Type, shape and place of each array, the place counted from the description."""
    layout, at, place = [], 8, _aligned(len(described))
    for _ in range(int.from_bytes(described[:8], "little")):
        name, dimensions = _ARRAY.unpack_from(described, at)
        at += _ARRAY.size
        shape = struct.unpack_from(f"<{dimensions}Q", described, at)
        at += 8 * dimensions
        dtype = np.dtype(name.rstrip(b"\0").decode())
        layout.append((dtype, shape, place))
        place += _aligned(dtype.itemsize * int(np.prod(shape, dtype=np.int64)))
    return layout
