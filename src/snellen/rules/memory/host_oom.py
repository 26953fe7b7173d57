"""Main memory runs out: an array cannot be made, or the system kills the process.

What happens
------------
`MemoryError`, `numpy._core._exceptions._ArrayMemoryError: Unable to allocate 28.0 GiB for an array with shape (50000,
224, 224, 3) and data type float32`, `DefaultCPUAllocator: can't allocate memory: you tried to allocate 132426121216
bytes`. Or no traceback at all: the shell prints `Killed`, the container ends with exit code 137, torchrun reports
`exitcode: -9`.

Why
---
A whole data set is read into one array or list; float64 takes eight times the room of the uint8 that the images were;
every loader worker, or every rank, holds a copy. When the machine, or the container's limit, is reached, Linux chooses
a process and kills it with signal 9, which no program can catch: that is why there is no traceback.

How to confirm
--------------
`free -h` and `docker stats` while it runs. After a kill `dmesg | grep -i "killed process"` names it and its size; in a
container `cat /sys/fs/cgroup/memory.events` counts `oom_kill`. Before a run `snellen check` adds up what its process
takes without any loader process: libraries, the step itself where it runs on a CPU, batches that wait, a checkpoint
that is being written.

Fix
---
Read images in `__getitem__`, not in `__init__`; keep paths, not pixels. Keep uint8 until the batch is made. Larger
arrays as `np.memmap` or in pieces. Fewer loader workers and a smaller `prefetch_factor`. Else a larger machine or a
higher limit.

When it is something else
-------------------------
A loader worker that is killed is `worker-killed`. `CUDA out of memory` is the GPU: `cuda-oom`. A size that no data can
have (an image of 176,351 x 176,460 pixels) is a mistake in a coordinate or a shape, not a lack of memory. Signal 9 can
also come from a person, a time limit of the cluster, or a launcher that ends the other ranks after one has failed.

Sources
-------
- Linux, out of memory handling: https://docs.kernel.org/admin-guide/mm/concepts.html#oom-killer
- The limit of a container: https://docs.docker.com/engine/containers/resource_constraints/
- `numpy.memmap`: https://numpy.org/doc/stable/reference/generated/numpy.memmap.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from snellen.core.environment import memory_limit
from snellen.core.facts.memory import HostMemoryFacts
from snellen.core.finding import Evidence, Finding, Fix, Level
from snellen.core.log import Log, LoggedException, LogMatch
from snellen.core.logs.memory import bytes_of, readable
from snellen.core.logs.messages import Message, find_message, narrowed, numbers, stated_workers
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, absent

__all__ = ["RULE"]

_TRIGGERS = (
    *("memoryerror", "unable to allocate", "cpuallocator", "cannot allocate memory", "bad_alloc"),
    *(
        "killed",
        "oom-kill",
        "oom kill",
        "oom_kill",
        "code 137",
        "status 137",
        "signal 9",
        "exitcode",
        "sigkill",
    ),
    *("out of memory", "memory limit", "insufficient mem", "low on memory", "1455", "\u5df2\u6740\u6b7b"),
    *("paging file", "failed to allocate", "more memory than", "available ram", "have died", "out_of_memory"),
    *("returned code", "return code", "exit code", "detected 1 oom"),
)
_CONTEXT = (
    "workers",
    "np.",
    "numpy.",
    "cv2.",
    "nccl",
    "watchdog",
    "time limit",
    "cancel",
    "interrupt",
    "preempt",
    "timed",
    "sigsegv",
    "segm",
)
_ARRAY = re.compile(
    r"Unable to allocate (?:array with shape \((?P<old>[\d, ]{1,120})\) and data type (?P<oldtype>[\w<>|]{1,20})"
    r"|(?P<size>[\d.,]{1,14} ?(?:[KMGTPE]i?B|bytes)) for an array with shape \((?P<shape>[\d, ]{1,120})\)"
    r" and data type (?P<dtype>[\w<>|]{1,20}))"
)
_TORCH = re.compile(
    r"(?:DefaultCPUAllocator|CPUAllocator)[^\n]{0,60}: (?:can't allocate memory|not enough memory): "
    r"you tried to allocate (?P<bytes>\d{1,22}) bytes"
)
_REFUSED = re.compile(
    r"\[Errno 12\] Cannot allocate memory|Cannot allocate memory \(12\)|std::bad_alloc|\(-4:Insufficient memory\)"
    r"|\[WinError 1455\]|paging file is too small|Failed to allocate \d{6,20} bytes",
    re.IGNORECASE,
)
_KERNEL = re.compile(
    r"oom[-_]kill(?!er disabled)|Out of memory: Kill(?:ed)? process|Memory cgroup out of memory|OOM ?[-_]?Killed\b"
    r"|exceeded (?:job |its |the )?memory limit|OUT_OF_MEMORY|running low on memory|Detected \d+ oom",
    re.IGNORECASE,
)
_KILLED = re.compile(
    r"^\s*(?:\S{0,60}: line \d{1,6}:\s{0,4}\d{1,8} )?(?:zsh: )?[Kk]illed(?:: 9)?(?:\s{2,60}\S[^\n]{0,300})?$"
    r"|^\[\d+\]\s{1,4}\d+ killed\s|\u5df2\u6740\u6b7b|exit(?:ed with)?[ _]?(?:code|status)[ :=]{0,3}137\b"
    r"|signal 9\b|SIGKILL|exit ?code\s{0,3}:?\s{0,3}-9\b|return(?:ed)?[ _]?code[ :=]{0,3}-9\b"
)
_NOTEBOOK = re.compile(
    r"tried to allocate more memory than is available|crashed after using all available RAM"
    r"|The kernel appears to have died",
    re.IGNORECASE,
)
_WORKER = re.compile(r"DataLoader worker \(pid")
_NOT_MEMORY = re.compile(
    r"NCCL|watchdog|TIME LIMIT|CANCELLED|Keyboard ?Interrupt|scancel|preempt|timed? ?out|SIGSEGV|Segmentation fault",
    re.IGNORECASE,
)
_MAKES_ROOM = re.compile(
    r"\b(?:np|numpy|cv2)\.(?:pad|linspace|arange|copyMakeBorder|repeat|tile|bincount|mgrid|meshgrid)\("
)
_GIB = 2**30
_ABSURD = 2**44
"""No machine that people train on has so much: 16 TiB."""
_LARGEST_SIDE = 65_500
"""No picture that a codec reads is wider."""
_BYTES = {"float64": 8, "int64": 8, "complex128": 16, "float32": 4, "int32": 4, "float16": 2, "uint8": 1, "bool": 1}


def _examine(log: Log) -> LogMatch | None:
    if log.search(_WORKER.pattern):
        return None
    log = narrowed(log, (*_TRIGGERS, *_CONTEXT))
    looks: tuple[Callable[[Log], LogMatch | None], ...] = (
        _by_array,
        _by_torch,
        _by_error,
        _by_refusal,
        _by_kernel,
        _by_kill,
    )
    if _is_absurd(log):
        return None
    return next((match for look in looks if (match := look(log)) is not None), None)


def _is_absurd(log: Log) -> bool:
    """Whether so much was asked for that a shape or a coordinate must be wrong."""
    found = find_message(log, _ARRAY)
    if found is not None:
        size, shape = _asked(found)
        sides = [side for side in shape if side > 4]
        picture = len(sides) == 2 and min(sides) > _LARGEST_SIDE and sides[0] != sides[1]
        code = found.code or "\n".join(line.text for line in log.lines[-40:])
        return size >= _ABSURD or picture or (size >= 8 * _GIB and _MAKES_ROOM.search(code) is not None)
    found = find_message(log, _TORCH)
    return found is not None and int(found.match["bytes"]) >= _ABSURD


def _asked(found: Message) -> tuple[int, tuple[int, ...]]:
    shape = numbers(found.match["shape"] or found.match["old"] or "")
    dtype = found.match["dtype"] or found.match["oldtype"] or ""
    stated = bytes_of(found.match["size"]) if found.match["size"] else None
    return stated or math.prod(shape) * _BYTES.get(dtype, 1), shape


def _by_array(log: Log) -> LogMatch | None:
    found = find_message(log, _ARRAY)
    if found is None:
        return None
    size, shape = _asked(found)
    dtype = found.match["dtype"] or found.match["oldtype"]
    cause = (
        f"An array of {' x '.join(map(str, shape))} {dtype}, {readable(size)}, does not fit main memory{found.place}."
    )
    smaller = _BYTES.get(dtype, 0)
    advice = ""
    if smaller == 8:
        advice = f"As float32 it takes {readable(size / 2)}, as uint8 {readable(size / 8)}. "
    elif smaller == 4:
        advice = f"As float16 it takes {readable(size / 2)}, as uint8 {readable(size / 4)}. "
    if size < _GIB // 2:
        advice += "It is small: the rest is taken already, by what was read before or by other workers. "
    return LogMatch(0.92, found.facts, cause, Fix(f"{advice}{_general(log)}"))


def _by_torch(log: Log) -> LogMatch | None:
    found = find_message(log, _TORCH)
    if found is None:
        return None
    size = readable(int(found.match["bytes"]))
    cause = f"A tensor of {size} does not fit main memory{found.place}."
    return LogMatch(0.92, found.facts, cause, Fix(f"Lower the batch or the image size. {_general(log)}"))


def _by_error(log: Log) -> LogMatch | None:
    for position, error in enumerate(log.exceptions):
        if error.name in ("MemoryError", "_ArrayMemoryError") and not error.follows:
            return _of_memory_error(log, error, 0.88 if position == 0 else 0.7)
    line = log.search(r"^\s*(?:\w+\.)*MemoryError\s*:?\s*$") if not log.exceptions else None
    cause = "Python could not get the memory that it asked for."
    return LogMatch(0.8, (line.evidence,), cause, Fix(_general(log))) if line is not None else None


def _of_memory_error(log: Log, error: LoggedException, score: float) -> LogMatch:
    frame = error.user_frame
    evidence: tuple[Evidence, ...] = (error.evidence, *((frame.evidence,) if frame else ()))
    where = f" in {frame.path}:{frame.line}: `{frame.code}`" if frame and frame.code else ""
    whole = frame is not None and re.search(
        r"\[.{1,200} for .{1,200} in |np\.(?:array|stack|concatenate)\(", frame.code
    )
    cause = f"Python could not get the memory that it asked for{where}."
    first = (
        "That line holds all images at once: read them one by one in the data set's `__getitem__`. " if whole else ""
    )
    return LogMatch(score, evidence, cause, Fix(f"{first}{_general(log)}"))


def _by_refusal(log: Log) -> LogMatch | None:
    found = find_message(log, _REFUSED)
    if found is None:
        return None
    if "1455" in found.match[0] or "paging" in found.match[0].lower():
        cause = "Windows could not reserve memory for another process that loads the CUDA libraries."
        workers = stated_workers(log)
        fewer = f"num_workers={max(1, workers // 2)}" if workers else "fewer loader workers"
        return LogMatch(0.9, found.facts, cause, Fix(f"Use {fewer}, or enlarge the paging file."))
    return LogMatch(0.8, found.facts, f"The system refused memory{found.place}.", Fix(_general(log)))


def _by_kernel(log: Log) -> LogMatch | None:
    found = find_message(log, _KERNEL)
    if found is None or "CUDA" in found.evidence.text:
        return None
    cause = "The system killed the process because memory ran out, that of the machine or of its job or container."
    return LogMatch(0.93, found.facts, cause, Fix(_general(log), command="dmesg | grep -i 'killed process'"))


def _by_kill(log: Log) -> LogMatch | None:
    notebook = log.search(_NOTEBOOK.pattern)
    if notebook is not None:
        sure = "died" not in notebook.text
        cause = "The notebook's kernel was ended because the memory ran out."
        return LogMatch(0.9 if sure else 0.6, (notebook.evidence,), cause, Fix(_general(log)))
    own = [error for error in log.exceptions if not error.follows and not _KILLED.search(error.text)]
    line = next((line for line in log.lines if _KILLED.search(line.text)), None)
    if line is None or own or log.search(_NOT_MEMORY.pattern):
        return None
    cause = "The process was killed from outside, without a traceback: mostly because main memory ran out."
    fix = Fix(f"See whether it was: `dmesg | grep -i 'killed process'`. {_general(log)}", command="free -h")
    return LogMatch(0.78, (line.evidence,), cause, fix)


def _general(log: Log) -> str:
    workers = stated_workers(log)
    fewer = f"`num_workers={max(1, workers // 2)}`" if workers and workers > 1 else "fewer loader workers"
    return (
        "Keep paths instead of pixels and read each image in `__getitem__`; `np.memmap` for what is larger; "
        f"{fewer} and a smaller `prefetch_factor`. Else a larger machine, or a higher limit of the container or job."
    )


_LOOKS: tuple[Callable[[Log], LogMatch | None], ...] = (
    _by_array,
    _by_torch,
    _by_error,
    _by_refusal,
    _by_kernel,
    _by_kill,
)
_EVENTS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


def _probe(log: Log, _here: Here) -> Answer:
    for name in _EVENTS:
        try:
            found = re.search(r"^oom_kill (\d+)", Path(name).read_text(encoding="utf-8"), re.MULTILINE)
        except (OSError, ValueError):
            continue
        if found and int(found[1]):
            return Answer(Outcome.CONFIRMED, f"{name} counts {found[1]} processes killed for lack of memory")
    memory = memory_limit()
    if memory is None:
        return Answer(Outcome.CANNOT_TELL, "how much memory this process may use is not known")
    text = f"this process may use {readable(memory)}"
    message = find_message(log, _ARRAY)
    needed = _asked(message)[0] if message is not None else None
    message = find_message(log, _TORCH)
    needed = int(message.match["bytes"]) if message is not None else needed
    if needed is None:
        return Answer(Outcome.CANNOT_TELL, f"{text}; the log does not say how much was asked for")
    if needed > memory:
        return Answer(Outcome.CONFIRMED, f"{text}, and {readable(needed)} were asked for at once")
    if needed < memory // 8:
        return Answer(Outcome.REFUTED, f"{text}, and {readable(needed)} would fit")
    return Answer(Outcome.CANNOT_TELL, f"{text}; {readable(needed)} were asked for, on top of what was there")


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    facts: HostMemoryFacts = plan.fact("host_memory")
    if facts.limit is None:
        raise NotApplicable("how much main memory the run may use is not known")
    low, high = facts.need(0)
    if high <= facts.limit:
        return
    surely = low > facts.limit
    need = f"at least {readable(low)}" if surely else f"{readable(low)} to {readable(high)}"
    yield Finding(
        "host-oom",
        Level.ERROR if surely else Level.WARNING,
        f"the training process alone needs {need} of main memory, and there are {readable(facts.limit)} "
        f"({facts.limit_from})",
        setting_place(plan, "optim.batch_size"),
        (
            Evidence(f"the process and its step: {readable(facts.process[0])} to {readable(facts.process[1])}"),
            Evidence(f"a batch that waits: {readable(facts.batch)}, {facts.what}"),
            Evidence(f"a checkpoint that is being written: {readable(facts.saving)}"),
        ),
        Fix("Take a smaller batch or smaller images, end other programs, or raise the limit of the container."),
    )


RULE = Rule(
    slug="host-oom",
    family="memory",
    title="Main memory runs out",
    level=Level.ERROR,
    log=LogFacet(_TRIGGERS, _examine, _probe),
    source=absent("whether a data set fits memory depends on its size, not on the code"),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("steps report the memory of the device, not of the machine"),
    module=__name__,
)
