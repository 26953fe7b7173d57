"""What the cache of a run would hold: the decoded sizes of its images against what it may take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from snellen.core.facts.cache import CacheFacts
from snellen.core.facts.data import FolderAudit
from snellen.core.facts.machine import MachineFacts
from snellen.core.plan import FactUnavailable, NotApplicable, Plan
from snellen.core.sizes import parse_size

__all__ = ["asked_bytes", "cache_facts", "provide_cache"]

_SPLITS = ("data.train", "data.val")


def provide_cache(plan: Plan) -> CacheFacts:
    """The fact `cache`, for data sets that keep whole images and masks: three bytes a pixel, one for a mask."""
    asked = asked_bytes(plan)
    audits: Sequence[FolderAudit] = plan.fact("audit")
    sizes: list[int] = []
    folders = [audit for audit in audits if audit.key in _SPLITS]
    for audit in folders:
        for sample in audit.samples:
            image = audit.images.get(sample.image)
            if image is not None and image.height and not image.problem:
                partner = audit.images.get(sample.partner) if sample.partner else None
                masks = [audit.masks[mask] for mask in sample.masks if mask in audit.masks]
                pixels = 3 * image.height * image.width + sum(mask.height * mask.width for mask in masks)
                sizes.append(pixels + (3 * partner.height * partner.width if partner is not None else 0))
    return cache_facts(plan, asked, sizes, [audit.key for audit in folders])


def asked_bytes(plan: Plan) -> int | None:
    """Bytes that `data.cache` asks for, `None` for as much as is sensible.

    Raises:
        NotApplicable: The run keeps no cache.
        FactUnavailable: The setting is not sound; the check of the run file says so.
    """
    section = plan.settings.get("data")
    cache = section.get("cache", "auto") if isinstance(section, Mapping) else "auto"
    if cache is False:
        raise NotApplicable("data.cache is false: the run keeps none")
    if cache == "auto" or (isinstance(cache, Mapping) and cache.get("size") is None):
        return None
    size: Any = cache.get("size") if isinstance(cache, Mapping) else None
    if not isinstance(size, str):
        raise FactUnavailable("data.cache has a size without a unit")
    try:
        return parse_size(size)
    except ValueError as error:
        raise FactUnavailable(f"data.cache: {error}") from error


def cache_facts(plan: Plan, asked: int | None, sizes: Sequence[int], folders: Sequence[str]) -> CacheFacts:
    """The fact for items of these sizes on the machine of a plan."""
    from snellen.data.cache.budget import settle_budget  # noqa: PLC0415 - the data part only when asked for

    machine: MachineFacts = plan.fact("machine")
    free = machine.host_available_bytes if machine.here else machine.host_memory_bytes
    budget = settle_budget(asked, need=sum(sizes), free=free)
    mean = sum(sizes) / len(sizes) if sizes else 0.0
    return CacheFacts(
        asked, budget.bytes, budget.why, free, len(sizes), mean, min(sizes, default=0), max(sizes, default=0),
        tuple(folders),
    )  # fmt: skip
