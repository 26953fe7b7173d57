"""cuBLAS or cuDNN cannot start, or finds no room for its workspace.

What happens
------------
`RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)`, or
`CUBLAS_STATUS_NOT_INITIALIZED`, in the first linear layer; `cuDNN error: CUDNN_STATUS_NOT_INITIALIZED` or
`CUDNN_STATUS_ALLOC_FAILED` in the first convolution, `Unable to find a valid cuDNN algorithm to run convolution`.
Nothing is said of memory.

Why
---
The libraries allocate on their own, beside PyTorch's pool: a handle when they are first used, a workspace for each
algorithm. When PyTorch or another process has taken the card up to the brim, they are refused, and report a status of
theirs in place of "out of memory". The same status comes when an earlier kernel has failed (a label out of range) and
every call after it is refused, or when the CUDA libraries in the environment do not belong to this PyTorch.

How to confirm
--------------
`nvidia-smi` while it runs: the card is nearly full. Half the batch gets past the line, or says `CUDA out of memory`
plainly. If a batch of one on a free card fails too, run with `CUDA_LAUNCH_BLOCKING=1`: an assertion that appears then
is the real cause. Before a run `snellen check` predicts what its tensors take, and what the CUDA context and the
workspaces take at least beside them.

Fix
---
Leave room: a smaller batch, other processes off the card, `torch.cuda.set_per_process_memory_fraction(0.9)`. If memory
is not it, one PyTorch installed by pip with its own CUDA libraries, and no `LD_LIBRARY_PATH` to others.

When it is something else
-------------------------
`device-side assert triggered` anywhere above means `label-out-of-range`. `no kernel image is available` or `sm_86 is
not compatible` is `cuda-arch-unsupported`. A plain `CUDA out of memory` is `cuda-oom`.

Sources
-------
- cuBLAS, its status codes: https://docs.nvidia.com/cuda/cublas/index.html#cublasstatus-t
- cuBLAS workspaces in PyTorch: https://docs.pytorch.org/docs/stable/notes/cuda.html#cublas-workspaces
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.environment import gpus
from snellen.core.facts.machine import MachineFacts
from snellen.core.facts.memory import MemoryFacts
from snellen.core.facts.memory_fixes import fix_by_changes, memory_evidence
from snellen.core.finding import Finding, Fix, Level
from snellen.core.log import Log, LogMatch
from snellen.core.logs.memory import readable
from snellen.core.logs.messages import Message, find_message, narrowed
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, absent

__all__ = ["RULE"]

_TRIGGERS = (
    *(
        "_status_alloc",
        "_alloc_failed",
        "_status_not_initialized",
        "cudnn algorithm",
        "_internal_error",
        "convolution algorithms",
    ),
)
_CONTEXT = (
    "assert",
    "illegal memory",
    "compatib",
    "kernel image",
    "cudnn",
    "libcublas",
    "compiled",
    "version",
    "mib",
    "out of memory",
)
_LIBRARIES = r"(?P<library>CUBLAS|CUDNN|CUSOLVER|CUSPARSE|CURAND|CUFFT)"
_ALLOC = re.compile(rf"{_LIBRARIES}_(?:STATUS_)?ALLOC_FAILED")
_START = re.compile(rf"{_LIBRARIES}_STATUS_NOT_INITIALIZED")
_ALGORITHM = re.compile(
    r"Unable to find a valid (?P<library>cuDNN) algorithm|no valid convolution algorithms available in (?P<other>CuDNN)"
    r"|(?P<third>CUDNN)_STATUS_INTERNAL_ERROR(?:_\w*ALLOC\w*)?[^\n]{0,80}(?:alloc|memory)"
    r"|(?P<fourth>CUBLAS)_STATUS_INTERNAL_ERROR when calling `cublasCreate",
    re.IGNORECASE,
)
_INTERNAL = re.compile(r"(?P<library>CUDNN)_STATUS_INTERNAL_ERROR|(?P<other>CUBLAS)_STATUS_INTERNAL_ERROR")
_ASSERTED = re.compile(r"device-side assert|Assertion `[^`\n]{1,120}` failed|illegal memory access", re.IGNORECASE)
_ARCHITECTURE = re.compile(
    r"is not compatible with the current PyTorch|no kernel image|sm_\d\d\b[^\n]{0,40}not compatible"
)
_OTHER_LIBRARY = re.compile(
    r"incompatible cuDNN|cudnn\w*\.so|libcublas|compiled against \(|version (?:mismatch|incompatib)|LD_LIBRARY_PATH",
    re.IGNORECASE,
)
_FULL = re.compile(r"out of memory|(?P<used>\d{4,6})MiB / +(?P<total>\d{4,6})MiB", re.IGNORECASE)


def _examine(log: Log) -> LogMatch | None:
    log = narrowed(log, (*_TRIGGERS, *_CONTEXT))
    for pattern, score in ((_ALLOC, 0.93), (_ALGORITHM, 0.8), (_START, 0.82), (_INTERNAL, 0.55)):
        found = find_message(log, pattern)
        if found is not None:
            return _match(log, found, score)
    return None


def _match(log: Log, found: Message, score: float) -> LogMatch | None:
    if log.search(_ASSERTED.pattern):
        return None
    if log.search(_ARCHITECTURE.pattern) or log.search(_OTHER_LIBRARY.pattern):
        score = min(score, 0.5)
    library = next(part for part in found.match.groups() if part)
    name = {"cublas": "cuBLAS", "cudnn": "cuDNN"}.get(library.lower(), library)
    what = f"{name} could not be set up{found.place}"
    full = next((match for line in log.lines if (match := _FULL.search(line.text))), None)
    if full is not None and full["used"] and int(full["used"]) < 0.7 * int(full["total"]):
        full = None
    evidence = list(found.facts)
    cause = f"{what}: it allocates beside PyTorch, and the device most likely has no memory left for it."
    if full is not None:
        score = max(score, 0.9)
        cause = f"{what}: the device is full, and {name} allocates beside PyTorch."
    fix = Fix(
        "Look at `nvidia-smi` while it runs. Free the card from other processes, halve the batch, or keep some of it "
        "from PyTorch: `torch.cuda.set_per_process_memory_fraction(0.9)`. If a batch of one on a free card fails as "
        "well, run with `CUDA_LAUNCH_BLOCKING=1` to see an earlier error (labels out of range), then reinstall PyTorch "
        "with its own CUDA libraries.",
        command="nvidia-smi",
    )
    return LogMatch(score if found.first else score - 0.1, tuple(evidence), cause, fix)


_START_UP = "import torch; x = torch.zeros(8, 8, device='cuda'); print('WORKS', (x @ x).sum().item())"


def _probe(_log: Log, here: Here) -> Answer:
    cards = [card for card in gpus() if card["memory_bytes"]]
    if not cards:
        return Answer(Outcome.CANNOT_TELL, "no NVIDIA GPU is seen here")
    ran = here.python(_START_UP)
    size = readable(max(card["memory_bytes"] for card in cards))
    if ran.code == 0 and "WORKS" in ran.output:
        return Answer(Outcome.CANNOT_TELL, f"cuBLAS starts here while the card ({size}) is as free as it is now")
    if "CUBLAS_STATUS" in ran.output or "out of memory" in ran.output:
        return Answer(Outcome.CONFIRMED, f"a product of 8 x 8 numbers fails as well on the card here ({size})")
    return Answer(Outcome.CANNOT_TELL, "torch could not use the GPU here")


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    machine: MachineFacts = plan.fact("machine")
    if machine.accelerator != "cuda":
        raise NotApplicable(f"the run computes on {machine.accelerator}")
    facts: MemoryFacts = plan.fact("memory")
    if facts.budget is None:
        raise NotApplicable(f"the memory of {facts.machine} is not known")
    tight = [phase for phase in facts.phases if phase.tensors <= facts.budget < phase.low]
    if not tight or any(phase.tensors > facts.budget for phase in facts.phases):
        return
    phase = max(tight, key=lambda one: one.low)
    left = facts.budget - phase.tensors
    yield Finding(
        "cuda-lib-alloc",
        Level.ERROR,
        f"the tensors of `{phase.phase}` take {readable(phase.tensors)} of {readable(facts.budget)} "
        f"({facts.budget_from}): {readable(left)} are left, and CUDA and cuBLAS need at least "
        f"{readable(facts.context[0])} beside them",
        setting_place(plan, "optim.batch_size"),
        memory_evidence(facts),
        fix_by_changes(facts.changes),
    )


RULE = Rule(
    slug="cuda-lib-alloc",
    family="memory",
    title="cuBLAS or cuDNN has no memory to start",
    level=Level.ERROR,
    log=LogFacet(_TRIGGERS, _examine, _probe),
    source=absent("how full the device is does not show in the code"),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("the library raises before the step ends"),
    module=__name__,
)
