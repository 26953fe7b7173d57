"""Loader workers hand their batches over in shared memory, and there is too little of it.

What happens
------------
`ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).`, then
`RuntimeError: DataLoader worker (pid 42) is killed by signal: Bus error.` Or, where the write is refused instead:
`RuntimeError: unable to write to file </torch_42_...>: No space left on device (28)`. It comes with larger batches,
larger images or more workers, and goes with `num_workers=0`.

Why
---
A worker writes its finished batch into `/dev/shm` and passes a handle to the training process. Every worker keeps
`prefetch_factor` batches (2) ready. A container gets 64 MB of `/dev/shm` unless it is told otherwise, whatever the
memory of the machine: 4 workers with 2 batches of 32 float32 images of 3 x 224 x 224 need 147 MB.

How to confirm
--------------
`df -h /dev/shm` inside the container: 64M is the default. Watch it while the loader runs. With `num_workers=0` the
error is gone.

Fix
---
Start the container with `--shm-size=8g`, or with `--ipc=host`; in docker compose `shm_size: 8gb`; in Kubernetes
mount an `emptyDir` of `medium: Memory` at `/dev/shm`. Where that is not allowed: fewer workers, a smaller
`prefetch_factor`, smaller batches, or uint8 images that are converted on the GPU.

When it is something else
-------------------------
`killed by signal: Killed` is a lack of memory, not of shared memory: see `worker-killed`. `Too many open files` in
place of `No space left on device` is `too-many-open-files`. A bus error can also come from a memory-mapped data file
that was cut short while it was read.

Sources
-------
- PyTorch, `DataLoader`, shared memory: https://docs.pytorch.org/docs/stable/data.html
- PyTorch README, docker image and `--ipc=host`: https://github.com/pytorch/pytorch#docker-image
- docker run, `--shm-size`: https://docs.docker.com/reference/cli/docker/container/run/
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from snellen.core.facts.data import FolderAudit
from snellen.core.facts.machine import MachineFacts
from snellen.core.finding import Finding, Fix, FixSafety, Level
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import find_message, lost_worker, stated_workers
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, absent

__all__ = ["RULE"]


_BUS_ERROR = re.compile(
    r"Unexpected bus error encountered in worker|is killed by signal: Bus error"
    r"|insufficient shared memory \(shm\)|workers are out of shared memory",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"(?:torch_\d|torch_shm|/dev/shm|shared memory|shm_open|posix_fallocate|<filename not specified>)[^\n]{0,200}"
    r"(?:No space left on device|\(28\))|No space left on device[^\n]{0,20}/dev/shm"
    r"|Error while creating shared memory segment[^\n]{0,80}nccl",
    re.IGNORECASE,
)
_STRETCHED = re.compile(
    r"unable to (?:write to|resize|stretch|allocate)[^\n<]{0,40}<?/?torch_\d+_\d+|could not allocate shared memory",
    re.IGNORECASE,
)
_NO_SPACE = re.compile(r"\[Errno 28\] No space left on device", re.IGNORECASE)
_SEMAPHORE = re.compile(r"multiprocessing[\\/](?:heap|synchronize|context|queues|shared_memory)\.py")


def _examine(log: Log) -> LogMatch | None:
    for pattern, score in ((_BUS_ERROR, 0.96), (_REFUSED, 0.98), (_STRETCHED, 0.7)):
        found = find_message(log, pattern)
        if found is not None:
            return _match(log, found.facts, score)
    full = find_message(log, _NO_SPACE)
    if full is not None and full.error and any(_SEMAPHORE.search(frame.path) for frame in full.error.frames):
        return _match(log, full.facts, 0.85)
    lost = lost_worker(log)
    if lost is None or not lost[1] or log.search(r"is killed by signal|WinError|\b[A-Z]:\\"):
        return None
    # Without a word of how it died; in a container the default 64 MB of shared memory are the usual reason.
    return _match(log, (lost[0].evidence,), 0.55)


def _match(log: Log, evidence: tuple[Any, ...], score: float) -> LogMatch:
    workers = stated_workers(log)
    many = f"{workers} workers" if workers else "The workers"
    cause = f"{many} keep finished batches in shared memory (/dev/shm), and it is full."
    fewer = f"num_workers={max(1, workers // 2)}" if workers and workers > 1 else "num_workers=0"
    fix = Fix(
        "Give the container more: `docker run --shm-size=8g` (or `--ipc=host`), in compose `shm_size: 8gb`. "
        f"Where that is not allowed, try {fewer} or smaller batches.",
        command="df -h /dev/shm",
    )
    return LogMatch(score, evidence, cause, fix)


_LITTLE, _PLENTY = 1 << 30, 8 << 30


def _probe(_log: Log, _here: Here) -> Answer:
    try:
        found = os.statvfs("/dev/shm")  # noqa: S108 - asked for its size only
    except (AttributeError, OSError):
        return Answer(Outcome.CANNOT_TELL, "there is no /dev/shm here")
    total, free = found.f_frsize * found.f_blocks, found.f_frsize * found.f_bavail
    text = f"the shared memory here holds {_size(total)}, {_size(free)} free"
    if total < _LITTLE:
        return Answer(Outcome.CONFIRMED, f"{text}: little for loader workers")
    if free >= _PLENTY:
        return Answer(Outcome.REFUTED, text)
    return Answer(Outcome.CANNOT_TELL, f"{text}: whether it is enough depends on the batches")


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= _LITTLE else f"{count / 2**20:.0f} MiB"


_PREFETCHED = 2
_MOST_WORKERS = 8
_BYTES = 4 * 3
"""A pixel of a float32 image."""


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    machine: MachineFacts = plan.fact("machine")
    if machine.shared_memory_bytes is None:
        raise NotApplicable(f"the size of /dev/shm on {machine.name} is not known")
    if not plan.settings:
        yield from _without_run(machine.shared_memory_bytes)
        return
    data, optim = _section(plan.settings, "data"), _section(plan.settings, "optim")
    workers = data.get("workers", "auto")
    if not isinstance(workers, int):
        workers = min(_MOST_WORKERS, max(0, (machine.cpus or 1) - 1))
    sides = _sides(plan, data)
    batch = optim.get("batch_size", 8)
    if not workers or sides is None or not isinstance(batch, int):
        raise NotApplicable("no batch passes through shared memory" if not workers else "the image size is not known")
    devices = machine.devices if machine.accelerator == "cuda" else 1
    need = workers * devices * _PREFETCHED * batch * sides[0] * sides[1] * _BYTES
    if need <= machine.shared_memory_bytes:
        return
    fits = int(machine.shared_memory_bytes // (need / workers))
    yield Finding(
        "shm-too-small",
        # No error: the loaders of a run use memory without a name, which /dev/shm does not bound, where there is any.
        Level.WARNING,
        f"{workers} workers keep {_PREFETCHED} batches of {batch} images of {sides[0]} x {sides[1]} each ready: "
        f"{_size(need)}, but /dev/shm holds {_size(machine.shared_memory_bytes)}; loaders of your own die when it is "
        "full, those of a run only where the system gives no memory without a name",
        setting_place(plan, "data.workers"),
        fix=Fix(
            f"Start the container with --shm-size={-(-need // 2**30) + 1}g or --ipc=host; or write data.workers: "
            f"{fits}",
            FixSafety.SAFE,
            "fewer workers load the same batches, more slowly",
            settings=(("data.workers", fits),),
        ),
    )


_OF_A_CONTAINER = 64 << 20
"""What docker gives without a word; a run of four workers with usual batches needs 147 MB."""


def _without_run(size: int) -> Iterator[Finding]:
    if size <= 4 * _OF_A_CONTAINER:
        yield Finding(
            "shm-too-small",
            Level.WARNING,
            f"the shared memory /dev/shm holds {_size(size)}: loader workers hand their batches over in it, "
            "and die when it is full",
            fix=Fix(
                "Start the container with --ipc=host or --shm-size=8g, or write data.workers: 0.",
                command="docker run --shm-size=8g ...",
            ),
        )


def _section(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = settings.get(name)
    return section if isinstance(section, Mapping) else {}


def _sides(plan: Plan, data: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width that the batches have: as set, else of the largest image."""
    size = data.get("image_size")
    if isinstance(size, int):
        return size, size
    if isinstance(size, (list, tuple)) and len(size) == 2 and all(isinstance(side, int) for side in size):
        return size[0], size[1]
    audits: Sequence[FolderAudit] = plan.fact("audit")
    found = [image.upright_size for audit in audits for image in audit.images.values() if not image.problem]
    return (max(side[0] for side in found), max(side[1] for side in found)) if found else None


RULE = Rule(
    slug="shm-too-small",
    family="data",
    title="Loader workers run out of shared memory",
    level=Level.ERROR,
    log=LogFacet(
        ("bus error", "shared memory", "no space left", "exited unexpectedly", "torch_", "nccl"), _examine, _probe
    ),
    source=absent("the size of /dev/shm is set where the container is started"),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("the worker dies before its batch reaches a step"),
    module=__name__,
)
