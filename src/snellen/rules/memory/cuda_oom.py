"""The GPU has no memory left for the next tensor.

What happens
------------
`torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.77 GiB of
which 1.12 GiB is free. ... 13.10 GiB is allocated by PyTorch, and 1.05 GiB is reserved by PyTorch but unallocated.`
Older versions: `CUDA out of memory. Tried to allocate 1.71 GiB (GPU 0; 31.72 GiB total capacity; 23.52 GiB already
allocated; 1.58 GiB free; 29.08 GiB reserved in total by PyTorch)`. The numbers tell which of several causes it is.

Why
---
Training keeps every activation until the backward pass: batch times resolution. Weights, gradients and Adam's two
averages come on top, sixteen bytes for each float32 parameter. Beside that: another process on the same card; memory
that PyTorch has reserved in pieces too small for the request; one tensor that is too large for any card, mostly because
all positions are compared with all others; a validation loop that builds graphs; a leak.

How to confirm
--------------
`snellen estimate RUN.yaml` says what each phase of a run needs, before it runs. `nvidia-smi` shows who else is on the
card. `torch.cuda.memory_summary()` before the failing line shows what is
allocated. If batch size 1 fails too, it is not the batch.

Before a run `snellen check` goes through its steps on tensors without numbers (training, validation, saving, prediction
on the largest image), plays PyTorch's allocator through on paper, and adds the CUDA context. It is an error when even
the least that is needed is more than there is, a warning when only the most is.

Fix
---
Smaller batches with gradient accumulation for the same effective size, smaller crops, bfloat16 autocast, gradient
checkpointing, `torch.no_grad()` for everything that is not trained. Against fragmentation
`PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True`.

When it is something else
-------------------------
Memory that grows over many steps is `memory-leak`. An unfold that is not needed is `unfold-blowup`. A cuBLAS or cuDNN
status is `cuda-lib-alloc`. `Killed` without a traceback is main memory: `host-oom`.

Sources
-------
- CUDA memory management: https://docs.pytorch.org/docs/stable/notes/cuda.html#memory-management
- PyTorch FAQ: https://docs.pytorch.org/docs/stable/notes/faq.html
- Chen et al., Training deep nets with sublinear memory cost, 2016 (gradient checkpointing): https://arxiv.org/abs/1604.06174
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from snellen.core.environment import gpus
from snellen.core.facts.machine import MachineFacts
from snellen.core.facts.memory import MemoryFacts
from snellen.core.facts.memory_fixes import fix_by_changes, memory_evidence
from snellen.core.finding import Finding, Fix, Level
from snellen.core.log import Frame, Log, LogMatch
from snellen.core.logs.device_memory import DeviceMemory, read_device_memory
from snellen.core.logs.memory import growing_memory, readable
from snellen.core.logs.messages import Message, find_message
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, absent

__all__ = ["RULE"]

_SAID = re.compile(
    r"(?:CUDA|HIP|XPU|NPU|MPS backend|GPU) out of memory"
    r"|CUDA error: out of memory|cuda runtime error ?\(2\) ?: out of memory|CUDA_ERROR_OUT_OF_MEMORY"
    r"|cudaErrorMemoryAllocation"
    r"|OutOfMemoryError: Allocation on device|exceed allowed memory\. \(out of memory\)"
    r"|Tried to allocate [\d.,]{1,12} ?[KMGT]i?B[^\n]{0,40}GPU \d{1,2};"
    r"|OOM when allocating tensor with shape",
)
_HANDLED = re.compile(
    r"AutoBatch|trying batch size|retrying|Attempting to copy inputs|reduc\w+ batch[ _-]?size"
    r"|batch size (?:too|finder)",
    re.IGNORECASE,
)
_BATCH = re.compile(
    r"\b(?:train_?)?(?:batch[_ -]?size|samples_per_gpu|ims_per_batch|per_device_train_batch_size|bs|batch)"
    r"['\"]?\s{0,3}[=:]\s{0,3}(?P<n>\d{1,5})\b",
    re.IGNORECASE,
)
_GPU = re.compile(r"GPU (?P<index>\d{1,2})\b")
_EVALUATES = re.compile(r"^_?(?:val(?:id(?:at(?:e|ion))?)?|test|eval(?:uate|uation)?|predict|infer\w*)(?:_|$)")
_NO_GRAD = re.compile(
    r"lightning|transformers[\\/]trainer|ultralytics|no_grad|inference_mode|grad_mode\.py|_contextlib\.py"
)
_UNFOLDS = re.compile(r"\bunfold\(|\bim2col\(", re.IGNORECASE)
_ALL_PAIRS = re.compile(
    r"matmul|bmm|einsum|softmax|cdist|@|attn|attention|corr|interpolate|upsample|grid_sample|repeat|expand"
)
_FIRST_TOUCH = re.compile(r"torch\.load|\.cuda\(|\.to\(|_cuda_init|_lazy_init|set_device|empty_cache|manual_seed")
_OPTIONS = (("expandable_segments", "expandable_segments:True"), ("max_split_size_mb", "max_split_size_mb:128"))
"""What the message itself proposes, which this version of PyTorch therefore knows."""
_GIB = 2**30


def _examine(log: Log) -> LogMatch | None:
    found = find_message(log, _SAID)
    if found is None or (found.error is None and log.search(_HANDLED.pattern)):
        return None
    numbers = read_device_memory(_text(log, found))
    cause, fix = _diagnose(_Case(log, found, numbers))
    score = 0.95 if found.first else 0.85
    evidence = list(found.facts)
    if any(_UNFOLDS.search(frame.code) for frame in _frames(found)):
        score = 0.8
    grown = growing_memory(log)
    if grown is not None:
        score, cause = 0.75, f"{cause} Before that, `{grown.name}` grew from report to report."
        evidence.append(grown.lines[-1].evidence)
    return LogMatch(score, tuple(evidence), cause, fix)


def _text(log: Log, found: Message) -> str:
    place = found.evidence.location
    start = place.line or 0 if place is not None else 0
    return " ".join(line.text for line in log.lines if start <= line.number < start + 8)


def _frames(found: Message) -> tuple[Frame, ...]:
    return found.error.frames if found.error is not None else ()


# -- what the numbers say ----------------------------------------------------------------------------------------------

_Answer: TypeAlias = "tuple[str, Fix] | None"


@dataclass(frozen=True, slots=True)
class _Case:
    """The failure as the log tells it."""

    log: Log
    found: Message
    n: DeviceMemory

    @property
    def asked(self) -> str:
        what = f"asks for {readable(self.n.tried)}" if self.n.tried else "asks for more than there is"
        return f"{what}{self.found.place}"

    @property
    def code(self) -> str:
        return "\n".join(frame.code for frame in _frames(self.found))


def _diagnose(case: _Case) -> tuple[str, Fix]:
    for look in (_too_large, _shared, _nothing_yet, _fragmented, _lent, _one_tensor, _evaluation, _loading):
        answer = look(case)
        if answer is not None:
            return answer
    n = case.n
    room = f"; {readable(n.allocated)} of {readable(n.capacity)} are in use" if n.allocated and n.capacity else ""
    return f"The step {case.asked}{room}.", Fix(_smaller(case))


def _too_large(case: _Case) -> _Answer:
    tried, capacity = case.n.tried, case.n.capacity
    if not tried or not capacity or tried <= 0.9 * capacity:
        return None
    cause = f"One tensor of {readable(tried)} is wanted{case.found.place}, and the whole card has {readable(capacity)}."
    return cause, Fix(_single(case))


def _shared(case: _Case) -> _Answer:
    n, held = case.n, case.n.outside or 0
    if not n.capacity or not n.tried or n.free is None:
        return None
    if n.free >= n.tried and n.allocated:
        cause = (
            f"The step {case.asked}, and {readable(n.free)} are said to be free, but not in one piece or not for long."
        )
        fix = "Close other programs on the card (`nvidia-smi`); on Windows the desktop shares it. "
        return cause, Fix(fix + _smaller(case), command="nvidia-smi")
    if held <= max(0.15 * n.capacity, 1.5 * _GIB) or held + n.free <= n.tried:
        return None
    who = f"process {n.pid} holds" if n.pid else "other programs or processes hold"
    cause = f"The step {case.asked}, and {who} {readable(held)} of the card's {readable(n.capacity)}."
    index = next((found["index"] for line in case.log.lines if (found := _GPU.search(line.text))), "0")
    fix = (
        "See who it is with `nvidia-smi` (a run that was not ended, a notebook kernel, the desktop) and end it, or "
        f"set `CUDA_VISIBLE_DEVICES` to another card than {index}. With that, {readable(held + n.free)} would be free."
    )
    return cause, Fix(fix, command="nvidia-smi")


def _nothing_yet(case: _Case) -> _Answer:
    plain = case.n.tried is None and "CUDA error: out of memory" in case.found.evidence.text
    if case.n.allocated != 0 and not (plain and _FIRST_TOUCH.search(case.code)):
        return None
    cause = f"The device refused before this process had taken much{case.found.place}: something else holds its memory."
    fix = (
        "Look at `nvidia-smi`: end runs that are left over, or choose a free card with `CUDA_VISIBLE_DEVICES`. In "
        "exclusive mode or with MIG, ask for a device of your own."
    )
    if "torch.load" in case.code:
        fix += ' A checkpoint saved on another card wants that card: `torch.load(path, map_location="cpu")`.'
    return cause, Fix(fix, command="nvidia-smi")


def _fragmented(case: _Case) -> _Answer:
    unused, tried = case.n.unallocated or 0, case.n.tried
    if not tried or unused < max(tried, 0.08 * (case.n.capacity or 0), 256 * 2**20):
        return None
    cause = (
        f"The step {case.asked}; PyTorch has {readable(unused)} reserved and unused, in pieces too small for it: "
        "fragmentation, mostly from inputs of varying size."
    )
    text = _text(case.log, case.found)
    option = next((name for mark, name in _OPTIONS if mark in text), None)
    if option is None:
        first = (
            "Bring inputs to a few fixed sizes; from PyTorch 2.1 on "
            "`PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True` helps."
        )
        return cause, Fix(f"{first} {_smaller(case)}")
    command = f"export PYTORCH_CUDA_ALLOC_CONF={option}"
    fix = f"Set `PYTORCH_CUDA_ALLOC_CONF={option}` before the start, and bring inputs to a few fixed sizes."
    return cause, Fix(f"{fix} {_smaller(case)}", command=command)


def _lent(case: _Case) -> _Answer:
    n = case.n
    if not n.allocated or not n.capacity or n.allocated <= n.capacity:
        return None
    cause = (
        f"{readable(n.allocated)} are in use on a card of {readable(n.capacity)}: Windows lends main memory, slowly."
    )
    return cause, Fix(_smaller(case))


def _one_tensor(case: _Case) -> _Answer:
    n = case.n
    if not n.tried or n.allocated is None or n.tried <= max(2 * n.allocated, _GIB):
        return None
    so_far = readable(n.allocated)
    cause = f"One tensor of {readable(n.tried)} is wanted{case.found.place}; all that is there so far takes {so_far}."
    return cause, Fix(_single(case))


def _evaluation(case: _Case) -> _Answer:
    frames = _frames(case.found)
    guarded = any(_NO_GRAD.search(f"{frame.path} {frame.code}") for frame in frames)
    if guarded or not any(_EVALUATES.match(frame.function) for frame in frames if not frame.in_library):
        return None
    fix = "Put `@torch.no_grad()` over the evaluation, if it is not there, and keep results with `.cpu()`."
    return f"Evaluation {case.asked}.", Fix(f"{fix} {_smaller(case)}")


def _loading(case: _Case) -> _Answer:
    if "torch.load" not in case.code:
        return None
    fix = 'Load to main memory first: `torch.load(path, map_location="cpu", weights_only=True)`.'
    return f"Loading a checkpoint onto the device {case.asked}.", Fix(fix)


def _single(case: _Case) -> str:
    if _ALL_PAIRS.search("\n".join(frame.code for frame in _frames(case.found)[-4:])):
        return (
            "Such a tensor compares all positions with all others, or is an enlarged image: lower the resolution, work "
            "in blocks or tiles, or use `F.scaled_dot_product_attention` for attention. Print the shapes on that line."
        )
    return "Print the shapes on that line: a side is larger than meant. Work in blocks, or lower the resolution."


def _smaller(case: _Case) -> str:
    """A batch size from the numbers; activations grow with the batch, weights do not, so that it is an upper bound."""
    n = case.n
    batch = next((int(found["n"]) for line in case.log.lines if (found := _BATCH.search(line.text))), None)
    share = 0.5
    if n.tried and n.allocated:
        share = min(0.5, (n.allocated + (n.free or 0)) / (n.allocated + n.tried) * 0.9)
    if batch == 1:
        return (
            "The batch is 1 already: smaller images or crops, bfloat16 autocast, gradient checkpointing, or a smaller "
            "model."
        )
    if batch:
        new = max(1, 1 << max(0, int(batch * share).bit_length() - 1))
        return (
            f"Try batch size {new} with gradients accumulated over {max(2, batch // new)} batches, which trains the "
            "same; then bfloat16 autocast, smaller crops, gradient checkpointing."
        )
    return (
        "Halve the batch and accumulate gradients over two; then bfloat16 autocast, smaller images or crops, gradient "
        "checkpointing."
    )


def _probe(log: Log, _here: Here) -> Answer:
    found = find_message(log, _SAID)
    numbers = read_device_memory(_text(log, found)) if found is not None else DeviceMemory()
    cards = [card for card in gpus() if card["memory_bytes"]]
    if not cards:
        return Answer(Outcome.CANNOT_TELL, "no NVIDIA GPU is seen here")
    largest = max(card["memory_bytes"] for card in cards)
    text = f"the largest card here has {readable(largest)}"
    if numbers.tried is None or numbers.allocated is None:
        return Answer(Outcome.CANNOT_TELL, f"{text}; the log does not say how much was needed")
    needed = numbers.allocated + numbers.tried
    if largest < needed:
        return Answer(Outcome.CONFIRMED, f"{text}; the step needed at least {readable(needed)}")
    if largest > 1.5 * needed and numbers.capacity is not None and largest > 1.5 * numbers.capacity:
        return Answer(Outcome.REFUTED, f"{text}, the step needed {readable(needed)}")
    return Answer(Outcome.CANNOT_TELL, f"{text}, the step needed at least {readable(needed)} at that moment")


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    machine: MachineFacts = plan.fact("machine")
    if machine.accelerator != "cuda":
        raise NotApplicable(f"the run computes on {machine.accelerator}")
    facts: MemoryFacts = plan.fact("memory")
    if facts.budget is None:
        raise NotApplicable(f"the memory of {facts.machine} is not known")
    worst = max(facts.phases, key=lambda phase: (phase.tensors > (facts.budget or 0), phase.high))
    if worst.high <= facts.budget or worst.tensors <= facts.budget < worst.low:
        return  # it fits, or only what is beside the tensors does not: cuda-lib-alloc
    there = f"{readable(facts.budget)} ({facts.budget_from})"
    least, most = readable(worst.low), readable(worst.high)
    surely = worst.low > facts.budget
    need = f"needs at least {least}" if surely else f"needs {least} to {most}"
    fits = f"; the largest batch that fits is {facts.largest_batch}" if facts.largest_batch else ""
    yield Finding(
        "cuda-oom",
        Level.ERROR if surely else Level.WARNING,
        f"`{worst.phase}` on {facts.machine} {need}, and there are {there}: {worst.what}, {facts.precision}{fits}",
        setting_place(plan, "optim.batch_size"),
        memory_evidence(facts),
        fix_by_changes(facts.changes),
    )


RULE = Rule(
    slug="cuda-oom",
    family="memory",
    title="The GPU runs out of memory",
    level=Level.ERROR,
    log=LogFacet(
        ("out of memory", "tried to allocate", "allocation on device", "out_of_memory", "oom when", "cudaerrormemory"),
        _examine,
        _probe,
    ),
    source=absent("how much a line needs depends on sizes; what wastes memory are rules of their own"),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("out of memory raises at once, there is nothing to watch"),
    module=__name__,
)
