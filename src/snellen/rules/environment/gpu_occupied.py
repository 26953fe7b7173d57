"""Other processes compute on the GPU already, and hold a part of its memory.

What happens
------------
`CUDA out of memory` at a size that fitted yesterday, or steps that take twice as long and vary. Often it is one's own
last run: a kernel of a notebook that is still open, workers that a crashed launcher left behind.

Why
---
GPUs are shared without limits. What another process holds is missing, and the kernels of both take turns.

How to confirm
--------------
`nvidia-smi` lists the processes and what they hold; in a container the list may be empty although the memory is
taken, because the processes live outside.

Fix
---
End what is left over by its number (`kill PID`), restart notebooks that still hold a model, choose another GPU with
`CUDA_VISIBLE_DEVICES=1`, or wait.

When it is something else
-------------------------
A run that needs more than an empty GPU has is `cuda-oom`. A few hundred megabytes without a process are the driver's.

Sources
-------
- nvidia-smi: https://docs.nvidia.com/deploy/nvidia-smi/index.html
- PyTorch, memory management: https://docs.pytorch.org/docs/stable/notes/cuda.html#memory-management
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.facts.machine import GpuFacts, MachineFacts
from snellen.core.finding import Evidence, Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_MUCH = 0.1
"""Share of the memory that the driver and a desktop never take; an idle card with a screen takes 2 to 5%."""


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    machine: MachineFacts = plan.fact("machine")
    seen = [gpu for gpu in machine.gpus if gpu.visible]
    if not seen:
        why = "has no NVIDIA GPU" if machine.here else "is another machine: its GPU cannot be asked from here"
        raise NotApplicable(f"{machine.name} {why}")
    free = [gpu.index for gpu in seen if not _taken(gpu)]
    for gpu in seen:
        taken = _taken(gpu)
        if not taken:
            continue
        users = ", ".join(f"{one.name} ({one.pid})" for one in gpu.processes[:3])
        who = f"held by {users}" if users else "held by processes that are not seen from here"
        other = f"Take GPU {free[0]}, which is free, or e" if free else "E"
        yield Finding(
            "gpu-occupied",
            Level.WARNING,
            f"GPU {gpu.index} ({gpu.name}): {taken / 2**30:.1f} of {(gpu.memory_bytes or taken) / 2**30:.1f} GiB "
            f"are {who}",
            evidence=tuple(
                Evidence(f"{one.pid} {one.name}: {(one.memory_bytes or 0) >> 20} MiB") for one in gpu.processes
            ),
            fix=Fix(
                f"{other}nd what is left over.",
                command=f"export CUDA_VISIBLE_DEVICES={free[0]}" if free else "nvidia-smi",
            ),
        )


def _taken(gpu: GpuFacts) -> int:
    """Bytes in use, 0 when they are too few to matter."""
    if gpu.mig or gpu.memory_bytes is None or gpu.free_bytes is None:
        return 0
    used = gpu.memory_bytes - gpu.free_bytes
    return used if used > _MUCH * gpu.memory_bytes else 0


RULE = Rule(
    slug="gpu-occupied",
    family="environment",
    title="Other processes use the GPU",
    level=Level.WARNING,
    log=absent("a log shows its own process only; what others hold is told by cuda-oom"),
    source=absent("who else computes there is no matter of source"),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("steps report what this process holds"),
    module=__name__,
)
