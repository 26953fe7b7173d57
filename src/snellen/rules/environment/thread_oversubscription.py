"""Libraries start more threads, or the run more processes, than the process has cores.

What happens
------------
Training in a container or a cluster job is several times slower than on a laptop, the GPU waits, and all cores show
full load. torch warns `This DataLoader will create 16 worker processes in total. Our suggested max number of worker
in current system is 4`.

Why
---
OpenMP, MKL and OpenCV start one thread for each core that they see. A container's quota of time (`--cpus=4`, a limit
in Kubernetes, a Slurm job without pinned cores) does not hide the cores of the host: 64 threads share 4 cores' worth
of time, and are put to sleep together when it is used up. Each loader worker does the same again. A launcher that
sets `OMP_NUM_THREADS` for another machine has the same effect.

How to confirm
--------------
`nproc` against `cat /sys/fs/cgroup/cpu.max` (quota and period: `400000 100000` are 4 cores).
`python -c "import torch; print(torch.get_num_threads())"`.

Fix
---
`export OMP_NUM_THREADS=4` with the number of cores that the process really has; one worker less than cores.

When it is something else
-------------------------
A loader that is slow with few workers and idle cores reads too little at once: raise `data.workers`. A single core at
full load is Python itself.

Sources
-------
- Linux, limits of processor time: https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu
- PyTorch, threads on the CPU: https://docs.pytorch.org/docs/stable/notes/cpu_threading_torchscript_inference.html
- OpenMP, OMP_NUM_THREADS: https://www.openmp.org/spec-html/5.0/openmpse50.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from snellen.core.facts.machine import MachineFacts
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_TOO_MANY = 2
"""Times the cores: from there on threads mostly wait for each other."""


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    machine: MachineFacts = plan.fact("machine")
    if machine.cpus is None:
        raise NotApplicable(f"the number of cores of {machine.name} is not known")
    if machine.here:
        yield from _threads(machine, plan.fact("environment").variables.get("OMP_NUM_THREADS"))
    data = plan.settings.get("data")
    workers = data.get("workers") if isinstance(data, Mapping) else None
    if isinstance(workers, int) and workers > _TOO_MANY * machine.cpus:
        yield Finding(
            "thread-oversubscription",
            Level.WARNING,
            f"data.workers: {workers}, and {machine.name} has {machine.cpus} cores for this process",
            setting_place(plan, "data.workers"),
            fix=Fix(
                f"Write data.workers: {max(1, machine.cpus - 1)}",
                settings=(("data.workers", max(1, machine.cpus - 1)),),
            ),
        )


def _threads(machine: MachineFacts, given: str | None) -> Iterator[Finding]:
    cores = machine.cpus or 1
    command = f"export OMP_NUM_THREADS={cores}"
    # A list such as `4,2` is for nested regions; the first number counts.
    first = (given or "").partition(",")[0].strip()
    if first and not (first.isdigit() and int(first)):
        message = f"OMP_NUM_THREADS={given} is no number of threads, so OpenMP starts one for each core that it sees"
    elif first and int(first) > _TOO_MANY * cores:
        message = f"OMP_NUM_THREADS={given}, and this process has {cores} cores"
    elif not first and (machine.seen_cpus or 0) > _TOO_MANY * cores:
        message = f"libraries see {machine.seen_cpus} cores and start as many threads; a quota leaves time for {cores}"
    else:
        return
    yield Finding(
        "thread-oversubscription", Level.WARNING, message, fix=Fix(f"`{command}` before the start.", command=command)
    )


RULE = Rule(
    slug="thread-oversubscription",
    family="environment",
    title="More threads are started than the process has cores",
    level=Level.WARNING,
    log=absent("slowness leaves no line that tells its reason"),
    source=absent("the number of cores is no matter of source"),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("a slow step does not tell what it waited for"),
    module=__name__,
)
