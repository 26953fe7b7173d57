"""Gradients are cleared between `backward()` and the optimiser's step: it has nothing to go by.

What happens
------------
Training runs without an error, and the loss does not move at all, or moves by weight decay and momentum only. Every
metric stays at chance.

Why
---
`optimizer.zero_grad()` sets all gradients to `None`; `optimizer.step()` passes over parameters that have none. When the
last thing before the step is not `backward()` but `zero_grad()`, in this round of the loop or at the end of the one
before, each step is taken without a gradient.

How to confirm
--------------
Right before `optimizer.step()`, `[p.grad is None for p in model.parameters()]` is all `True`.

Fix
---
Clear, compute, step: `optimizer.zero_grad()`, `loss.backward()`, `optimizer.step()`, in this order.

When it is something else
-------------------------
Gradients that are never cleared are `zero-grad-missing`; cleared for every batch while steps are rare,
`accumulation-cleared`. Gradients that are there and all zero: see `detached-loss`.

Sources
-------
- Optimization loop: https://docs.pytorch.org/tutorials/beginner/basics/optimization_tutorial.html
- `Optimizer.zero_grad`: https://docs.pytorch.org/docs/stable/generated/torch.optim.Optimizer.zero_grad.html
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.code.training import Update, backwards, callees, insert_after, loop_around, remove, updates
from snellen.core.finding import Evidence, Fix, FixSafety, Level, Location
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, SourceFile

__all__ = ["RULE"]


def _examine(file: SourceFile) -> Iterator[Hit]:
    steps = list(updates(file))
    gradients = [backward.call for backward in backwards(file)]
    for step in steps:
        clearing = _last_before(file, step, gradients, [other.call for other in steps])
        if clearing is not None:
            yield _hit(file, step, clearing, gradients)


def _last_before(file: SourceFile, step: Update, gradients: list[CallSite], steps: list[CallSite]) -> CallSite | None:
    """The call that clears the gradients of a step right before it, in the same block."""
    if step.call.arguments and step.scaler is None:
        return None
    loop = loop_around(file, step.call.span)
    clearing = [c for c in file.calls if c.method == "zero_grad" and c.receiver == step.optimizer]
    block = [
        call
        for call in (*gradients, *steps, *clearing)
        if call.function == step.call.function and call.conditions == step.call.conditions
    ]
    block = sorted((c for c in block if loop_around(file, c.span) == loop), key=lambda call: call.span.start)
    if not any(call in gradients for call in block):
        return None
    place = block.index(step.call)
    before = block[place - 1] if place > 0 or loop is not None else None
    if before is None or before not in clearing or _computes_between(file, before, step.call):
        return None
    return before


def _computes_between(file: SourceFile, clearing: CallSite, step: CallSite) -> bool:
    """Whether gradients may be computed between the two by something else: a branch, an inner loop, a function."""
    around = step.function
    for call in file.calls:
        if call.function != around or call is clearing or call is step:
            continue
        start = call.span.start
        if clearing.span.start < step.span.start:
            between = clearing.span.start < start < step.span.start
        else:
            between = start > clearing.span.start or start < step.span.start
        inside = (c.method for other, b in callees(file, call.span, 2) for c in other.calls_in(b.span))
        if between and (call.method in ("backward", "grad", "manual_backward") or any(m == "backward" for m in inside)):
            return True
    return False


def _hit(file: SourceFile, step: Update, clearing: CallSite, gradients: list[CallSite]) -> Hit:
    first = clearing.span.start < step.call.span.start
    where = "right before" if first else "at the end of each round, and nothing computes new ones before"
    message = f"`{clearing.code}` clears the gradients {where} `{step.call.code}`: the step has none to go by"
    text = f"Call `{clearing.code}` before `backward()`, or after `{step.call.code}`."
    place = Location(file.path, clearing.span.start_line, clearing.span.start_column + 1)
    evidence = (Evidence("gradients are cleared here", place),)
    same = [c for c in gradients if c.function == step.call.function]
    ahead = any(c.span.start < clearing.span.start < step.call.span.start for c in same)
    taken, added = remove(file, clearing.span), insert_after(file, step.call.span, clearing.code)
    if not ahead or taken is None or added is None:
        return Hit(message, step.call.span, Fix(text), evidence)
    return Hit(
        message, step.call.span, Fix(text, FixSafety.UNSAFE, "the model learns from now on", (taken, added)), evidence
    )


RULE = Rule(
    slug="step-without-gradient",
    family="autograd",
    title="Gradients are cleared right before the step",
    level=Level.ERROR,
    log=absent("a loss that does not move has many causes and names none of them"),
    source=SourceFacet(("zero_grad",), _examine),
    before=absent("the engine clears gradients only after a step"),
    during=absent("the engine clears gradients only after a step"),
    module=__name__,
)
