"""torch.compile is used in a project whose gradient checkpointing is the reentrant one.

What happens
------------
Nothing is said, or a warning that `use_reentrant` should be passed. Compiled regions inside a checkpoint are compiled
twice, memory is not saved as expected, and where the compiler has to fall back the run stops: `torch.utils.checkpoint
is incompatible with .grad()`, `AssertionError: lift_tracked_freevar_to_input should not be called on root
SubgraphTracer`, `Attempted to call function marked as skipped ... CheckpointFunction.backward`. Or the gradients of
the checkpointed part are missing.

Why
---
`checkpoint(..., use_reentrant=True)`, which is what is taken when nothing is passed, runs the region without gradients
and starts a second backward pass inside the first. The compiler cannot follow that. Where it can trace the region it
quietly uses the other variant; where it cannot (a graph break inside) the reentrant one runs, with its limits: an input
without gradient gives none to the parameters, keyword arguments and `torch.autograd.grad` are refused.

How to confirm
--------------
`python -W error::UserWarning train.py` stops at the call that does not pass `use_reentrant`. With
`TORCH_LOGS=recompiles` a region inside a reentrant checkpoint is compiled once without and once with gradients.

Fix
---
`checkpoint(block, x, use_reentrant=False)`. The results are the same.

When it is something else
-------------------------
Without `torch.compile` the reentrant variant works within its limits; what it prints there is `checkpoint-mismatch`.
Other code that cannot be traced is `dynamo-unsupported`.

Sources
-------
- `torch.utils.checkpoint`, reentrant and not: https://docs.pytorch.org/docs/stable/checkpoint.html
- Activation checkpointing and torch.compile: https://pytorch.org/blog/activation-checkpointing-techniques/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.compiled import compiles
from snellen.core.finding import Evidence, Fix, FixSafety, Level, Location
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import Argument, CallSite, Hit, SourceFile

__all__ = ["RULE"]

_CHECKPOINTS = {"torch.utils.checkpoint.checkpoint": 99, "torch.utils.checkpoint.checkpoint_sequential": 3}
"""Where each takes `use_reentrant` by position, if at all."""
_ENABLING = frozenset({"gradient_checkpointing_enable", "TrainingArguments", "Seq2SeqTrainingArguments"})
_EXPLICIT = re.compile(r"""(?P<before>["']use_reentrant["']\s*:\s*|use_reentrant\s*=\s*)(?P<value>True)\b""")


def _examine(file: SourceFile) -> Iterator[Hit]:
    where = next((other for other in (file, *file.elsewhere) if compiles(other)), None)
    if where is None:
        return
    for call in file.calls:
        if call.name in _CHECKPOINTS:
            yield from _called(file, call, where)
        elif call.method in _ENABLING or (call.name == "functools.partial" and _is_checkpoint(file, call)):
            yield from _explicit(file, call, where)


def _is_checkpoint(file: SourceFile, call: CallSite) -> bool:
    first, _, rest = call.arguments[0].code.partition(".") if call.arguments else ("", "", "")
    return f"{file.imports.get(first, first)}{f'.{rest}' if rest else ''}" in _CHECKPOINTS


def _called(file: SourceFile, call: CallSite, where: SourceFile) -> Iterator[Hit]:
    given = call.argument(_CHECKPOINTS[call.name], "use_reentrant")
    if given is not None and given.value is not True:
        return
    # What is passed on as `**options` may hold it.
    if given is None and ("**" in call.code or not call.arguments):
        return
    name = call.method
    message = f"`{name}` uses the reentrant variant, which torch.compile cannot trace"
    if given is None:
        message = f"`{name}` without use_reentrant is the reentrant variant, which torch.compile cannot trace"
    yield Hit(message, call.span, _fix(file, call, given), _compiled_at(file, where))


def _explicit(file: SourceFile, call: CallSite, where: SourceFile) -> Iterator[Hit]:
    """`gradient_checkpointing_kwargs={"use_reentrant": True}` and `partial(checkpoint, use_reentrant=True)`."""
    for argument in call.arguments:
        plain = argument.name == "use_reentrant" and argument.value is True
        found = _EXPLICIT.search(argument.code)
        if not plain and found is None:
            continue
        new = "False" if plain else _EXPLICIT.sub(r"\g<before>False", argument.code, count=1)
        message = "asks for reentrant checkpointing, which torch.compile cannot trace"
        edits = () if plain and argument.code != "True" else (file.edit(argument.span, new),)
        yield Hit(
            message,
            argument.span,
            Fix("Write `use_reentrant` False.", _SAFETY, _REASON, edits),
            _compiled_at(file, where),
        )


_SAFETY = FixSafety.UNSAFE
_REASON = "results are the same, but a region that computes something else the second time is refused then"


def _fix(file: SourceFile, call: CallSite, given: Argument | None) -> Fix:
    if given is not None:
        edits = (file.edit(given.span, "False"),) if given.code == "True" else ()
        return Fix("Pass `use_reentrant=False`.", _SAFETY, _REASON, edits)
    last = max(call.arguments, key=lambda argument: argument.span.end)
    edit = file.edit(last.span, f"{last.code}, use_reentrant=False")
    return Fix("Pass `use_reentrant=False`.", _SAFETY, _REASON, (edit,))


def _compiled_at(file: SourceFile, where: SourceFile) -> tuple[Evidence, ...]:
    call = next((call for call in where.calls if call.name == "torch.compile"), None)
    if call is None:
        return ()
    place = Location(where.path, call.span.start_line)
    return (
        Evidence(
            f"compiled here: {call.code[:80]}" if where is file else f"compiled in {place}: {call.code[:80]}", place
        ),
    )


RULE = Rule(
    slug="compile-with-reentrant-checkpoint",
    family="compile",
    title="Reentrant gradient checkpointing under torch.compile",
    level=Level.WARNING,
    log=absent("what it prints when it fails is known by dynamo-unsupported and checkpoint-mismatch"),
    source=SourceFacet(("checkpoint",), _examine),
    before=absent("the networks of this program checkpoint without reentrance"),
    during=absent("a step does not tell how a region was checkpointed"),
    module=__name__,
)
