"""Machines that a run may be meant for, as far as a check before the run needs to know them.

Sources: the makers' data sheets; memory as the driver reports it (GPU) or as the maker states it (unified memory).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

__all__ = ["MACHINES", "Machine"]


@dataclass(frozen=True, slots=True)
class Machine:
    """What a run can count on.

    Args:
        name: As in `machine:` of a run file.
        accelerator: The kind of device that trains.
        devices: How many of them.
        memory_gib: Memory of one device (of the whole machine for a CPU), GiB; `None` when unknown.
        bf16: Whether it computes bfloat16 in hardware.
        cpus: Processor cores, `None` when unknown.
    """

    name: str
    accelerator: Literal["cuda", "mps", "cpu"]
    devices: int
    memory_gib: float | None
    bf16: bool
    cpus: int | None = None


MACHINES: Final[Mapping[str, Machine]] = MappingProxyType(
    {
        machine.name: machine
        for machine in (
            Machine("kaggle-t4", "cuda", 2, 14.7, bf16=False, cpus=4),
            Machine("kaggle-p100", "cuda", 1, 15.9, bf16=False, cpus=4),
            Machine("colab-t4", "cuda", 1, 14.7, bf16=False, cpus=2),
            Machine("l4", "cuda", 1, 22.0, bf16=True),
            Machine("a100-40gb", "cuda", 1, 39.4, bf16=True),
            Machine("a100-80gb", "cuda", 1, 79.1, bf16=True),
            Machine("h100", "cuda", 1, 79.1, bf16=True),
            Machine("h200", "cuda", 1, 139.8, bf16=True),
            Machine("dgx-spark", "cuda", 1, 119.2, bf16=True, cpus=20),
        )
    }
)
"""Known machines by name."""
