"""Training under float16 autocast without a loss scaler: small gradients become zero.

What happens
------------
Training in mixed precision runs without an error, but learns worse than in float32, or parts of the model do not learn
at all. With larger models the loss stands still from the start, or turns NaN after a while.

Why
---
Inside `torch.autocast` the gradients of float16 operations are float16 as well. Below 6e-8 they become zero, and much
of what a network's gradients hold lies there. `GradScaler` multiplies the loss, so that they are large enough to be
kept, and divides again before the step. It also skips steps whose gradients overflowed, which otherwise destroy the
weights. Without `dtype` autocast takes float16 on CUDA.

How to confirm
--------------
Count zeros after `loss.backward()`: `sum((p.grad == 0).sum() for p in model.parameters() if p.grad is not None)`, once
with autocast and once without.

Fix
---
`scaler = torch.amp.GradScaler("cuda")` before the loop; `scaler.scale(loss).backward()`, `scaler.step(optimizer)`,
`scaler.update()` in it, `scaler.unscale_(optimizer)` before gradients are clipped. On hardware with bfloat16,
`dtype=torch.bfloat16` needs none of it.

When it is something else
-------------------------
bfloat16 has the range of float32 and needs no scaler: see `scaler-with-bfloat16` for the reverse. Lightning,
Accelerate and the Hugging Face `Trainer` scale by themselves. A loss that is NaN at once: see `nan-loss`.

Sources
-------
- Gradient scaling: https://docs.pytorch.org/docs/stable/amp.html#gradient-scaling
- Micikevicius et al., Mixed Precision Training, ICLR 2018: https://arxiv.org/abs/1710.03740
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.scaling import Autocast, autocasts
from snellen.core.code.training import (
    Backward,
    Update,
    backwards,
    insert_after,
    insert_before,
    loop_around,
    scope_of,
    updates,
)
from snellen.core.finding import Edit, Evidence, Fix, FixSafety, Level, Location
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile, Span

__all__ = ["RULE"]

_SCALES = re.compile(r"(?i)scal(?:er|e_loss|e\()|loss_scale|accelerator|fabric|deepspeed|\bapex\b|\bscale_")


def _examine(file: SourceFile) -> Iterator[Hit]:
    casts = [cast for cast in autocasts(file) if cast.dtype == "float16"]
    if not casts:
        return
    told: set[tuple[int, int]] = set()
    for backward in backwards(file):
        scope = scope_of(file, backward.call.span)
        if backward.how != "plain" or _SCALES.search(_text(file, scope)):
            continue
        steps = [u for u in updates(file) if scope.contains(u.call.span) and u.call.function == backward.call.function]
        cast = next((cast for cast in casts if _computes(file, cast, backward, scope)), None)
        if cast is not None and steps and scope.start not in told:
            told.add(scope.start)
            yield _hit(file, cast, backward, steps, scope)


def _text(file: SourceFile, span: Span) -> str:
    """The code of a stretch, comments left out."""
    lines = re.split(r"\r\n|\r|\n", file.text)[span.start_line - 1 : span.end_line]
    return "\n".join(line.partition("#")[0] for line in lines)


def _computes(file: SourceFile, cast: Autocast, backward: Backward, scope: Span) -> bool:
    """Whether the loss, or something that it is made of, is computed under the autocast."""
    if cast.span.contains(backward.call.span):
        return True
    if not scope.contains(cast.span) or cast.span.start > backward.call.span.start:
        return False
    loop = loop_around(file, backward.call.span)
    if loop is not None and not loop.span.contains(cast.span):
        return False
    names, here = _names(backward.loss), [a for a in file.assignments if scope.contains(a.span)]
    for item in reversed([a for a in here if a.span.start < backward.call.span.start]):
        if names.intersection(re.findall(r"[A-Za-z_][\w.]*", item.target)):
            if cast.span.contains(item.span):
                return True
            names.update(_names(item.code))
    return False


def _names(code: str) -> set[str]:
    """The names of an expression, also those that attributes are taken of: `output` and `output.float`."""
    found = set(re.findall(r"[A-Za-z_][\w.]*", code))
    return found | {name[: match.start()] for name in found for match in re.finditer(r"\.", name)}


def _hit(file: SourceFile, cast: Autocast, backward: Backward, steps: list[Update], scope: Span) -> Hit:
    stated = "dtype" in cast.call.code
    what = "in float16" if stated else "in float16, as autocast does on CUDA unless another dtype is asked for"
    message = (
        f"the loss is computed {what}, and `{backward.call.code}` does not scale it: gradients below 6e-8 become zero"
    )
    place = Location(file.path, cast.call.span.start_line, cast.call.span.start_column + 1)
    fix = _fix(file, backward, steps, scope, _device(cast))
    return Hit(message, backward.call.span, fix, (Evidence(cast.call.code, place),))


def _device(cast: Autocast) -> str:
    """The kind of device that autocast is asked for."""
    given = cast.call.argument(0, "device_type")
    named = given is not None and isinstance(given.value, str) and not cast.call.name.startswith("torch.cuda.")
    return str(given.value) if named and given is not None else "cuda"


def _fix(file: SourceFile, backward: Backward, steps: list[Update], scope: Span, device: str) -> Fix:
    made_by = f'scaler = torch.amp.GradScaler("{device}")'
    text = (
        f"Make `{made_by}` before the loop, then"
        f" `scaler.scale({backward.loss}).backward()`, `scaler.step({steps[0].optimizer})` and `scaler.update()`; or"
        " compute in bfloat16, which needs none of it."
    )
    loops = [loop for loop in file.loops_around(backward.call.span) if scope.contains(loop.span)]
    clips = any("clip_grad" in call.method and scope.contains(call.span) for call in file.calls)
    several = sum(scope.contains(other.call.span) for other in backwards(file)) > 1 or len(steps) > 1
    if (
        not loops
        or clips
        or several
        or backward.call.arguments
        or steps[0].call.arguments
        or "torch" not in file.imports
    ):
        return Fix(text)
    step = steps[0]
    edits: list[Edit | None] = [
        insert_before(file, loops[0].span, made_by),
        file.edit(backward.span, f"scaler.scale({backward.loss})"),
        file.edit(step.call.span, f"scaler.step({step.optimizer})"),
        insert_after(file, step.call.span, "scaler.update()"),
    ]
    made = tuple(edit for edit in edits if edit is not None)
    reason = "whatever else reads the gradients before the step has to unscale them first"
    return Fix(text, FixSafety.UNSAFE, reason, made) if len(made) == len(edits) else Fix(text)


RULE = Rule(
    slug="scaler-missing",
    family="precision",
    title="float16 training without a loss scaler",
    level=Level.ERROR,
    log=absent("gradients that became zero print nothing"),
    source=SourceFacet(("autocast",), _examine),
    before=absent("the engine scales the loss itself in every float16 run"),
    during=absent("the engine scales the loss itself in every float16 run"),
    module=__name__,
)
