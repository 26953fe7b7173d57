"""Processes on several GPUs lost each other: a collective operation hung, or NCCL failed.

What happens
------------
All output stops, and after ten or thirty minutes comes `Watchdog caught collective operation timeout: WorkNCCL(SeqNum=
4711, OpType=ALLREDUCE, ..., Timeout(ms)=600000)`. Or it ends at once with `NCCL error in: ...ProcessGroupNCCL.cpp,
unhandled system error`, `unhandled cuda error`, `ncclInternalError`, or at the start with `1/2 clients joined`.

Why
---
A collective operation waits until every process has come to it. One that does not come stops all of them: it is dead
(memory, an exception of its own), it is busy (validating or saving on rank 0 only, a slow download), it has fewer
batches, or it went another way through the code (`if loss.isnan(): continue`, unused parameters). The timeout is what
the survivors report; the cause is in the rank that did not come. A failure at once is about the machine: too little
shared memory in a container, a wrong network interface, two processes on one GPU, GPUs that cannot reach each other.

How to confirm
--------------
Look for the first traceback of any rank in the log: that one is the cause. Then `NCCL_DEBUG=INFO` for the machine's
reasons, `TORCH_DISTRIBUTED_DEBUG=DETAIL` for differing collectives, `py-spy dump --pid` for where the silent rank is.

Fix
---
Let every rank take part in every collective: the same number of batches (`drop_last=True`), no `continue` or `return`
on one rank alone, evaluation on all ranks or with a barrier that waits long enough
(`init_process_group(timeout=timedelta(hours=2))`). Containers: `--ipc=host` or `--shm-size=8g`. One GPU a process:
`torch.cuda.set_device(local_rank)` before the group is made. Several machines: `NCCL_SOCKET_IFNAME`.

When it is something else
-------------------------
`Expected to have finished reduction in the prior iteration` is `ddp-unused-parameters`. `Error while creating shared
memory segment /dev/shm/nccl-...` is `shm-too-small`. A rank that was killed (`exitcode: -9`) ran out of memory:
`host-oom`. `Duplicate GPU detected` is `invalid-device-ordinal`, a port that is taken `address-in-use`. The warning
that `destroy_process_group()` was not called is no failure.

Sources
-------
- torch.distributed, debugging: https://docs.pytorch.org/docs/stable/distributed.html#debugging-torch-distributed-applications
- NCCL, troubleshooting: https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.finding import Evidence, Finding, Fix, Level
from snellen.core.log import Log, LoggedException, LogLine, LogMatch
from snellen.core.logs.messages import narrowed
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, absent

__all__ = ["RULE"]

_WATCHDOG = re.compile(
    r"(?:\[rank ?(?P<rank>\d+)\].{0,40})?watchdog caught collective operation timeout: "
    r"worknccl\(seqnum=(?P<number>\d+), "
    r"optype=(?P<operation>\w+)(?:.{0,80}?timeout\(ms\)=(?P<limit>\d+)\))?",
    re.IGNORECASE,
)
_SYSTEM = re.compile(r"unhandled system error|ncclsystemerror", re.IGNORECASE)
_CUDA = re.compile(r"nccl\b.{0,160}unhandled cuda error|ncclunhandledcudaerror", re.IGNORECASE)
_SAME_GPU = re.compile(r"duplicate gpu detected|rank \d+ and rank \d+ both on cuda device", re.IGNORECASE)
_USAGE = re.compile(
    r"nccl\b.{0,160}\b(?:invalid usage|invalid argument)|nccl(?:invalidusage|invalidargument)", re.IGNORECASE
)
_INTERNAL = re.compile(r"nccl\b.{0,160}\binternal error|ncclinternalerror", re.IGNORECASE)
_REMOTE = re.compile(r"ncclremoteerror|remote process exited or there was a network error", re.IGNORECASE)
_JOIN = re.compile(
    r"(?<!\d)(?P<joined>\d{1,9})/(?P<world>\d{1,9}) clients joined|client socket has (?:timed out|failed)"
    r"|connect\(\) timed out\. original"
    r"|timed out initializing process group.{0,120}?world_size=(?P<all>\d+), worker_count=(?P<here>\d+)",
    re.IGNORECASE,
)
_STORE = re.compile(
    r"some nccl operations have failed or timed out|nccl communicator was aborted|watchdog thread terminated with exc"
    r"|retrieving ncclUniqueId|wait timeout after \d+ms|heartbeat monitor timed out|nccl error:? remote"
    r"|runtimeerror: (?:socket timeout|nccl error)|detected mismatch between collectives"
    r"|watchdog got stuck for|dump signal due to a collective timeout|failure detected by watchdog"
    r"|failed to pass monitoredbarrier|timeout waiting for key: \S{1,60} after \d+ ms|detected by watchdog at "
    r"work|timeout at nccl work|c10d::processgroupnccl::\w+::checktimeout|gloo/transport.{0,80}(?:timed out "
    r"waiting|connection (?:closed|reset) by peer)",
    re.IGNORECASE,
)
_KINDS = (
    (_SAME_GPU, 0.9),
    (_WATCHDOG, 0.95),
    (_SYSTEM, 0.95),
    (_CUDA, 0.88),
    (_USAGE, 0.85),
    (_INTERNAL, 0.9),
    (_REMOTE, 0.85),
    (_JOIN, 0.85),
    (_STORE, 0.85),
)
_TRIGGERS = (
    *("nccl error", "nccl operations", "nccl communicator", "nccl watchdog", "nccl work", "processgroupnccl"),
    *("ncclsystem", "ncclinternal", "ncclunhandled", "ncclinvalid", "ncclremote", "ncclunique"),
    *("duplicate gpu", "watchdog", "clients joined", "client socket", "connect() timed out", "process group"),
    *("socket timeout", "wait timeout after", "monitoredbarrier", "waiting for key", "gloo/transport"),
    *("unhandled system error", "between collectives", "heartbeat"),
)
_FOLLOWS = re.compile(
    r"nccl|processgroup|distbackenderror|distnetworkerror|diststoreerror|tcpstore|collective|childfailed|signalexception"
    r"|processraised|processexited|keyboardinterrupt|connection (?:reset|closed|refused)|broken pipe|socket|watchdog"
    r"|gloo|systemexit|calledprocesserror|process group|rendezvous|non-zero exit|terminated with",
    re.IGNORECASE,
)
_KILLED = re.compile(r"signal 9 \(sigkill\)|exitcode\s{0,3}: -9\b|exit code:? -9\b|\bkilled\b", re.IGNORECASE)
_WARNED = re.compile(r"NCCL WARN (?P<what>.{1,200})")


_ONE_GPU_EACH = (
    "Start no more processes than there are GPUs, and call `torch.cuda.set_device(local_rank)` in each, with "
    '`local_rank = int(os.environ["LOCAL_RANK"])`, before `init_process_group`; check `CUDA_VISIBLE_DEVICES`.'
)
_LOST = (
    "The processes of the group lost each other.",
    (
        "Find the rank whose output ends first: its last lines are the cause. With `NCCL_DEBUG=INFO` and "
        "`TORCH_DISTRIBUTED_DEBUG=DETAIL` the log says which collective it missed."
    ),
)
_TOLD = {
    _SYSTEM: (
        "A system call of NCCL failed: shared memory or a socket between the processes.",
        (
            "In a container start with `--ipc=host` (or `--shm-size=8g`); look at `df -h /dev/shm`. If that is large, "
            "run with `NCCL_DEBUG=INFO`: its last WARN line names the call. On several interfaces set "
            "`NCCL_SOCKET_IFNAME=eth0` (the one that `ip addr` shows for this network)."
        ),
    ),
    _SAME_GPU: ("Two processes use the same GPU.", _ONE_GPU_EACH),
    _USAGE: ("NCCL was called in a way that it refuses, often with two processes on one GPU.", _ONE_GPU_EACH),
    _CUDA: (
        "A CUDA call inside of NCCL failed.",
        (
            "Read `NCCL_DEBUG=INFO` for the call. Usual reasons: memory of the GPU is full, all processes on GPU 0 "
            "(`torch.cuda.set_device(local_rank)`), a driver older than NCCL's CUDA, GPUs that cannot reach each other "
            "(try `NCCL_P2P_DISABLE=1`)."
        ),
    ),
    _REMOTE: (
        "Another process of the group is gone.",
        "Find the rank that ended first and read its output (`torchrun --log-dir logs --tee 3`); this one followed.",
    ),
}


def _examine(log: Log) -> LogMatch | None:
    log, whole = narrowed(log, _TRIGGERS), log
    found = [(pattern, score, line) for pattern, score in _KINDS if (line := _line(log, pattern)) is not None]
    if not found:
        return None
    pattern, score, line = found[0]
    first = min(other.number for _, _, other in found)
    other = next((error for error in log.exceptions if _is_cause(error)), None)
    if other is not None and (other.start or other.line) <= first:
        # Another rank's exception came first: the others only noticed that it was gone.
        return None
    killed = whole.search(_KILLED.pattern)
    if other is not None or (killed is not None and pattern is not _SYSTEM):
        score = 0.55
    warned = next(whole.find(_WARNED.pattern), None)
    evidence = [line.evidence, *((warned.evidence,) if warned and warned.number != line.number else ())]
    cause, fix = _explanation(whole, pattern, line)
    if _segment(whole):
        score = min(score, 0.85)
    return LogMatch(score, tuple(evidence), cause, Fix(fix))


def _line(log: Log, pattern: re.Pattern[str]) -> LogLine | None:
    return next(log.find(pattern.pattern), None)


def _is_cause(error: LoggedException) -> bool:
    known = any(pattern.search(error.text) for pattern, _ in _KINDS)
    return not error.follows and not known and not _FOLLOWS.search(error.text)


def _explanation(log: Log, pattern: re.Pattern[str], line: LogLine) -> tuple[str, str]:
    if pattern is _WATCHDOG:
        return _hung(log)
    cause, fix = _not_all_came(line) if pattern is _JOIN else _TOLD.get(pattern, _LOST)
    return ("NCCL could not make its buffers in shared memory." if _segment(log) else cause), fix


def _segment(log: Log) -> bool:
    """Whether the log names shared memory itself, of which `shm-too-small` knows more."""
    return log.search(r"shared memory segment|/dev/shm/nccl") is not None


def _hung(log: Log) -> tuple[str, str]:
    found = [match for line in log.lines if (match := _WATCHDOG.search(line.text))]
    ranks = sorted({int(match["rank"]) for match in found if match["rank"]})
    numbers, operations = {match["number"] for match in found}, sorted({match["operation"].upper() for match in found})
    seconds = next((f" {int(match['limit']) // 1000} s" for match in found if match["limit"]), "")
    silent = [rank for rank in range(max(ranks, default=0) + 1) if rank not in ranks]
    who = f"Rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}" if ranks else "A process"
    cause = f"{who} waited{seconds} in {' / '.join(operations) or 'a collective'} for one that did not come."
    if len(numbers) > 1 or len(operations) > 1:
        fix = (
            "The ranks wait in different collectives: one took another way through the code, or has fewer batches. "
            "Make the number of steps equal (`drop_last=True`, `DistributedSampler`), and no `continue` on one rank "
            "alone."
        )
    elif ranks and silent:
        fix = (
            f"Rank{'s' if len(silent) > 1 else ''} {', '.join(map(str, silent[:8]))} did not report: read the end of "
            "that output, and see what it alone does (validation, saving, a download)."
        )
    else:
        fix = (
            "See what one rank alone does at that point (validation or saving on rank 0, a slow or last batch, an "
            "early `continue`); `TORCH_DISTRIBUTED_DEBUG=DETAIL` and `py-spy dump` on the silent process tell."
        )
    return cause, f"{fix} If a rank is only slow: `init_process_group(..., timeout=timedelta(hours=2))`."


def _not_all_came(line: LogLine) -> tuple[str, str]:
    match = _JOIN.search(line.text)
    joined = (match["joined"] or match["here"]) if match else None
    world = (match["world"] or match["all"]) if match else None
    count = f"{joined} of {world} processes" if joined else "not all processes"
    return (
        f"Only {count} came together." if joined else "A process could not reach the one that all meet at.",
        (
            "Start as many processes as the world size says (nnodes x nproc_per_node), all with the same "
            "`--master_addr` and `--master_port`, an address that every machine reaches (not 127.0.0.1 with several "
            "machines), and let the firewall pass it."
        ),
    )


def _probe(log: Log, here: Here) -> Answer:
    if _line(log, _SYSTEM) is None:
        return Answer(Outcome.CANNOT_TELL, "which process stayed away shows only the run itself")
    ran = here.command("df", "-k", _SHARED)
    found = re.search(r"^\S+\s+(?P<size>\d+)\s+\d+\s+(?P<free>\d+)\s", ran.output, re.MULTILINE)
    if ran.code != 0 or found is None:
        return Answer(Outcome.CANNOT_TELL, "the size of /dev/shm cannot be read here")
    size, free = int(found["size"]) // 1024, int(found["free"]) // 1024
    text = f"{_SHARED} has {size} MiB, {free} MiB free"
    if size <= _SMALL >> 20 or free < 32:
        return Answer(Outcome.CONFIRMED, f"{text}: too little for the buffers between the processes")
    return Answer(Outcome.CANNOT_TELL, f"{text}, which is enough: look at the network and at NCCL_DEBUG=INFO")


_SHARED = "/dev/shm"  # noqa: S108 - asked for its size only
_SMALL = 64 << 20
"""What a container gets when nothing is said."""


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    machine = plan.fact("machine")
    if machine.accelerator != "cuda" or machine.devices < 2:
        raise NotApplicable("the run uses one device")
    if machine.shared_memory_bytes is None:
        raise NotApplicable("the size of /dev/shm is not known")
    if machine.shared_memory_bytes <= _SMALL:
        size = machine.shared_memory_bytes >> 20
        yield Finding(
            "nccl-timeout",
            Level.WARNING,
            f"{_SHARED} of {machine.name} has {size} MiB, from which NCCL takes its buffers between {machine.devices} "
            f"GPUs",
            setting_place(plan, "machine"),
            (Evidence(f"{machine.devices} GPUs, {size} MiB of shared memory"),),
            Fix("Start the container with --ipc=host or --shm-size=8g."),
        )


RULE = Rule(
    slug="nccl-timeout",
    family="autograd",
    title="Processes on several GPUs wait for one that does not come",
    level=Level.ERROR,
    log=LogFacet(_TRIGGERS, _examine, _probe),
    source=absent("which process stays away depends on data and machines, not on the text"),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("a process that hangs shows no step to anyone"),
    module=__name__,
)
