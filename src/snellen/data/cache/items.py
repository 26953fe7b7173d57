"""The items of a data set: read from files once, then from the memory that all processes of a run share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from snellen.data.cache.arena import Arena, Arrays, stored_bytes
from snellen.errors import SnellenError

__all__ = ["CachedDataset", "Items", "Sizes"]

_MEASURED: Final = 32
"""Items that are decoded to learn how large they are; in a set of many sizes that is good for about a tenth."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the items of a data set take in memory.

    Args:
        items: How many there are.
        mean: Mean bytes of those that were measured.
        smallest: Of them.
        largest: Of them.
        measured: How many were.
    """

    items: int
    mean: float
    smallest: int
    largest: int
    measured: int

    @property
    def total(self) -> int:
        """Bytes of all, as far as the measured ones tell."""
        return round(self.mean * self.items)


class Items:
    """Items by number; the arrays that are read must not be changed.

    An item is found again by what it is: the names, sizes and times of its files, and how they were turned into arrays.
    A file that changes is read anew.

    Args:
        files: Of each item.
        load: Reads an item.
        how: Says what `load` makes of the files: whatever changes its result.

    Example:
        >>> import numpy as np
        >>> items = Items([[]] * 3, lambda number: (np.full(2, number),), how="doctest")
        >>> arena = Arena(1 << 16, slots=3)
        >>> items.share(arena, first=0)
        >>> [items.read(2)[0].tolist() for _ in range(2)], arena.counts().hit_rate
        ([[2, 2], [2, 2]], 0.5)
    """

    def __init__(self, files: Sequence[Sequence[str | Path]], load: Callable[[int], Arrays], *, how: str) -> None:
        self._files, self._load, self._how = files, load, how
        self._arena: Arena | None = None
        self._first = 0
        self._keys, self._known = bytearray(16 * len(files)), bytearray(len(files))

    def __len__(self) -> int:
        return len(self._files)

    def share(self, arena: Arena | None, *, first: int) -> None:
        """Keep what is read in an arena from here on, from slot `first`; in none with `None`."""
        self._arena, self._first = arena, first

    def read(self, number: int) -> Arrays:
        """The arrays of an item; read-only.

        Raises:
            SnellenError: It cannot be read.
        """
        if self._arena is None:
            return _fixed(self._load(number))
        key = self._key(number)
        found = self._arena.get(self._first + number, key)
        if found is not None:
            return found
        arrays = self._load(number)
        self._arena.put(self._first + number, key, arrays)
        return _fixed(arrays)

    def sizes(self) -> Sizes:
        """How much memory they take, by some of them, evenly spread; those that cannot be read are passed over."""
        count = min(len(self), _MEASURED)
        found = []
        for step in range(count):
            try:
                found.append(stored_bytes(self._load(step * len(self) // count)))
            except SnellenError:
                continue
        if not found:
            return Sizes(len(self), 0.0, 0, 0, 0)
        return Sizes(len(self), sum(found) / len(found), min(found), max(found), len(found))

    def _key(self, number: int) -> bytes:
        place = slice(16 * number, 16 * number + 16)
        if not self._known[number]:
            # Asked once in each process: on a network drive, asking takes as long as reading.
            self._keys[place], self._known[number] = _key(self._files[number], self._how), 1
        return bytes(self._keys[place])


@runtime_checkable
class CachedDataset(Protocol):
    """A data set that reads its samples from items, which the engine then lets all processes share."""

    @property
    def items(self) -> Items:
        """What its samples are made of."""
        ...


def _key(files: Sequence[str | Path], how: str) -> bytes:
    digest = hashlib.blake2b(how.encode(), digest_size=16)
    for path in files:
        try:
            found = os.stat(path)  # noqa: PTH116 - a million of them
            digest.update(f"\0{path}\0{found.st_size}\0{found.st_mtime_ns}".encode(errors="surrogateescape"))
        except OSError:
            digest.update(f"\0{path}\0gone".encode(errors="surrogateescape"))
    return digest.digest()


def _fixed(arrays: Arrays) -> Arrays:
    for array in arrays:
        array.flags.writeable = False
    return arrays
