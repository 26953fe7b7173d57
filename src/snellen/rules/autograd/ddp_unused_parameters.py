"""Under DistributedDataParallel some parameters took no part in the loss.

What happens
------------
The second step raises `RuntimeError: Expected to have finished reduction in the prior iteration before starting a new
one. This error indicates that your module has parameters that were not used in producing loss.` Lightning says `It
looks like your LightningModule has parameters that were not used in producing the loss`. On one GPU the same code runs.

Why
---
DDP averages gradients as they become ready and waits for every parameter that requires one. A parameter without
gradient is never ready: a head that is not used, a branch that this batch did not take (no positives, layer drop, one
of several tasks), an output of `forward` that the loss leaves out, a frozen part whose `requires_grad` is still true.

How to confirm
--------------
On one GPU, after `loss.backward()`:
`[n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]`. In the failing run
`TORCH_DISTRIBUTED_DEBUG=DETAIL` prints the names.

Fix
---
Best: remove what is never used, or freeze it (`requires_grad_(False)`) before the model is wrapped. If what is used
changes from step to step: `DistributedDataParallel(model, find_unused_parameters=True)`, which walks the graph once
more each step. If that is on already, an output of `forward` does not enter the loss: return only what does, or add
`0 * output.sum()`.

When it is something else
-------------------------
`Expected to mark a variable ready only once` with gradient checkpointing is `checkpoint-mismatch`: there
`find_unused_parameters` makes it worse. A hang without a message, or a watchdog's timeout, is `nccl-timeout`.

Sources
-------
- DistributedDataParallel, internal design: https://docs.pytorch.org/docs/stable/notes/ddp.html
- Its arguments: https://docs.pytorch.org/docs/stable/generated/torch.nn.parallel.DistributedDataParallel.html
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

from snellen.core.facts.model import UnusedFacts
from snellen.core.finding import Evidence, Finding, Fix, Level, Location
from snellen.core.log import Log, LogLine, LogMatch
from snellen.core.logs.messages import Message, find_message, frameworks
from snellen.core.plan import Cost, Plan, setting_place
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Assignment, CallSite, Hit, SourceFile

__all__ = ["RULE"]

_NAMED = 20
_UNUSED = re.compile(
    r"expected to have finished reduction in the prior iteration"
    r"|parameters that were not used in producing (?:the )?loss"
    r"|training graph has changed in this iteration",
    re.IGNORECASE,
)
_READY_TWICE = re.compile(r"expected to mark a variable ready only once|has been marked as ready twice", re.IGNORECASE)
_TWICE_NAME = re.compile(
    r"parameter at index (?P<index>\d+)(?: with name \.?(?P<name>[\w.]+))? has been marked as ready"
)
_INDICES = re.compile(
    r"parameter indices which did not receive grad for rank (?P<rank>\d+):\s*(?P<list>[\d ,]+)", re.IGNORECASE
)
_NAMES = re.compile(
    r"parameters which did not receive grad for rank (?P<rank>\d+):\s*(?P<list>[\w., ]+)", re.IGNORECASE
)
_SWITCHED_ON = re.compile(r"since `?find_unused_parameters=True`? is enabled", re.IGNORECASE)
_MOST_NAMES = 4


def _examine(log: Log) -> LogMatch | None:
    said = find_message(log, _UNUSED)
    if said is None:
        return _ready_twice(log)
    lines = [line for line in log.lines if _INDICES.search(line.text) or _NAMES.search(line.text)]
    evidence = (*said.facts[:1], *(line.evidence for line in lines[:3]), *said.facts[1:])
    score = 0.97 if said.first else 0.85
    if "graph has changed" in said.match[0].lower():
        cause = "With `static_graph=True` a parameter was used in one step and not in another."
        fix = Fix("Take `static_graph=True` out and use `find_unused_parameters=True`.")
        return LogMatch(score, evidence, cause, fix)
    what = _what(lines)
    cause = f"{what or 'Some parameters'} got no gradient: no output that the loss uses depends on them."
    return LogMatch(score, evidence, cause, Fix(_advice(log, said, what)))


def _what(lines: Sequence[LogLine]) -> str:
    """The parameters in words: their modules, or their numbers; with the ranks when they differ."""
    named: dict[str, set[str]] = {}
    numbered: dict[str, set[int]] = {}
    for line in lines:
        if match := _NAMES.search(line.text):
            named.setdefault(match["rank"], set()).update(re.findall(r"[\w.]*\w", match["list"]))
        elif match := _INDICES.search(line.text):
            numbered.setdefault(match["rank"], set()).update(
                int(number) for number in re.findall(r"\d+", match["list"])
            )
    ranks = sorted(named or numbered, key=int)
    on = f" on rank{'s' if len(ranks) > 1 else ''} {', '.join(ranks)}" if ranks else ""
    if named:
        return f"{_modules(set().union(*named.values()))}{on}"
    if numbered:
        return f"Parameters {_ranges(sorted(set().union(*numbered.values())))} of `named_parameters()`{on}"
    return ""


def _modules(names: set[str]) -> str:
    """The modules that hold the parameters: the common one when they have one."""
    owners = sorted({name.rpartition(".")[0] or name for name in names})
    levels = zip(*(owner.split(".") for owner in owners), strict=False)
    common = [level[0] for level in itertools.takewhile(lambda level: len(set(level)) == 1, levels)]
    if len(owners) > 1 and len(common) > 1:
        return f"`{'.'.join(common)}`"
    shown = ", ".join(f"`{owner}`" for owner in owners[:_MOST_NAMES])
    return f"{shown} and {len(owners) - _MOST_NAMES} more" if len(owners) > _MOST_NAMES else shown


def _ranges(numbers: Sequence[int]) -> str:
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in parts[:8])


def _advice(log: Log, said: Message, what: str) -> str:
    which = "them" if what else "the parameters (`TORCH_DISTRIBUTED_DEBUG=DETAIL` prints their names)"
    if any(_SWITCHED_ON.search(line.text) for line in log.lines):
        return (
            "`find_unused_parameters=True` is on, so an output of `forward` does not enter the loss on this rank: "
            "return only what the loss uses, or add `0 * output.sum()` where a batch has nothing to learn from it."
        )
    through = frameworks(said.error.frames) if said.error is not None else ()
    switch = _switch(through, log)
    return (
        f"Remove or freeze {which} if they are never used (before the model is wrapped); if that changes from batch to "
        f"batch, switch the search on: {switch}."
    )


def _switch(through: Sequence[str], log: Log) -> str:
    """How to switch the search for unused parameters on, in the framework at hand."""
    if log.search(r"LightningModule|pytorch_lightning|lightning[./]pytorch") is not None:
        return "`Trainer(strategy='ddp_find_unused_parameters_true')`"
    if any(name.startswith("mm") for name in through) or log.search(r"\bmm(?:cv|det|seg|engine|pose)\b") is not None:
        return "`find_unused_parameters = True` in the config"
    if "transformers" in through:
        return "`TrainingArguments(ddp_find_unused_parameters=True)`"
    if "accelerate" in through:
        return "`Accelerator(kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])`"
    return "`DistributedDataParallel(model, ..., find_unused_parameters=True)`"


def _ready_twice(log: Log) -> LogMatch | None:
    said = find_message(log, _READY_TWICE)
    if said is None:
        return None
    twice = next((match for line in log.lines if (match := _TWICE_NAME.search(line.text))), None)
    which = f"Parameter {twice['name'] or twice['index']}" if twice else "A parameter"
    cause = f"{which} got its gradient twice in one backward pass: it is used in two passes, or shared."
    fix = Fix(
        "Call the wrapped model once a step (both inputs in one batch) and do not use its parameters outside of "
        "`forward`. If the same part is used every step, `static_graph=True` in `DistributedDataParallel`; with "
        "gradient checkpointing `use_reentrant=False`."
    )
    return LogMatch(0.65, said.facts, cause, fix)


_WRAPS = (
    "torch.nn.parallel.DistributedDataParallel",
    "torch.nn.parallel.distributed.DistributedDataParallel",
)
_LAYERS = re.compile(
    r"^torch\.nn\.(?:Linear|Bilinear|Conv\w+|BatchNorm\w+|LayerNorm|GroupNorm|Embedding|PReLU|LSTM|GRU)$"
)
_SMALL_PROJECT = 60
_DYNAMIC = re.compile(r"getattr\(|__dict__|_modules\b|\.(?:named_)?(?:children|modules)\(|torch\.fx|\bvars\(")


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    """A layer with weights that no line uses, in a project that wraps its model without looking for such."""
    modules = {block.name: block for block in file.classes if any(base.endswith("Module") for base in block.bases)}
    unused: list[tuple[Assignment, str]] = []
    for item in file.assignments:
        owner, _, method = item.function.rpartition(".")
        if owner not in modules or method != "__init__" or not _is_layer(item):
            continue
        block, attribute = modules[owner].span, item.target.removeprefix("self.")
        code = "\n".join(file.text.split("\n")[block.start_line - 1 : block.end_line])
        if not _DYNAMIC.search(code) and _mentions(file, attribute) == 1:
            unused.append((item, attribute))
    wraps = [(f, c) for f in (file, *file.elsewhere) for c in f.calls if c.name in _WRAPS] if unused else []
    if not wraps or any(_provides(call) for _, call in wraps):
        return
    where, call = wraps[0]
    for item, attribute in unused:
        owner = item.function.split(".")[0]
        named = any(re.search(rf"\b{owner}\b", wrapper.text) for wrapper, _ in wraps)
        if not named and len(file.elsewhere) > _SMALL_PROJECT:
            # In a library most models are never wrapped.
            continue
        if any(_mentions(other, attribute) for other in file.elsewhere):
            continue
        place = Location(where.path, call.span.start_line, call.span.start_column + 1)
        message = f"no line uses `self.{attribute}`, and DDP waits for the gradient of its weights"
        fix = Fix("Remove it, or use it in `forward`; `find_unused_parameters=True` only if it is used in some steps.")
        yield Hit(message, item.span, fix, (Evidence(call.code.split("\n")[0], place),))


def _mentions(file: SourceFile, attribute: str) -> int:
    return len(re.findall(rf"\.{attribute}\b|['\"]{attribute}\b", file.text))


def _provides(call: CallSite) -> bool:
    given = [call.argument(99, name) for name in ("find_unused_parameters", "static_graph")]
    return "**" in call.code or any(argument is not None and argument.value is not False for argument in given)


def _is_layer(item: Assignment) -> bool:
    plain = item.target.startswith("self.") and item.target.removeprefix("self.").isidentifier()
    made = item.call.name if item.call is not None else ""
    return plain and not item.operator and _LAYERS.match(made) is not None


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    """A step on tensors without numbers tells which parameters the loss does not reach."""
    facts: UnusedFacts = plan.fact("unused_parameters")
    if not facts.names:
        return
    first, count = facts.names[0], len(facts.names)
    more = f" and {count - 1} more" if count > 1 else ""
    yield Finding(
        "ddp-unused-parameters",
        Level.ERROR,
        f"the loss does not reach {first}{more}; on {facts.devices} devices the second step stops with that",
        setting_place(plan, "devices"),
        tuple(Evidence(f"{name} gets no gradient") for name in facts.names[:_NAMED]),
        Fix("Freeze these parameters or leave them out of the model, or train on one device: devices: 1."),
    )


RULE = Rule(
    slug="ddp-unused-parameters",
    family="autograd",
    title="DDP waits for parameters that the loss does not use",
    level=Level.ERROR,
    log=LogFacet(
        ("finished reduction", "not used in producing", "graph has changed", "ready only once", "ready twice"), _examine
    ),
    source=SourceFacet(("DistributedDataParallel", "Module"), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("the exception comes before the step begins"),
    module=__name__,
)
