"""How many bytes a cache may have: what was asked for, bounded by what the machine and its control groups leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from snellen.core.sizes import amount
from snellen.errors import UsageError

__all__ = ["Budget", "CacheSettings", "settle_budget"]

_SHARE: Final = 0.5
"""Of the free memory, for a cache whose size nobody chose: workers, batches and other programs need some, too."""
_RESERVE: Final = 1 << 29
_RESERVE_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes of a cache.

    Args:
        bytes: What it may take.
        why: Where the number comes from.
        asked: What was asked for, `None` for as much as is sensible.
    """

    bytes: int
    why: str
    asked: int | None = None


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """How much of the data is kept decoded in memory.

    Args:
        size: Bytes on each machine, `None` for as much as is sensible.
        ahead: Fill it before training, not as items are first read.
    """

    size: int | None = None
    ahead: bool = False

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise UsageError(
                f"a cache of {self.size} bytes holds nothing", hint="write data.cache: false, or give it a size"
            )


def settle_budget(asked: int | None, *, need: int | None, free: int | None) -> Budget:
    """The budget of a cache.

    Args:
        asked: Bytes, `None` for as much as is sensible.
        need: Bytes of all items, where they are known: more is never taken.
        free: Free memory inside the tightest limit, `None` when unknown.

    Example:
        >>> settle_budget(None, need=100 * 2**20, free=2**30).bytes == 100 * 2**20
        True
        >>> settle_budget(8 * 2**30, need=None, free=4 * 2**30).why
        '3.5 GiB of the 8.0 GiB asked for: 4.0 GiB are free, and the run itself needs some'
    """
    if asked is None:
        most = 1 << 30 if free is None else int(free * _SHARE)
        if need is not None and need <= most:
            return Budget(need, f"{amount(need)}, all there is to keep")
        why = "free memory is not known" if free is None else f"half of the {amount(free)} that are free"
        return Budget(most, f"{amount(most)}, {why}")
    most = asked if free is None else max(0, free - max(_RESERVE, int(free * _RESERVE_SHARE)))
    if asked > most:
        why = f"{amount(free or 0)} are free, and the run itself needs some"
        return Budget(most, f"{amount(most)} of the {amount(asked)} asked for: {why}", asked)
    return Budget(asked, f"{amount(asked)} as asked for", asked)
