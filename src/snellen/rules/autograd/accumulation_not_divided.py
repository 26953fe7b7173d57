"""Gradients of several batches are summed for one step, and the loss is not divided by their number.

What happens
------------
With gradient accumulation switched on, training behaves as if the learning rate were larger: the loss is jumpy or
diverges, gradient clipping acts at every step, results differ from those of the large batch that it stands for. There
is no error.

Why
---
`backward()` adds. Losses are means over a batch, so the gradient of one batch of 32 equals the mean of four gradients
of batches of 8; their sum is four times as large. SGD, clipping and weight decay feel the factor; Adam hides most of
it.

How to confirm
--------------
Compare the gradient norm before a step, with accumulation over N batches and without: it is about N times as large.

Fix
---
`(loss / N).backward()`, where N is the number of batches for each step. Keep the undivided loss for printing.

When it is something else
-------------------------
A loss with `reduction="sum"` is not divided this way. `accelerator.backward` inside `accelerator.accumulate`, Lightning
and the Hugging Face `Trainer` divide by themselves. Gradients that are cleared before every batch are
`accumulation-cleared`.

Sources
-------
- Automatic mixed precision examples, gradient accumulation:
  https://docs.pytorch.org/docs/stable/notes/amp_examples.html#gradient-accumulation
- Performing gradient accumulation with Accelerate:
  https://huggingface.co/docs/accelerate/usage_guides/gradient_accumulation
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.training import Backward, accumulations, callees, scope_of
from snellen.core.finding import Evidence, Fix, FixSafety, Level, Location
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import Argument, Assignment, Hit, SourceFile, Span

__all__ = ["RULE"]

_SUMMED = re.compile(r"""reduction\s*=\s*["'](?:sum|none)["']|size_average\s*=\s*False""")
_DIVIDED = re.compile(r"/|\bdiv_?\(|\bmul_?\(|\btrue_divide\b")
_PRODUCT = re.compile(r"(?P<left>[\w.\])]+)\s*\*(?!\*)\s*(?P<right>[\w.(\[]+)")
_WEIGHT = re.compile(r"(?i)^[\d.(]|weight|lambda|lam|alpha|beta|gamma|coef|\bw\d?\b|ratio|loss")
_NAME = re.compile(r"[A-Za-z_][\w.]*")
_MOST_NAMES = 40


def _examine(file: SourceFile) -> Iterator[Hit]:
    if _SUMMED.search(file.text):
        return
    told: set[tuple[str, str]] = set()
    for found in accumulations(file):
        if (
            found.clears_each_batch is not None
            or found.backward.how == "delegated"
            or (found.update.call.function, found.steps) in told
        ):
            continue
        if _is_divided(file, found.backward, found.steps):
            continue
        told.add((found.update.call.function, found.steps))
        yield _hit(file, found.backward, found.steps, found.test, found.update.call.span)


def _is_divided(file: SourceFile, backward: Backward, steps: str) -> bool:
    """Whether anything that the loss is made of is divided or scaled, here or in a function that it comes from."""
    number = steps.rpartition(".")[2]
    if not number.isdigit() and re.search(
        rf"(?:/=?|div_?\(|/ ?float\(|\* ?\(?1(?:\.0?)? ?/) ?(?:\w+\.)*{number}\b", file.text
    ):
        return True
    if any(number in (argument.name or argument.code) for argument in _arguments(file, backward)):
        return True
    scope = scope_of(file, backward.call.span)
    given: dict[str, list[Assignment]] = {}
    for item in file.assignments:
        if scope.contains(item.span):
            given.setdefault(item.target, []).append(item)
    waiting: list[str] = [backward.loss]
    seen: set[str] = set()
    while waiting and len(seen) < _MOST_NAMES:
        code = waiting.pop()
        if _is_scaled(_without_calls(code)):
            return True
        for name in _NAME.findall(code):
            if name in seen:
                continue
            seen.add(name)
            for item in given.get(name, []):
                if (
                    item.operator == "/"
                    or (item.operator == "*" and not _WEIGHT.search(item.code))
                    or _made_elsewhere(file, item)
                ):
                    return True
                waiting.append(item.code)
    return False


def _is_scaled(code: str) -> bool:
    """Whether something is divided, or multiplied by anything but a number or the weight of a term."""
    if _DIVIDED.search(code):
        return True
    return any(not _WEIGHT.search(m["left"]) and not _WEIGHT.search(m["right"]) for m in _PRODUCT.finditer(code))


def _without_calls(code: str) -> str:
    """The text without what is passed to functions: `criterion(x / 255, y)` does not divide the loss."""
    depth, kept = 0, []
    for before, sign in zip(" " + code, code, strict=False):
        depth += sign in "([{" and (depth > 0 or before.isalnum() or before in "_])")
        kept.append(sign if depth == 0 else " ")
        depth -= sign in ")]}" and depth > 0
    return "".join(kept)


def _arguments(file: SourceFile, backward: Backward) -> Iterator[Argument]:
    scope = scope_of(file, backward.call.span)
    for item in file.assignments:
        if item.target == backward.loss and item.call is not None and scope.contains(item.span):
            yield from item.call.arguments


def _made_elsewhere(file: SourceFile, item: Assignment) -> bool:
    """Whether the value comes from a function of the project that divides or scales what it returns."""
    if item.call is None:
        return False
    for other, block in callees(file, item.call.span, 2):
        returned = [a for a in other.assignments if block.span.contains(a.span)]
        if any(a.operator in ("/", "*") or _DIVIDED.search(a.code) for a in returned):
            return True
    return False


def _hit(file: SourceFile, backward: Backward, steps: str, test: str, step: Span) -> Hit:
    message = (
        f"the optimiser steps when `{test}`, so {steps} gradients are summed, and `{backward.loss}` is not divided"
        f" by {steps}: the gradient is that many times too large"
    )
    simple = _NAME.fullmatch(backward.loss) is not None
    new = f"({backward.loss} / {steps})" if backward.how == "plain" else f"{backward.loss} / {steps}"
    text = f"Differentiate `{backward.loss} / {steps}`."
    reason = "each step becomes smaller: a learning rate that was chosen for the sum is too small afterwards"
    edits = (file.edit(backward.span, new),) if simple else ()
    fix = Fix(text, FixSafety.UNSAFE, reason, edits=edits) if edits else Fix(text)
    place = Location(file.path, step.start_line, step.start_column + 1)
    return Hit(message, backward.call.span, fix, (Evidence("one step for several batches", place),))


RULE = Rule(
    slug="accumulation-not-divided",
    family="autograd",
    title="Accumulated gradients are summed and not averaged",
    level=Level.WARNING,
    log=absent("a log shows losses, which are the same either way"),
    source=SourceFacet(("%",), _examine),
    before=absent("the engine divides by optim.accumulate itself"),
    during=absent("the engine divides by itself, and a large gradient norm has many causes"),
    module=__name__,
)
