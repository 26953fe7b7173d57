"""The system killed a loader worker, because the machine had no memory left.

What happens
------------
`RuntimeError: DataLoader worker (pid 1620) is killed by signal: Killed.` in the middle of an epoch, often only after
some; or `DataLoader worker (pid(s) 1620) exited unexpectedly` without a traceback of the worker. The kernel's log
holds `Out of memory: Killed process 1620 (python)`.

Why
---
Every worker is a process of its own with its own copy of what the data set holds. Forked workers share the parent's
pages at first, but Python writes reference counts into every object it touches, so that a large list of paths or
annotations is copied page by page into each of them. Decoded images, prefetched batches (`prefetch_factor` times
the workers) and caches in the data set come on top. When the machine or the container is full, the kernel kills the
largest process with SIGKILL, which leaves no traceback.

How to confirm
--------------
`dmesg | grep -i "killed process"`, or in a container `cat /sys/fs/cgroup/memory.events`: `oom_kill` counts up. Watch
`free -h` during an epoch. With `num_workers=0` it runs, or fails with a `MemoryError`. Before a run `snellen check`
adds up the process, its loader processes with the largest image open, and the batches that they keep ready.

Fix
---
Halve `num_workers`; lower `prefetch_factor` or the batch size; keep lists as one NumPy array, tensor or Arrow table
instead of Python objects; do not hold decoded images in the data set; give the job more memory.

When it is something else
-------------------------
`killed by signal: Bus error` is shared memory: see `shm-too-small`. `Segmentation fault` is a crash in native code,
often OpenCV threads in a forked worker (`cv2.setNumThreads(0)`). An exit code instead of a signal belongs to an
exception that was printed before: start with `num_workers=0` to see it. On Windows, workers that exit at once point to
`missing-main-guard`.

Sources
-------
- PyTorch, `DataLoader`, memory of workers: https://docs.pytorch.org/docs/stable/data.html#multi-process-data-loading
- pytorch/pytorch, copy-on-read of forked workers: https://github.com/pytorch/pytorch/issues/13246
- Linux, memory of control groups: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from snellen.core.environment import memory_limit
from snellen.core.facts.memory import HostMemoryFacts
from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level
from snellen.core.log import Log, LogMatch
from snellen.core.logs.memory import readable
from snellen.core.logs.messages import find_message, lost_worker, stated_workers
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, absent

__all__ = ["RULE"]


_KILLED = re.compile(
    r"DataLoader worker \(pid\(?s?\)?[^\n)]{0,200}\) (?:is|was) killed by signal: "
    r"(?:Unknown signal: )?(?:Killed|9\b|SIGKILL)",
    re.IGNORECASE,
)
_KERNEL = re.compile(
    r"Out of memory: Kill(?:ed)? process \d+|oom[-_]kill|Memory cgroup out of memory|OOM Killed", re.IGNORECASE
)
_BUS_ERROR = re.compile(r"bus error|insufficient shared memory", re.IGNORECASE)
_OTHER_SIGNAL = re.compile(
    r"killed by signal: (?!Killed|9\b)|Segmentation fault|freeze_support|_check_not_importing_main"
)


def _examine(log: Log) -> LogMatch | None:
    if log.search(_BUS_ERROR.pattern):
        return None
    killed = find_message(log, _KILLED)
    if killed is not None:
        kernel = log.search(_KERNEL.pattern)
        return _match(log, (killed.evidence, *((kernel.evidence,) if kernel else ())), 0.95)
    lost = lost_worker(log)
    if lost is None or log.search(_OTHER_SIGNAL.pattern):
        return None
    kernel = log.search(_KERNEL.pattern)
    if kernel is not None:
        return _match(log, (lost[0].evidence, kernel.evidence), 0.9)
    # It died without a word; a lack of memory is the commonest reason that leaves none.
    return None if lost[1] else _match(log, (lost[0].evidence,), 0.55)


def _match(log: Log, evidence: tuple[Evidence, ...], score: float) -> LogMatch:
    workers = stated_workers(log)
    told = f", one of {workers}," if workers and workers > 1 else ""
    cause = f"A loader worker{told} was killed from outside: the machine or the container had no memory left for it."
    fewer = f"num_workers={workers // 2}" if workers and workers > 1 else "half as many workers, or num_workers=0"
    fix = Fix(
        f"Try {fewer} and a smaller `prefetch_factor`; keep lists of paths and annotations in one NumPy array instead "
        "of Python objects, and no decoded images in the data set. Else give the job more memory.",
        command="free -h; dmesg | grep -i 'killed process'",
    )
    return LogMatch(score, evidence, cause, fix)


_EVENTS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
_LITTLE, _PLENTY = 16 << 30, 128 << 30


def _probe(_log: Log, _here: Here) -> Answer:
    for name in _EVENTS:
        count = _oom_kills(Path(name))
        if count:
            return Answer(Outcome.CONFIRMED, f"{name} counts {count} processes killed for lack of memory")
    memory = memory_limit()
    if memory is None:
        return Answer(Outcome.CANNOT_TELL, "how much memory this process may use is not known")
    text = f"this process may use {memory / 2**30:.0f} GiB"
    if memory >= _PLENTY:
        return Answer(Outcome.REFUTED, f"{text}, and no kill is counted")
    if memory <= _LITTLE:
        return Answer(Outcome.CONFIRMED, f"{text}: little for several workers")
    return Answer(Outcome.CANNOT_TELL, f"{text}; whether it is enough depends on the data set")


def _oom_kills(path: Path) -> int:
    try:
        found = re.search(r"^oom_kill (\d+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, ValueError):
        return 0
    return int(found[1]) if found else 0


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    facts: HostMemoryFacts = plan.fact("host_memory")
    if facts.limit is None:
        raise NotApplicable("how much main memory the run may use is not known")
    if not facts.workers:
        raise NotApplicable("the training process loads the data itself")
    low, high = facts.need(facts.workers)
    if high <= facts.limit or facts.need(0)[1] > facts.limit:
        return  # it fits, or does not even without them: host-oom
    surely = low > facts.limit
    need = f"at least {readable(low)}" if surely else f"{readable(low)} to {readable(high)}"
    fitting = next(count for count in range(facts.workers - 1, -1, -1) if facts.need(count)[1] <= facts.limit)
    yield Finding(
        "worker-killed",
        Level.ERROR if surely else Level.WARNING,
        f"with {facts.workers} loader processes the run needs {need} of main memory, and there are "
        f"{readable(facts.limit)} ({facts.limit_from})",
        setting_place(plan, "data.workers"),
        (
            Evidence(f"the training process: {readable(facts.process[0])} to {readable(facts.process[1])}"),
            Evidence(f"each loader process: {readable(facts.worker[0])} to {readable(facts.worker[1])}, {facts.what}"),
            Evidence(f"each batch that waits: {readable(facts.batch)}, {facts.prefetched} for every loader process"),
        ),
        Fix(
            f"Write data.workers: {fitting}",
            FixSafety.SAFE,
            "fewer processes load the same batches, more slowly",
            settings=(("data.workers", fitting),),
        ),
    )


RULE = Rule(
    slug="worker-killed",
    family="data",
    title="A loader worker was killed for lack of memory",
    level=Level.ERROR,
    log=LogFacet(("killed by signal", "exited unexpectedly"), _examine, _probe),
    source=absent("how much memory a data set takes only shows when it runs"),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("steps report the memory of the device, not of the machine"),
    module=__name__,
)
