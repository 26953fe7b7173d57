"""The machine: this one as it is, or the one that a run is meant for. Never fatal, and torch only where asked for."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Any

from snellen.config.machines import MACHINES, Machine
from snellen.core.environment import cpu_count, gpus, memory_limit
from snellen.core.facts.machine import MachineFacts
from snellen.core.plan import Plan

__all__ = ["as_machine", "machine_facts", "provide_machine", "provide_precision", "this_machine"]

_BF16_CAPABILITY = (8, 0)


def provide_machine(plan: Plan) -> MachineFacts:
    """The fact `machine`."""
    name = plan.settings.get("machine", "auto")
    output = plan.settings.get("output", "runs")
    folder = plan.root / (output if isinstance(output, str) else "runs")
    return machine_facts(name if isinstance(name, str) else "auto", output=folder)


def machine_facts(name: str = "auto", *, output: Path | None = None) -> MachineFacts:
    """Facts about a machine by name; `auto`, and names that are not known, mean this one.

    Example:
        >>> machine_facts("kaggle-t4").bf16
        False
    """
    machine = MACHINES.get(name)
    if machine is None:
        return this_machine(output=output)
    memory = int(machine.memory_gib * 2**30) if machine.memory_gib is not None else None
    return MachineFacts(
        name, False, machine.accelerator, machine.devices, machine.bf16, memory_bytes=memory, cpus=machine.cpus
    )


def this_machine(*, output: Path | None = None) -> MachineFacts:
    """This machine as the operating system and the NVIDIA driver describe it."""
    found = gpus()
    notes: list[str] = []
    accelerator, memory, bf16, devices = "cpu", memory_limit(), False, 1
    if found:
        accelerator, devices = "cuda", len(found)
        memories = [gpu["memory_bytes"] for gpu in found if gpu["memory_bytes"]]
        memory = min(memories) if memories else None
        bf16 = all(_capability(gpu) >= _BF16_CAPABILITY for gpu in found)
    elif platform.system() == "Darwin" and platform.machine() == "arm64":
        accelerator = "mps"
    else:
        notes.append("no NVIDIA driver answers, so this counts as a machine without accelerator")
    name = found[0]["name"] if found else f"{platform.machine()} {platform.system()}".strip()
    return MachineFacts(
        name=str(name),
        here=True,
        accelerator=accelerator,
        devices=devices,
        bf16=bf16,
        memory_bytes=memory,
        cpus=cpu_count(),
        shared_memory_bytes=_free(Path("/dev/shm"), total=True),  # noqa: S108 - asked for its size only
        disk_free_bytes=_free(output) if output is not None else None,
        notes=tuple(notes),
    )


def as_machine(facts: MachineFacts) -> Machine:
    """The same as the settings' resolver takes it."""
    memory = facts.memory_bytes / 2**30 if facts.memory_bytes else None
    kind: Any = facts.accelerator
    return Machine(facts.name, kind, facts.devices, memory, bf16=facts.bf16, cpus=facts.cpus)


def provide_precision(plan: Plan) -> str:
    """The fact `precision`: what `auto` becomes on the machine that is meant."""
    given = plan.settings.get("precision", "auto")
    if given in {"fp32", "fp16", "bf16"}:
        return str(given)
    machine: MachineFacts = plan.fact("machine")
    if machine.accelerator != "cuda":
        return "fp32"
    return "bf16" if machine.bf16 else "fp16"


def _capability(gpu: dict[str, Any]) -> tuple[int, ...]:
    parts = str(gpu["compute_capability"]).split(".")
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else (0,)


def _free(folder: Path, *, total: bool = False) -> int | None:
    """Free (or total) bytes of the file system that a folder lies, or will lie, in."""
    if total and not folder.exists():
        return None
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        usage = shutil.disk_usage(os.fspath(place))
    except OSError:
        return None
    return usage.total if total else usage.free
