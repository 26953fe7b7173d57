"""Names that were seen, at some ten bytes each, so that a million images can be remembered."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["NameSet"]

_FRESH: Final = 4096
"""Keys that wait to be sorted in."""


class NameSet:
    """A set of names, of which 64 bits of a hash are kept.

    Of a hundred million names, two share a key with a chance of 1 in 3,700; of a million, 1 in 37 million.

    Example:
        >>> seen = NameSet()
        >>> seen.add("a.png"), seen.add("a.png"), "a.png" in seen, "b.png" in seen, len(seen)
        (True, False, True, False, 1)
    """

    def __init__(self) -> None:
        self._fresh: set[int] = set()
        # Sorted; each at most half as long as the one before, so that a key is moved a few times only.
        self._sorted: list[npt.NDArray[np.uint64]] = []

    def __len__(self) -> int:
        return len(self._fresh) + sum(map(len, self._sorted))

    def __contains__(self, name: str) -> bool:
        return self._has(_key(name))

    def add(self, name: str) -> bool:
        """Add a name; whether it was new."""
        key = _key(name)
        if self._has(key):
            return False
        self._fresh.add(key)
        if len(self._fresh) >= _FRESH:
            keys = np.fromiter(self._fresh, np.uint64, len(self._fresh))
            self._fresh = set()
            while self._sorted and len(self._sorted[-1]) < 2 * len(keys):
                keys = np.concatenate([self._sorted.pop(), keys])
            keys.sort()
            self._sorted.append(keys)
        return True

    def _has(self, key: int) -> bool:
        if key in self._fresh:
            return True
        wanted = np.uint64(key)
        for keys in self._sorted:
            place = int(np.searchsorted(keys, wanted))
            if place < len(keys) and keys[place] == wanted:
                return True
        return False


def _key(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")
