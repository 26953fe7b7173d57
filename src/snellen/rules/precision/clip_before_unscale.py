"""Gradients are clipped while they still carry the loss scale.

What happens
------------
Mixed precision with gradient clipping trains far too slowly or not at all, while float32 with the same threshold is
fine. The logged gradient norm is in the thousands at every step and halves or doubles with the loss scale.

Why
---
`scaler.scale(loss).backward()` leaves gradients multiplied by the loss scale, 65536 at the start. Clipping them to a
norm of 1 and dividing by the scale in `scaler.step` leaves a norm of 1/65536: nearly nothing.

How to confirm
--------------
Print what `clip_grad_norm_` returns: it is about `scaler.get_scale()` times the norm in float32.

Fix
---
`scaler.unscale_(optimizer)` right before clipping, once for each step. `scaler.step` notices and does not divide again.

When it is something else
-------------------------
`unscale_() has already been called on this optimizer` comes from calling it for every batch while the step is taken
every few batches: clip and unscale under the condition of the step; see `gradscaler-misuse`. Without a scaler there is
nothing to unscale; float16 autocast without one is `scaler-missing`.

Sources
-------
- Gradient clipping with a scaler: https://docs.pytorch.org/docs/stable/notes/amp_examples.html#gradient-clipping
- `GradScaler.unscale_`: https://docs.pytorch.org/docs/stable/amp.html#torch.amp.GradScaler.unscale_
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.training import Update, backwards, callees, insert_before, loop_around, scope_of, updates
from snellen.core.finding import Evidence, Fix, FixSafety, Level, Location
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, SourceFile, Span

__all__ = ["RULE"]

_CLIPS = frozenset(
    {"clip_grad_norm_", "clip_grad_value_", "clip_grad_norm", "clip_grads_with_norm_", "clip_grad_value"}
)
_SCALER = re.compile(r"(?i)scaler")


def _examine(file: SourceFile) -> Iterator[Hit]:
    steps = [update for update in updates(file) if update.scaler is not None and _is_scaler(update)]
    for step in steps:
        scope = scope_of(file, step.call.span)
        scaled = [b.call.span for b in backwards(file) if b.how == "scaled" and scope.contains(b.call.span)]
        before = [span for span in scaled if span.start < step.call.span.start]
        if not before or _unscales(file, scope):
            continue
        for clip in file.calls_in(scope):
            between = before[-1].start < clip.span.start < step.call.span.start
            if clip.method in _CLIPS and between and clip.function == step.call.function:
                yield _hit(file, clip, step, sum(scope.contains(other.call.span) for other in steps))
                break


def _is_scaler(update: Update) -> bool:
    origin = update.call.receiver_origin
    if origin is not None and origin.name.rpartition(".")[2] == "GradScaler":
        off = origin.call.argument(99, "enabled")
        return off is None or off.value is not False
    # A wrapper of the project or of a library may unscale by itself.
    return origin is None and _SCALER.search(update.scaler or "") is not None


def _unscales(file: SourceFile, scope: Span) -> bool:
    """Whether gradients are unscaled in the function, by itself or in a function that it calls."""

    def seen(place: SourceFile, span: Span) -> bool:
        return any("unscale" in call.method or "inv_scale" in call.code for call in place.calls_in(span))

    return seen(file, scope) or any(seen(other, block.span) for other, block in callees(file, scope))


def _hit(file: SourceFile, clip: CallSite, step: Update, steps: int) -> Hit:
    line = f"{step.scaler}.unscale_({step.optimizer})"
    message = (
        f"`{clip.method}` clips gradients that still carry the loss scale: nothing calls `{line}` between backward()"
        f" and `{step.call.code}`"
    )
    place = Location(file.path, step.call.span.start_line, step.call.span.start_column + 1)
    evidence = (Evidence("the scale is taken out here, after clipping", place),)
    text = f"Add `{line}` before `{clip.method}`."
    edit = insert_before(file, clip.span, line)
    # Where the step is rarer than the clipping, unscale_ would be called twice for one step, which raises.
    once = set(step.call.conditions) <= set(clip.conditions)
    once = once and loop_around(file, clip.span) == loop_around(file, step.call.span)
    if edit is None or steps > 1 or not once:
        return Hit(message, clip.span, Fix(text), evidence)
    reason = "without scaling unscale_ does nothing; with it, only then does the threshold mean what it says"
    return Hit(message, clip.span, Fix(text, FixSafety.SAFE, reason, (edit,)), evidence)


RULE = Rule(
    slug="clip-before-unscale",
    family="precision",
    title="Scaled gradients are clipped",
    level=Level.ERROR,
    log=absent("a log with large gradient norms does not say where they were taken"),
    source=SourceFacet(("clip_grad",), _examine),
    before=absent("the engine unscales before it clips in every run"),
    during=absent("a step is told the gradient norm without the scale"),
    module=__name__,
)
