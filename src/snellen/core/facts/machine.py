"""The machine that a run is meant for."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MachineFacts"]


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """The machine that a run is meant for.

    Args:
        name: As in `machine:`, or this machine's own.
        here: Whether it is this machine; then the numbers are measured.
        accelerator: `cuda`, `mps` or `cpu`.
        devices: Number of accelerators, 1 for a CPU.
        bf16: Whether it computes bfloat16 in hardware.
        memory_bytes: Memory of one device (for a CPU what the process may use), `None` when unknown.
        cpus: Cores that the process may use, `None` when unknown.
        shared_memory_bytes: Size of `/dev/shm`, `None` when there is none or it is unknown.
        disk_free_bytes: Free space where the run writes, `None` when unknown.
        notes: What could not be found out, and why.
    """

    name: str
    here: bool
    accelerator: str
    devices: int
    bf16: bool
    memory_bytes: int | None = None
    cpus: int | None = None
    shared_memory_bytes: int | None = None
    disk_free_bytes: int | None = None
    notes: tuple[str, ...] = ()
