"""The cache of decoded samples is asked to hold more than the machine has free.

What happens
------------
A cache without a limit of its own fills until the kernel ends a process: `Killed`, exit code 137, or
`DataLoader worker (pid 42) is killed by signal: Killed`, often an hour into the first epoch. Snellen's own cache takes
less than was asked for instead, and says so at its start; the rest of the samples is decoded again in each epoch.

Why
---
The size was chosen on a larger machine; a container or a job has a limit below the memory of the machine; decoded
images are ten to twenty times larger than their files.

How to confirm
--------------
`free -g`, and in a container `cat /sys/fs/cgroup/memory.max`. Compare with the number of samples times their height
times their width times 3.

Fix
---
Ask for what is free less what the run itself needs, or leave the choice to `data.cache: auto`. Where most samples do
not fit, smaller images (`data.image_size`, or files that were shrunk once) help more than a cache.

When it is something else
-------------------------
A cache that would hold no sample at all is `cache-never-filled`. A run that needs too much memory without its cache is
`host-oom`.

Sources
-------
- Linux, memory of control groups: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory
- Linux, `MemAvailable`: https://docs.kernel.org/filesystems/proc.html#meminfo
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.facts.cache import CacheFacts
from snellen.core.finding import Finding, Fix, FixSafety, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent
from snellen.core.sizes import amount

__all__ = ["RULE"]


def _examine(plan: Plan) -> Iterator[Finding]:
    cache: CacheFacts = plan.fact("cache")
    if cache.asked is None:
        raise NotApplicable("data.cache takes no more than half of the free memory by itself")
    if cache.budget >= cache.asked or not cache.fits:
        return
    yield Finding(
        "cache-larger-than-memory",
        Level.WARNING,
        f"data.cache asks for {amount(cache.asked)}, {amount(cache.free or 0)} are free: it will take "
        f"{amount(cache.budget)}, which hold {cache.fits} of {cache.items} samples",
        setting_place(plan, "data.cache"),
        fix=Fix(
            "Write data.cache: auto, or a size that is there.",
            FixSafety.SAFE,
            "a cache never changes what is learned",
            settings=(("data.cache", "auto"),),
        ),
    )


RULE = Rule(
    slug="cache-larger-than-memory",
    family="data",
    title="The cache is asked to hold more than the machine has",
    level=Level.WARNING,
    log=absent("the kernel's message is that of `host-oom` and `worker-killed`"),
    source=absent("how much memory there will be, source does not tell"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the cache itself stops growing before memory runs out"),
    module=__name__,
)
