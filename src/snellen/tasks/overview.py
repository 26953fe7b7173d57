"""Sentences about a plan for the end of a report: what was looked at, and what the run will take.

Only facts that some check asked for are told; nothing is computed for the sake of the report.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from snellen.check.plan import RunPlan
from snellen.core.facts.data import FolderAudit

__all__ = ["forecast", "looked_at"]


def looked_at(plan: RunPlan) -> tuple[str, ...]:
    """One sentence for each data folder, with the coverage; one for the machine."""
    refused = plan.refused("audit")
    folders = (f"no data: {refused}",) if refused else _folders(plan.answered("audit") or ())
    return (*folders, *_machine(plan))


def _folders(audits: Iterable[FolderAudit]) -> Iterator[str]:
    for audit in audits:
        parts = [audit.coverage()]
        if audit.masks:
            parts.append(f"read {len(audit.masks)} masks")
        if audit.classes:
            parts.append(f"{len(audit.classes)} classes")
        if audit.others:
            others = ", ".join(f"{count} {suffix}" for suffix, count in audit.others[:3])
            parts.append(f"not used: {others}")
        yield f"{audit.key}: {audit.layout}, {len(audit.samples)} samples: {'; '.join(parts)}"


def _machine(plan: RunPlan) -> Iterator[str]:
    machine = plan.answered("machine")
    if machine is not None:
        of = f", {machine.memory_bytes / 2**30:.1f} GiB" if machine.memory_bytes else ""
        where = "this machine" if machine.here else "its published figures"
        yield f"machine {machine.name}: {machine.devices} x {machine.accelerator}{of} ({where})"


def forecast(plan: RunPlan) -> tuple[str, ...]:
    """What the facts `memory` and `duration` say, in their own words."""
    facts = [plan.answered(name) for name in ("memory", "duration")]
    return tuple(fact.sentence() for fact in facts if fact is not None)
