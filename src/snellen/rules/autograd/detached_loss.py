"""A loss that has lost its graph is made to require a gradient: backward() runs, and nothing learns.

What happens
------------
`loss.backward()` raised "element 0 of tensors does not require grad and does not have a grad_fn". A line such as
`loss.requires_grad = True` or `loss = torch.tensor(loss, requires_grad=True)` made the error go away. Since then
training runs, the loss stays where it is, and the gradient of every parameter is `None` or zero.

Why
---
The error said that no operation connects the loss with the parameters: something on the way cut the graph, such as
`.detach()`, `.data`, `.item()`, `.numpy()`, `argmax`, `torch.tensor(...)` of a tensor, or `torch.no_grad()`.
`requires_grad = True` makes the loss a leaf of its own. Its gradient with respect to itself is 1, and backward() ends
there. Where the loss does have a graph, `requires_grad_()` does nothing and the assignment raises.

How to confirm
--------------
Take the line out: if the error comes back, the graph is cut. Or look at `next(model.parameters()).grad` after
`backward()`: it is `None`.

Fix
---
Take the line out, and follow `grad_fn` from the loss backwards (`print(loss.grad_fn, output.grad_fn)`) to the first
tensor that has none. Replace what cut it: logits for `argmax`, tensors for numbers, no `no_grad` around the forward
pass.

When it is something else
-------------------------
The error itself is `no-grad-fn`. Gradients that are there while the parameters do not move: see
`optimizer-misses-parameters`. A loss without positives in a batch that is a constant zero has no graph either; add
`0 * output.sum()` instead of forcing the gradient.

Sources
-------
- Locally disabling gradient computation, `requires_grad`:
  https://docs.pytorch.org/docs/stable/notes/autograd.html#setting-requires-grad
- `torch.tensor` makes a leaf without history: https://docs.pytorch.org/docs/stable/generated/torch.tensor.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator

from snellen.core.code.training import Backward, backwards, remove, scope_of, updates
from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level, Location
from snellen.core.rule import DuringFacet, Rule, SourceFacet, absent
from snellen.core.source import UNKNOWN, Assignment, CallSite, Hit, SourceFile, Span
from snellen.core.step import Action, Step, Verdict

__all__ = ["RULE"]

_COPIES = frozenset({"torch.tensor", "torch.autograd.Variable", "torch.as_tensor", "torch.FloatTensor", "torch.Tensor"})
_CUTS = re.compile(
    r"\.detach\(\)|\.data\b|\.item\(\)|\.numpy\(\)|\.argmax\(|\.tolist\(\)|\btorch\.(?:tensor|argmax|round|from_numpy)\("
    r"|\bnp\.|\bfloat\("
)


def _examine(file: SourceFile) -> Iterator[Hit]:
    if not any(True for _ in updates(file)):
        return
    for backward in backwards(file):
        if backward.how == "delegated" or not re.fullmatch(r"[A-Za-z_][\w.]*", backward.loss):
            continue
        forced = _forced(file, backward)
        if forced is not None:
            yield _hit(file, backward, *forced)


def _forced(file: SourceFile, backward: Backward) -> tuple[Span, str, bool] | None:
    """The last thing done to the loss before its gradient is asked for, when it forces one.

    Place, text, and whether it is sure that the graph is cut.
    """
    scope, before = scope_of(file, backward.call.span), backward.call.span.start
    done: list[tuple[Span, str, bool, bool]] = []
    for item in file.assignments:
        if not scope.contains(item.span) or item.span.start >= before:
            continue
        if item.target == f"{backward.loss}.requires_grad":
            asked = not any("requires_grad" in test for test in item.conditions)
            done.append((item.span, f"{item.target} = {item.code}", item.value is True and asked, True))
        elif item.target == backward.loss:
            call = item.call
            forces = call is not None and (_is_copy(call, item) or _is_forced(call))
            done.append((item.span, f"{item.target} = {item.code}", forces, forces and _is_copy(call, item)))
    for call in file.calls:
        statement = call.discarded and scope.contains(call.span) and call.span.start < before
        if statement and call.receiver == backward.loss and _is_forced(call):
            asked = not any("requires_grad" in test for test in call.conditions)
            done.append((call.span, call.code, asked, False))
    if not done:
        return None
    span, code, forces, sure = max(done, key=lambda entry: entry[0].start)
    return (span, code, sure) if forces else None


def _is_forced(call: CallSite | None) -> bool:
    """`loss.requires_grad_()`."""
    if call is None or call.method != "requires_grad_":
        return False
    return not call.arguments or call.arguments[0].value is True


def _is_copy(call: CallSite | None, item: Assignment) -> bool:
    """`torch.tensor(loss, requires_grad=True)`: a new leaf that holds the numbers of something computed."""
    if call is None or call.name not in _COPIES or not call.arguments or item.conditions:
        return False
    asked = call.argument(99, "requires_grad")
    first = call.arguments[0]
    return asked is not None and asked.value is True and first.name is None and first.value is UNKNOWN


def _hit(file: SourceFile, backward: Backward, span: Span, code: str, sure: bool) -> Hit:
    if sure:
        why = "is possible only for a tensor without history" if ".requires_grad = " in code else "has no history"
        what = f"`{code}` {why}: `{backward.call.code}` reaches no parameter of the model"
    else:
        what = (
            f"`{code}` hides that the loss has no graph: where it has one the line does nothing, where it has none"
            f" `{backward.call.code}` reaches no parameter"
        )
    cut = _cut(file, backward, span)
    evidence: tuple[Evidence, ...] = ()
    text = "Take it out and mend what cuts the graph"
    if cut is not None:
        evidence = (Evidence(f"this may cut the graph: {cut.code}", _place(file, cut.span)),)
        text += f", perhaps `{cut.code.strip()[:80]}`"
    statement = next((call.span for call in file.calls if call.span == span and call.discarded), None)
    edit = remove(file, statement) if statement is not None else None
    reason = "if the loss has no graph, backward() raises again, as it should"
    fix = Fix(f"{text}.", FixSafety.UNSAFE, reason, edits=(edit,)) if edit is not None else Fix(f"{text}.")
    return Hit(what, span, fix, evidence, Level.ERROR if sure else Level.WARNING)


def _cut(file: SourceFile, backward: Backward, span: Span) -> Assignment | None:
    """An assignment above, of the loss or of something that it is made of, that may cut the graph."""
    scope = scope_of(file, span)
    above = [item for item in file.assignments if scope.contains(item.span) and item.span.start < span.start]
    names = {backward.loss}
    for item in reversed(above):
        if item.target in names:
            if _CUTS.search(item.code):
                return item
            names.update(re.findall(r"[A-Za-z_]\w*", item.code))
    return None


def _place(file: SourceFile, span: Span) -> Location:
    return Location(file.path, span.start_line, span.start_column + 1)


_STEPS_IN_A_ROW = 25


def _start() -> Callable[[Step], Verdict | None]:
    still = 0

    def observe(step: Step) -> Verdict | None:
        nonlocal still
        nothing = step.gradient_norm == 0.0 and math.isfinite(step.loss) and step.loss != 0.0
        still = still + 1 if nothing else 0
        if still != _STEPS_IN_A_ROW:
            return None
        message = (
            f"the gradient norm was exactly 0 in {still} steps in a row, up to step {step.step} of epoch {step.epoch},"
            f" while the loss is {step.loss:g}: no parameter that is trained has a part in it"
        )
        fix = Fix("Look for what cuts the graph between the model's output and the loss: detach, argmax, no_grad.")
        return Verdict(Action.STOP, Finding("detached-loss", Level.ERROR, message, fix=fix))

    return observe


RULE = Rule(
    slug="detached-loss",
    family="autograd",
    title="A loss without a graph is forced to have a gradient",
    level=Level.ERROR,
    log=absent("the line takes away the only message there was; that message is no-grad-fn"),
    source=SourceFacet(("requires_grad",), _examine),
    before=absent("the losses of the tasks keep their graph"),
    during=DuringFacet(_start),
    module=__name__,
)
