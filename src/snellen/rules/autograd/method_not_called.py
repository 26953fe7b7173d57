"""A method of the training loop is named and not called: `loss.backward` without parentheses.

What happens
------------
Nothing at all, and no error. Without `loss.backward()` the weights stay as they are; without `optimizer.step()` too;
without `optimizer.zero_grad()` gradients pile up; without `model.eval()` validation runs with dropout.

Why
---
`loss.backward` is an expression: Python looks the method up and drops it. Only the parentheses call it.

How to confirm
--------------
Compare a weight before and after the loop: `torch.equal(before, model.weight)`.

Fix
---
Add the parentheses: `loss.backward()`. Ruff's rule B018 finds such lines in any code.

When it is something else
-------------------------
The last line of a notebook cell shows a value, also that of a method. A call that is there and has no effect on the
weights: see `detached-loss`, `optimizer-misses-parameters` and `frozen-not-frozen`.

Sources
-------
- Optimization loop: https://docs.pytorch.org/tutorials/beginner/basics/optimization_tutorial.html
- Python, expression statements: https://docs.python.org/3/reference/simple_stmts.html#expression-statements
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.finding import Fix, FixSafety, Level
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import Hit, Idle, SourceFile, Span

__all__ = ["RULE"]

_EFFECTS = {
    "backward": "no gradient is computed",
    "step": "no step is taken",
    "zero_grad": "gradients are not cleared",
    "eval": "the mode stays what it was",
    "train": "the mode stays what it was",
    "empty_cache": "the cache stays",
    "synchronize": "nothing is waited for",
    "barrier": "nothing is waited for",
    "update": "the loss scale stays what it was",
    "unscale_": "the gradients stay scaled",
    "requires_grad_": "nothing changes",
}
_WITHOUT_ARGUMENTS = frozenset(_EFFECTS) - {"unscale_"}


def _examine(file: SourceFile) -> Iterator[Hit]:
    if "torch" not in {name.partition(".")[0] for name in file.imports.values()}:
        return
    for item in file.idle:
        receiver, _, method = item.code.rpartition(".")
        if item.kind != "attribute" or method not in _EFFECTS or not receiver or _is_shown(file, item):
            continue
        if method in ("update", "step") and not any(word in receiver for word in ("scal", "opt", "sched")):
            continue
        yield _hit(file, item, method)


def _is_shown(file: SourceFile, item: Idle) -> bool:
    """A notebook prints the value of the last line of a cell."""
    return file.is_notebook and not item.function and item.span.start_column == 0


def _hit(file: SourceFile, item: Idle, method: str) -> Hit:
    message = f"`{item.code}` names the method and does not call it: {_EFFECTS[method]}"
    text = f"Write `{item.code}()`."
    end = Span(item.span.end_line, item.span.end_column, item.span.end_line, item.span.end_column)
    fix = Fix(text)
    if method in _WITHOUT_ARGUMENTS:
        fix = Fix(
            text, FixSafety.UNSAFE, "the call has an effect that the program did without", (file.edit(end, "()"),)
        )
    return Hit(message, item.span, fix)


RULE = Rule(
    slug="method-not-called",
    family="autograd",
    title="A method of the training loop lacks its parentheses",
    level=Level.ERROR,
    log=absent("a line without effect prints nothing"),
    source=SourceFacet(tuple(f".{method}" for method in _EFFECTS), _examine),
    before=absent("no setting of a run calls methods"),
    during=absent("the engine calls every method of its own loop"),
    module=__name__,
)
