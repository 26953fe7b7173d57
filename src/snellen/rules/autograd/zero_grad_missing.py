"""Gradients of all earlier batches pile up because nothing clears them.

What happens
------------
Training runs without an error and does not get anywhere: the loss falls for a while, then swings or grows, and a
smaller learning rate only puts it off. With AdamW it may look merely bad. The gradient norm rises from step to step.

Why
---
`loss.backward()` adds to `p.grad`, it does not replace it. Without `optimizer.zero_grad()` every step goes along the
sum of all gradients since the beginning, most of them computed with weights that are long gone.

How to confirm
--------------
Print `p.grad.norm()` of one parameter after `backward()` for a batch that is given twice: the second value is twice
the first. With `optimizer.zero_grad()` in the loop both are the same.

Fix
---
Call `optimizer.zero_grad()` once for each step, after `optimizer.step()` or before `loss.backward()`. With gradient
accumulation it belongs under the same condition as the step.

When it is something else
-------------------------
Gradients that are cleared each batch while the step is taken every few batches: see `accumulation-cleared`. DeepSpeed
engines, and optimisers whose `step` clears, need no call. A loss that swings from the start has too large a learning
rate; one that turns NaN is `nan-loss`.

Sources
-------
- Zeroing out gradients: https://docs.pytorch.org/tutorials/recipes/recipes/zeroing_out_gradients.html
- `Optimizer.zero_grad`: https://docs.pytorch.org/docs/stable/generated/torch.optim.Optimizer.zero_grad.html
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.code.training import (
    Backward,
    Update,
    backwards,
    callees,
    clears_gradients,
    insert_after,
    loop_around,
    reaches,
    updates,
)
from snellen.core.finding import Evidence, Fix, FixSafety, Level, Location
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import Hit, Loop, Origin, SourceFile

__all__ = ["RULE"]

_HARMLESS = frozenset(
    {"step", "unscale_", "scale", "update", "append", "print", "len", "str", "isinstance", "hasattr", "state_dict"}
    | {"get_lr", "set_lr", "adjust_learning_rate", "clip_grad_norm_", "save", "item", "iter", "enumerate"}
)
"""Calls that may be given an optimiser and leave its gradients alone."""


def _examine(file: SourceFile) -> Iterator[Hit]:
    found = list(backwards(file))
    if not found or "torch" not in {name.partition(".")[0] for name in file.imports.values()}:
        return
    told: set[tuple[str, str]] = set()
    for update in updates(file):
        loop, backward = _loop_of(file, update, found)
        if (
            loop is None
            or backward is None
            or (update.call.function, update.optimizer) in told
            or not _is_plain(file, update)
        ):
            continue
        if reaches(file, loop.span, clears_gradients) or _may_clear_elsewhere(file, loop, update):
            continue
        told.add((update.call.function, update.optimizer))
        yield _hit(file, update, backward)


def _loop_of(file: SourceFile, update: Update, found: list[Backward]) -> tuple[Loop | None, Backward | None]:
    """The loop whose every round takes a step, and the gradients that the step uses.

    A step in a function without a loop belongs to the loop of the same file that calls the function.
    """
    loop = loop_around(file, update.call.span)
    if loop is not None:
        inside = (b for b in found if loop.span.contains(b.call.span) and b.call.function == update.call.function)
        return loop, next(inside, None)
    block = file.function_around(update.call.span)
    if block is None:
        return None, None
    backward = next((b for b in found if b.call.function == update.call.function), None)
    if backward is not None and backward.call.method == "manual_backward":
        # Lightning calls it for every batch; gradients may be cleared in another of its hooks.
        loop = Loop("while", "", "", block.span, function=block.name)
        return (None if "zero_grad" in file.text else loop), backward
    name = block.name.rpartition(".")[2]
    callers = [call for call in file.calls if call.method == name and call.receiver in (None, "self")]
    loops = [loop_around(file, call.span) for call in callers]
    return (loops[0] if len(loops) == 1 else None), backward


def _is_plain(file: SourceFile, update: Update) -> bool:
    """Whether the optimiser is one whose `step` leaves gradients alone, and the step no part of something larger."""
    if update.call.arguments and update.scaler is None:
        # A closure clears gradients by itself.
        return False
    return not _made_here(file, update) and _keeps_gradients(update.origin)


def _keeps_gradients(origin: Origin | None) -> bool:
    if origin is None:
        return True
    head, _, name = origin.name.rpartition(".")
    # A class of the project or of an unknown package may clear gradients in its `step`.
    return not name[:1].isupper() or head.startswith(("torch.optim", "timm.optim", "transformers"))


def _made_here(file: SourceFile, update: Update) -> bool:
    """An optimiser made anew in each round, with parameters that are new as well, has no old gradients."""
    loop = loop_around(file, update.call.span)
    made = [item for item in file.assignments if item.target == update.optimizer]
    return loop is not None and any(loop.span.contains(item.span) for item in made)


def _may_clear_elsewhere(file: SourceFile, loop: Loop, update: Update) -> bool:
    """Whether the optimiser is handed to something in the loop that nobody can look into."""
    if any(loop.span.contains(item.span) and item.code.endswith(".zero_grad") for item in file.idle):
        # It is named and not called: method-not-called.
        return True
    own = {block.name.rpartition(".")[2] for _, block in callees(file, loop.span)}
    for call in file.calls_in(loop.span):
        given = any(argument.code == update.optimizer for argument in call.arguments)
        if given and call.method not in own and call.method not in _HARMLESS and not call.name.startswith("torch.nn."):
            return True
        if call.receiver == update.optimizer and call.method not in ("step", "state_dict"):
            return True
    return False


def _hit(file: SourceFile, update: Update, backward: Backward) -> Hit:
    edit = insert_after(file, update.call.span, f"{update.optimizer}.zero_grad()")
    text = f"Add `{update.optimizer}.zero_grad()` after `{update.call.code}`."
    fix = Fix(text) if edit is None else Fix(text, FixSafety.UNSAFE, "each step becomes smaller", edits=(edit,))
    place = Location(file.path, backward.call.span.start_line, backward.call.span.start_column + 1)
    message = (
        f"`{update.call.code}` is taken again and again, and nothing in the loop clears the gradients:"
        f" `{backward.call.code}` adds to those of all earlier batches"
    )
    return Hit(message, update.call.span, fix, (Evidence("gradients are added here", place),))


RULE = Rule(
    slug="zero-grad-missing",
    family="autograd",
    title="Gradients are never cleared between steps",
    level=Level.ERROR,
    log=absent("a log of rising losses has many causes and names none of them"),
    source=SourceFacet((".step(",), _examine),
    before=absent("the engine clears gradients itself in every run"),
    during=absent("gradients that grow have many causes, and the engine clears them itself"),
    module=__name__,
)
