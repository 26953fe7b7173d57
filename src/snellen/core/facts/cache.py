"""What a run's cache of decoded samples would hold."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CacheFacts"]


@dataclass(frozen=True, slots=True)
class CacheFacts:
    """What `data.cache` would hold.

    Args:
        asked: Bytes that the run file asks for, `None` for as much as is sensible.
        budget: Bytes that it would get.
        why: Where that number comes from.
        free: Free memory inside the tightest limit, `None` when unknown.
        items: Samples to keep.
        mean: Mean bytes of one, decoded.
        smallest: Bytes of the smallest.
        largest: Bytes of the largest.
        folders: Data folders they lie in, by key.
    """

    asked: int | None
    budget: int
    why: str
    free: int | None
    items: int
    mean: float
    smallest: int
    largest: int
    folders: tuple[str, ...] = ()

    @property
    def fits(self) -> int:
        """How many of the items find room.

        Example:
            >>> CacheFacts(1000, 1000, "", None, items=8, mean=300.0, smallest=200, largest=400).fits
            3
        """
        if not self.items or self.budget < self.smallest:
            return 0
        return min(self.items, max(1, int(self.budget / self.mean)))
