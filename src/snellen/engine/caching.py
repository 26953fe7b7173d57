"""The cache of a run: one memory for the items of all data sets, shared by loader processes and ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from torch.utils.data import DataLoader, Dataset

from snellen.core.control_groups import available_memory
from snellen.core.sizes import amount
from snellen.data.cache.arena import Arena, Counts
from snellen.data.cache.budget import Budget, CacheSettings, settle_budget
from snellen.data.cache.items import CachedDataset, Items, Sizes
from snellen.engine.devices import gather
from snellen.engine.events import EventLog
from snellen.engine.fabric import Fabric
from snellen.engine.progress import FillingProgress
from snellen.errors import DataError, SnellenError

__all__ = ["RunCache"]


class RunCache:
    """The items of some data sets, shared by all processes of this machine.

    Args:
        arena: Where they are kept.
        parts: The items by the name of their data set.
        story: For people: what fits and what does not.
    """

    def __init__(self, arena: Arena, parts: Mapping[str, Items], story: str = "") -> None:
        self.arena, self.parts, self.story = arena, dict(parts), story
        first = 0
        for items in self.parts.values():
            items.share(arena, first=first)
            first += len(items)
        self._former = Counts()

    @classmethod
    def of(
        cls, fabric: Fabric, settings: CacheSettings | None, datasets: Mapping[str, Any], *, folder: Path
    ) -> Self | None:
        """The cache of a run, `None` when it keeps none or its data sets have nothing to keep.

        The first rank of each machine makes it, the others open it.

        Args:
            fabric: Launched.
            settings: How much; `None` for no cache.
            datasets: By name, in the order in which they are let in.
            folder: For a file, on systems without anonymous memory files.

        Raises:
            DataError: It would hold nothing (slug `cache-never-filled`).
            RunFolderError: This system has no memory to share.
        """
        parts = {name: one.items for name, one in datasets.items() if isinstance(one, CachedDataset)}
        if settings is None or not any(len(items) for items in parts.values()):
            return None
        made: tuple[Arena | None, str] | SnellenError = (None, "")
        if fabric.local_rank == 0:
            try:
                made = _make(settings, parts, folder)
            except SnellenError as error:
                made = error
        if fabric.world_size == 1:
            return cls._from(made, parts)
        # An error is raised by all ranks, or the others would wait for ever.
        sent = made if isinstance(made, SnellenError) or made[0] is None else (made[0].__getstate__(), made[1])
        own = next(each for node, local, each in gather(fabric, (fabric.node_rank, fabric.local_rank, sent))
                   if node == fabric.node_rank and local == 0)  # fmt: skip
        if isinstance(made, tuple) and made[0] is None and isinstance(own, tuple) and own[0] is not None:
            opened = Arena.__new__(Arena)
            opened.__setstate__(own[0])
            made = (opened, own[1])
        elif isinstance(own, SnellenError):
            made = own
        return cls._from(made, parts)

    @classmethod
    def _from(cls, made: tuple[Arena | None, str] | SnellenError, parts: Mapping[str, Items]) -> Self | None:
        if isinstance(made, SnellenError):
            raise made
        arena, story = made
        return None if arena is None else cls(arena, parts, story)

    def fill(
        self, fabric: Fabric, events: EventLog, *, workers: int, stopped: Callable[[], bool] = lambda: False
    ) -> None:
        """Read all items once, each rank its share, until nothing fits any more.

        Args:
            fabric: Launched.
            events: Is told of the end.
            workers: Processes that read.
            stopped: Asked now and then; ends the filling.
        """
        share = range(fabric.local_rank, self.arena.slots, _ranks_here(fabric))
        chunks = [share[start : start + 8] for start in range(0, len(share), 8)]
        loader = DataLoader(
            _Filling(list(self.parts.values()), chunks), batch_size=None, num_workers=workers, collate_fn=_as_it_is
        )
        with FillingProgress(len(share), silent=not fabric.is_global_zero) as progress:
            for done in loader:
                progress.advance(done)
                if stopped() or self.arena.full:
                    break
        fabric.barrier()
        held = self.arena.counts()
        events(
            "cache",
            f"the cache holds {held.items} of {self.arena.slots} items, {amount(held.bytes)}",
            items=held.items,
            bytes=held.bytes,
        )
        self._former = self.arena.counts()

    def figures(self) -> dict[str, float | None]:
        """Numbers for a line of the metrics: use since the last call, and what is held."""
        now = self.arena.counts()
        recent, self._former = now.since(self._former), now
        return {"hit_rate": recent.hit_rate, "items": now.items, "mib": round(now.bytes / 2**20, 3)}

    def totals(self) -> dict[str, int]:
        """Use since the run started, for those who watch."""
        now = self.arena.counts()
        return {"hits": now.hits, "misses": now.misses, "items": now.items, "slots": self.arena.slots}

    def close(self) -> None:
        """Give the memory back."""
        for items in self.parts.values():
            items.share(None, first=0)
        self.arena.close()


def _ranks_here(fabric: Fabric) -> int:
    nodes = gather(fabric, fabric.node_rank)
    return nodes.count(fabric.node_rank)


def _make(settings: CacheSettings, parts: Mapping[str, Items], folder: Path) -> tuple[Arena | None, str]:
    sizes = {name: items.sizes() for name, items in parts.items()}
    known = [one for one in sizes.values() if one.measured]
    need = round(sum(one.total for one in known) * 1.05)
    budget = settle_budget(settings.size, need=need, free=available_memory())
    smallest = min((one.smallest for one in known), default=0)
    if not known or budget.bytes < smallest:
        if settings.size is None:
            return None, ""
        what = f"its smallest item takes {amount(smallest)}" if known else "none of its items can be read"
        raise DataError(
            f"the cache would hold nothing: {budget.why}; {what}",
            hint="give data.cache.size more, or write data.cache: false",
            slug="cache-never-filled",
        )
    slots = sum(len(items) for items in parts.values())
    return Arena(budget.bytes, slots=slots, folder=folder), _story(budget, sizes)


def _story(budget: Budget, sizes: Mapping[str, Sizes]) -> str:
    left, parts = float(budget.bytes), []
    for name, one in sizes.items():
        fits = min(one.items, int(left / one.mean)) if one.mean else 0
        left -= fits * one.mean
        about = "" if one.measured == one.items or fits in (0, one.items) else "about "
        parts.append(f"{about}{fits} of {one.items} items of {name} ({amount(one.mean)} each)")
    return f"cache of {budget.why}; fit: {', '.join(parts)}"


class _Filling(Dataset[int]):
    """Chunks of slots to read; what is read is how many were."""

    def __init__(self, parts: Sequence[Items], chunks: Sequence[range]) -> None:
        self._parts, self._chunks = parts, chunks

    def __len__(self) -> int:
        return len(self._chunks)

    def __getitem__(self, index: int) -> int:
        for slot in self._chunks[index]:
            number = slot
            for items in self._parts:
                if number < len(items):
                    _read(items, number)
                    break
                number -= len(items)
        return len(self._chunks[index])


def _read(items: Items, number: int) -> None:
    try:
        items.read(number)
    except SnellenError:
        # Whoever needs the item will say so.
        return


def _as_it_is(value: Any) -> Any:
    return value
