"""Gradient checkpointing could not repeat the forward pass, or found nothing to differentiate.

What happens
------------
`CheckpointError: torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than
during the forward pass`, or `A different number of tensors was saved during the original forward and recomputation`.
Or, without an error of its own, the warning `None of the inputs have requires_grad=True. Gradients will be None`, after
which the checkpointed layers learn nothing or `backward()` says that the loss does not require grad. Under DDP:
`Expected to mark a variable ready only once`.

Why
---
A checkpointed part throws its activations away and runs a second time during the backward pass. The second run has to
do the same: same shapes, dtypes, number of operations. It does not when autocast was on only the first time, when a
cache was filled in between (keys and values, masks), when routing or a random choice comes out differently, or when
sharded weights are not gathered. The reentrant variant (`use_reentrant=True`, what one gets without saying) sees
gradients only through the inputs of the part: a batch of images, or the output of frozen layers, needs none, so the
part's own weights get none either.

How to confirm
--------------
Switch checkpointing off for a few steps with a small batch: it runs. For a mismatch pass `debug=True` to `checkpoint`,
which prints both runs operation by operation. For missing gradients look at `p.grad` of a layer inside.

Fix
---
Say `use_reentrant=False`; it needs no input that requires grad and works with DDP. Put autocast around the whole
forward pass or inside the part, not somewhere between; switch caches off while training (`use_cache=False`). Keep
random and data-dependent choices outside of the part. In evaluation call the layer directly.

When it is something else
-------------------------
The bare warning that `use_reentrant` should be passed explicitly is no failure. The error together with `torch._dynamo`
is a matter of `torch.compile`: `dynamo-unsupported`. A loss without graph in a model without checkpointing is
`no-grad-fn`.

Sources
-------
- `torch.utils.checkpoint`, both variants compared: https://docs.pytorch.org/docs/stable/checkpoint.html
- Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016: https://arxiv.org/abs/1604.06174
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.compiled import compiles
from snellen.core.finding import Fix, FixSafety, Level
from snellen.core.log import Log, LogLine, LogMatch
from snellen.core.logs.messages import Message, find_message, frameworks
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, SourceFile

__all__ = ["RULE"]

_METADATA = re.compile(r"recomputed values for the following tensors have different metadata", re.IGNORECASE)
_NUMBER = re.compile(
    r"a different number of tensors was saved during the original forward and recomputation"
    r"|trying to save more tensors during recomputation|unpack is being triggered for a tensor that was",
    re.IGNORECASE,
)
_COUNTS = re.compile(r"tensors saved during (?P<when>forward|recomputation): (?P<count>\d+)", re.IGNORECASE)
_META = re.compile(
    r"(?P<which>saved|recomputed) metadata: \{'shape': torch\.Size\(\[(?P<shape>[\d, ]*)\]\), 'dtype': "
    r"torch\.(?P<dtype>\w+)"
    r"|(?P<cut>recomputed) metadata: \{'shape': torch\.Size\(\[(?P<size>[\d, ]*)\]\)",
    re.IGNORECASE,
)
_NO_INPUT = re.compile(r"none of the inputs have requires_grad=true", re.IGNORECASE)
_NO_OUTPUT = re.compile(r"none of output has requires_grad=true,? this checkpoint\(\) is not necessary", re.IGNORECASE)
_WITH_GRAD = re.compile(
    r"checkpointing is not compatible with \.grad\(\)|checkpoint is incompatible with \.grad\(\)", re.IGNORECASE
)
_READY_TWICE = re.compile(r"expected to mark a variable ready only once", re.IGNORECASE)
_MENTIONED = re.compile(
    r"utils[/\\]checkpoint\.py|gradient_checkpointing|with_cp|use_checkpoint|grad_checkpoint|CheckpointFunction"
    r"|activation_checkpoint",
    re.IGNORECASE,
)
_BLOCK = re.compile(r"with name \S{0,80}(?:blocks?|layers?|stages?)\.\d+\.\S{0,80} has been marked as ready twice")
_UNCONNECTED = re.compile(r"does not require grad|does not have a grad_fn", re.IGNORECASE)


def _examine(log: Log) -> LogMatch | None:
    if said := find_message(log, _METADATA):
        return _differs(log, said)
    if said := find_message(log, _NUMBER):
        return _counted(log, said)
    if said := find_message(log, _WITH_GRAD):
        cause = (
            "The reentrant variant of checkpointing allows neither `torch.autograd.grad` nor `backward(inputs=...)`."
        )
        return LogMatch(0.97, said.facts, cause, Fix(f"Pass `use_reentrant=False` to `checkpoint`{_switch(said)}."))
    if said := find_message(log, _NO_OUTPUT):
        cause = "All that the checkpointed part computes with is frozen: there is nothing to recompute for."
        return LogMatch(0.93, said.facts, cause, Fix("Call the frozen part directly, under `torch.no_grad()`."))
    if (said := find_message(log, _READY_TWICE)) and (sure := _mentions(log, said)):
        cause = (
            "Under DDP the reentrant checkpoint runs the same parameters through a backward pass of their own, twice."
        )
        fix = Fix(
            f"Pass `use_reentrant=False` to `checkpoint`{_switch(said)}; if that cannot be, `static_graph=True` in "
            "`DistributedDataParallel` and no `find_unused_parameters`."
        )
        return LogMatch(sure if said.first else 0.7, said.facts, cause, fix)
    return _without_gradients(log)


def _mentions(log: Log, said: Message) -> float | None:
    """How sure it is that checkpointing is on: it shows anywhere but in the message, which always names it.

    A parameter of one of many equal blocks is the next best sign: they are what gets checkpointed.
    """
    frames = said.error.frames if said.error is not None else ()
    if any(_MENTIONED.search(f"{frame.path} {frame.code}") for frame in frames):
        return 0.85
    if any(_MENTIONED.search(line.text) and "multiple `checkpoint`" not in line.text for line in log.lines):
        return 0.85
    return 0.7 if any(_BLOCK.search(line.text) for line in log.lines) else None


def _switch(said: Message) -> str:
    """How the framework that the traceback shows takes the argument."""
    through = frameworks(said.error.frames) if said.error is not None else ()
    if "transformers" in through:
        return ' (`TrainingArguments(gradient_checkpointing_kwargs={"use_reentrant": False})`)'
    return ""


def _differs(log: Log, said: Message) -> LogMatch:
    score = 0.97 if said.first else 0.85
    found: dict[str, tuple[str, str, LogLine]] = {}
    for line in log.lines:
        for match in _META.finditer(line.text):
            which = (match["which"] or match["cut"]).lower()
            shape = match["shape"] if match["shape"] is not None else match["size"]
            found.setdefault(which, (shape or "", match["dtype"] or "", line))
    if len(found) < 2:
        cause = "The second run of a checkpointed part gave tensors of another shape, dtype or device than the first."
        fix = Fix(
            "Compare the two runs with `checkpoint(..., debug=True)`. Usual reasons: autocast on in only one of "
            "them, a cache (`use_cache=True`) filled by the first, a random or data-dependent choice inside of the "
            "part."
        )
        return LogMatch(score, said.facts, cause, fix)
    (shape, dtype, first), (again, dtype_again, second) = found["saved"], found["recomputed"]
    evidence = (*said.facts, *dict.fromkeys((first.evidence, second.evidence)))
    if "0" in re.findall(r"\d+", again) and "0" not in re.findall(r"\d+", shape):
        cause = f"A tensor of shape [{shape}] was empty in the second run: a sharded weight that had not been gathered."
        fix = Fix(
            "With DeepSpeed ZeRO-3 use its own checkpointing or `use_reentrant=True`; with FSDP wrap the same modules "
            "that are checkpointed, checkpoint inside of the shard; do not freeze or offload parts of it separately."
        )
    elif dtype_again and dtype != dtype_again:
        cause = f"A tensor was {dtype} in the first run and {dtype_again} in the second: autocast was on in only one."
        fix = Fix(
            "Enter `torch.autocast` around the whole forward pass of the model, outside of `checkpoint`, or inside."
        )
    else:
        cause = (
            f"A tensor had shape [{shape}] in the first run and [{again}] in the second: a choice came out differently."
        )
        fix = Fix(
            "Keep what depends on data or chance (routing of tokens, sampling, dropping of patches, NMS) outside of "
            "the checkpointed part, leave `preserve_rng_state=True`, and set deterministic algorithms for it."
        )
    return LogMatch(score, evidence, cause, fix)


def _counted(log: Log, said: Message) -> LogMatch:
    counts = {match["when"].lower(): match["count"] for line in log.lines for match in _COUNTS.finditer(line.text)}
    numbers = f" ({counts['forward']} and {counts['recomputation']})" if len(counts) == 2 else ""
    cause = f"The two runs of a checkpointed part did not save the same number of tensors{numbers}."
    fix = Fix(
        "Look for state that the first run leaves behind: `use_cache=True`, a cached mask or position table, a "
        "counter, lazily built modules; build it before, or switch it off while training. With `torch.compile` "
        "compile the part inside, or not at all."
    )
    return LogMatch(0.97 if said.first else 0.85, said.facts, cause, fix)


def _without_gradients(log: Log) -> LogMatch | None:
    line = next(log.find(_NO_INPUT.pattern), None)
    if line is None:
        return None
    failed = next((error for error in log.exceptions if _UNCONNECTED.search(error.message)), None)
    if log.exceptions and failed is None:
        return None
    evaluated = log.search(r"\b(?:infer(?:ence)?|predict|evaluat\w+|demo|test)\b") is not None and not log.metrics
    cause = (
        "The reentrant checkpoint got only inputs that need no gradient (images, or the output of frozen layers): the "
        "weights inside get none" + (", and the loss that follows has no graph." if failed else ".")
    )
    text = (
        "Pass `use_reentrant=False` to `checkpoint`, which needs no such input; with transformers "
        '`gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})` or '
        "`model.enable_input_require_grads()`. Leave frozen layers out of checkpointing."
    )
    if evaluated and failed is None:
        text += " In evaluation the warning is harmless: call the layer directly when `not self.training`."
    evidence = (line.evidence, *((failed.evidence,) if failed else ()))
    return LogMatch(0.97 if failed else 0.85, evidence, cause, Fix(text))


_CALLS = {"torch.utils.checkpoint.checkpoint": 99, "torch.utils.checkpoint.checkpoint_sequential": 3}


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    found = [call for call in file.calls if call.name in _CALLS and not _open_ended(call)]
    unsaid = [call for call in found if call.argument(_CALLS[call.name], "use_reentrant") is None]
    # Under torch.compile it is a rule of its own: compile-with-reentrant-checkpoint.
    if not unsaid or any(compiles(other) for other in (file, *file.elsewhere)):
        return
    for call in unsaid:
        message = (
            f"`{call.code.partition('(')[0]}` without `use_reentrant` is the reentrant one: layers whose input needs "
            "no gradient do not learn, and DDP may count parameters twice"
        )
        inside = call.code[:-1].rstrip()
        edit = file.edit(call.span, f"{inside.rstrip(',')}, use_reentrant=False)")
        reason = "the other variant checks that the second run is the same as the first, and raises where it is not"
        fix = Fix("Say which one is meant: `use_reentrant=False`.", FixSafety.UNSAFE, reason, edits=(edit,))
        yield Hit(message, call.span, fix, level=Level.WARNING)


def _open_ended(call: CallSite) -> bool:
    return "**" in call.code or not call.arguments or "#" in call.code


RULE = Rule(
    slug="checkpoint-mismatch",
    family="autograd",
    title="Gradient checkpointing cannot repeat or differentiate a part",
    level=Level.ERROR,
    log=LogFacet(("recomput", "requires_grad=true", "ready only once", "checkpoint"), _examine),
    source=SourceFacet(("checkpoint",), _examine_source),
    before=absent("how a model repeats its forward pass is written in its code"),
    during=absent("a step does not show which parts were computed twice"),
    module=__name__,
)
