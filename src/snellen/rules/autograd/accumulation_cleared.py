"""Gradients are cleared before every batch, but the optimiser steps only every few batches.

What happens
------------
Gradient accumulation seems to work: memory is small and the step count is right. But the model learns from one batch in
N, and the results are those of the small batch, with N times the computation.

Why
---
`zero_grad()` stands outside the condition that the step stands in. Each batch throws away what the batches before it
have added; when the step comes, only the gradient of the last one is left.

How to confirm
--------------
Print the gradient norm of a parameter after each `backward()` between two steps: it does not grow.

Fix
---
Clear gradients where the step is taken, under the same condition: `optimizer.step()`, then `optimizer.zero_grad()`.

When it is something else
-------------------------
A second optimiser that is stepped less often on purpose, such as the generator of a GAN, has a `backward()` of its own
under that condition. A sum that is not divided by the number of batches is `accumulation-not-divided`.

Sources
-------
- Automatic mixed precision examples, gradient accumulation:
  https://docs.pytorch.org/docs/stable/notes/amp_examples.html#gradient-accumulation
- Zeroing out gradients: https://docs.pytorch.org/tutorials/recipes/recipes/zeroing_out_gradients.html
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.code.training import Accumulation, accumulations, insert_after, remove
from snellen.core.finding import Evidence, Fix, FixSafety, Level, Location
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, SourceFile

__all__ = ["RULE"]


def _examine(file: SourceFile) -> Iterator[Hit]:
    for found in accumulations(file):
        clearing = found.clears_each_batch
        if clearing is not None:
            yield _hit(file, found, clearing)


def _hit(file: SourceFile, found: Accumulation, clearing: CallSite) -> Hit:
    step = found.update.call
    message = (
        f"`{clearing.code}` runs for every batch, the optimiser steps only when `{found.test}`:"
        f" of {found.steps} batches only the last one counts"
    )
    text = f"Move `{clearing.code}` below `{step.code}`, under the same condition."
    taken, added = remove(file, clearing.span), insert_after(file, step.span, clearing.code)
    fix = Fix(text)
    if taken is not None and added is not None:
        reason = "each step follows the gradients of all batches: it becomes larger unless the loss is divided"
        fix = Fix(text, FixSafety.UNSAFE, reason, edits=(taken, added))
    place = Location(file.path, step.span.start_line, step.span.start_column + 1)
    return Hit(message, clearing.span, fix, (Evidence("the optimiser steps here", place),))


RULE = Rule(
    slug="accumulation-cleared",
    family="autograd",
    title="Accumulated gradients are thrown away before the step",
    level=Level.ERROR,
    log=absent("the run prints what any run prints"),
    source=SourceFacet(("zero_grad",), _examine),
    before=absent("the engine clears gradients only after a step"),
    during=absent("the engine clears gradients only after a step"),
    module=__name__,
)
