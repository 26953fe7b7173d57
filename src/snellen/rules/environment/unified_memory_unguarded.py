"""The GPU shares the memory of its host, and nothing keeps a run from taking all of it.

What happens
------------
On a DGX Spark (GB10) or a Jetson a model that is too large does not stop with `CUDA out of memory`. The machine
answers ever more slowly, ssh hangs, and after minutes it has to be switched off. `nvidia-smi` shows `N/A` or `Not
Supported` for the memory.

Why
---
Host and GPU have one memory. CUDA gives out what the system has, until the system swaps its own programs out. What a
run may take is what the host has left (`MemAvailable`), not the number on the box, and it shrinks with every program.

How to confirm
--------------
`free -h`: the column `available` is the budget. `nvidia-smi --query-gpu=memory.total --format=csv` answers `[N/A]`.

Fix
---
Start the run inside a limit, so that it is ended instead of the machine: `systemd-run --user --scope -p
MemoryMax=100G snellen train RUN.yaml`, or `docker run --memory=100g`. In code
`torch.cuda.set_per_process_memory_fraction(0.8)`. Close what else uses memory; switch swap off for the run, so that
it fails early.

When it is something else
-------------------------
On a GPU with memory of its own it is `cuda-oom`; a process that the system kills is `host-oom`.

Sources
-------
- NVIDIA, DGX Spark, known issues: https://docs.nvidia.com/dgx/dgx-spark/known-issues.html
- CUDA for Tegra, one memory: https://docs.nvidia.com/cuda/cuda-for-tegra-appnote/
- systemd, limits of memory: https://www.freedesktop.org/software/systemd/man/latest/systemd.resource-control.html
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.facts.machine import MachineFacts
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_SHARE = 0.9
"""Of what is available; the rest is for the system itself."""


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    machine: MachineFacts = plan.fact("machine")
    if not machine.unified or machine.accelerator != "cuda":
        raise NotApplicable(f"{machine.name} has memory of its own for its devices, or is kept in bounds by its system")
    if not machine.here or machine.host_available_bytes is None or machine.host_total_bytes is None:
        raise NotApplicable(f"what is free on {machine.name} is not known")
    available, total = machine.host_available_bytes, machine.host_total_bytes
    if machine.memory_limited_by:
        return
    limit = int(available * _SHARE) >> 30
    yield Finding(
        "unified-memory-unguarded",
        Level.WARNING if available < total / 2 else Level.NOTE,
        f"{machine.name} shares {total / 2**30:.0f} GiB with its host, {available / 2**30:.0f} GiB are available, "
        "and no limit is set: a run that takes more hangs the machine",
        fix=Fix(
            "Start it inside a limit, so that the run is ended and not the machine.",
            command=f"systemd-run --user --scope -p MemoryMax={limit}G snellen train RUN.yaml",
        ),
    )


RULE = Rule(
    slug="unified-memory-unguarded",
    family="environment",
    title="Nothing keeps a run from taking all memory of a machine that shares it with its GPU",
    level=Level.NOTE,
    log=absent("a machine that hangs writes no log"),
    source=absent("the memory of a machine is no matter of source"),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("steps report the memory of the device, which such a machine does not have"),
    module=__name__,
)
