"""The learning rate scheduler takes its step before the optimiser: the first value of the schedule is never used.

What happens
------------
PyTorch warns once, at the first step: "Detected call of `lr_scheduler.step()` before `optimizer.step()`. In PyTorch
1.1.0 and later, you should call them in the opposite order". Training goes on one value further in the schedule than
the paper or the config says; a warm-up loses its first step, a `StepLR` with few epochs drops too early.

Why
---
The scheduler's constructor already sets the first learning rate, and each `step()` moves to the next one. Up to PyTorch
1.0 the loop began with `scheduler.step()`; code of that time is still copied.

How to confirm
--------------
Print `optimizer.param_groups[0]["lr"]` right before the first `optimizer.step()`: it is not the learning rate that the
schedule starts with.

Fix
---
First `optimizer.step()`, then `scheduler.step()`: at the end of the batch for schedules that count batches, at the end
of the epoch for those that count epochs.

When it is something else
-------------------------
The same warning in float16 with a correct loop: `GradScaler` skips the first steps while it looks for its scale, and
the scheduler counts them. It is harmless; step the scheduler only when `scaler.get_scale()` did not fall. The warning
beside an exception is not its cause.

Sources
-------
- How to adjust the learning rate: https://docs.pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate
- PyTorch 1.1.0, breaking changes: https://github.com/pytorch/pytorch/releases/tag/v1.1.0
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from snellen.core.code.training import callees, insert_after, is_scheduler, loop_around, remove, updates
from snellen.core.finding import Evidence, Fix, FixSafety, Level, Location
from snellen.core.log import Log, LogMatch
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, Loop, SourceFile, Span

__all__ = ["RULE"]

_WARNING = r"Detected call of `?(?:lr_)?scheduler\.step\(\)`? before `?optimizer\.step\(\)`?"
_SCALED = re.compile(
    r"\b(?:fp16|float16|16-mixed|amp|grad_?scaler|mixed[ _-]precision|half precision)\b", re.IGNORECASE
)
_FAILED = re.compile(
    r"^\s*Traceback|\b\w*(?:Error|Exception)\b|\berror:|\bkilled\b|\baborted\b|segmentation fault|core dumped",
    re.IGNORECASE,
)


def _examine_log(log: Log) -> LogMatch | None:
    """Only where nothing else is wrong: beside a failure the warning is no news."""
    line = log.search(_WARNING)
    if line is None or log.exceptions or log.search(_FAILED.pattern) or log.search(_SCALED.pattern):
        return None
    if any(not math.isfinite(value) for record in log.metrics for value in record.values.values()):
        return None
    cause = "The scheduler took a step before the optimiser: the first value of its schedule was skipped."
    fix = Fix("Move `scheduler.step()` behind `optimizer.step()`: to the end of the batch, or of the epoch.")
    return LogMatch(0.5, (line.evidence,), cause, fix)


def _examine(file: SourceFile) -> Iterator[Hit]:
    told: set[tuple[int, int]] = set()
    for call in file.calls:
        if call.method != "step" or call.receiver is None or call.arguments:
            continue
        if not is_scheduler(call.receiver, call.receiver_origin) or _is_meant(file, call):
            continue
        loop = loop_around(file, call.span)
        place = _first_update_after(file, loop, call) if loop is not None else None
        if loop is None or place is None or loop.span.start in told:
            continue
        told.add(loop.span.start)
        yield _hit(file, call, place, _fix(file, call, loop, place))


def _is_meant(file: SourceFile, step: CallSite) -> bool:
    """Whether the schedule was set one value back before, or the warning is known."""
    known = "warnings.catch_warnings" in step.contexts
    return known or any(item.target == f"{step.receiver}.last_epoch" for item in file.assignments)


def _first_update_after(file: SourceFile, loop: Loop, step: CallSite) -> Span | None:
    """Where the optimiser steps below the scheduler in the same loop; `None` when it does so above as well."""
    own = [update.call for update in updates(file)]
    through = [call for call in file.calls_in(loop.span) if call not in own and _updates_inside(file, call)]
    inside = [call for call in (*own, *through) if loop.span.contains(call.span)]
    earlier = [call for call in own if call.span.start < step.span.start and call.function == step.function]
    if earlier or any(call.span.start < step.span.start for call in inside):
        return None
    # A condition of its own, such as `if epoch > 0`, may be there to leave the first step out.
    inside = [call for call in inside if set(step.conditions) <= set(call.conditions)]
    return min((call.span for call in inside), key=lambda span: span.start, default=None)


def _updates_inside(file: SourceFile, call: CallSite) -> bool:
    if call.method in ("step", "update"):
        return False
    inside = callees(file, call.span)
    return any(block.span.contains(update.call.span) for other, block in inside for update in updates(other))


def _fix(file: SourceFile, step: CallSite, loop: Loop, place: Span) -> Fix:
    text = f"Move `{step.code}` behind the optimiser's step."
    taken = remove(file, step.span)
    inner = [other.span for other in file.loops if loop.span.contains(other.span) and other.span != loop.span]
    around = next((span for span in inner if span.contains(place)), None)
    direct = next((update for update in updates(file) if update.call.span == place), None)
    scaler = direct.scaler if direct is not None else None
    if around is not None:
        added = insert_after(file, around, step.code) if not step.conditions else None
    elif any(call.span == place and call.conditions for call in file.calls):
        added = None
    else:
        closing = (c.span for c in file.calls_in(loop.span) if scaler and c.code == f"{scaler}.update()")
        added = insert_after(file, next(closing, place), step.code)
    if taken is None or added is None:
        return Fix(text)
    return Fix(text, FixSafety.UNSAFE, "the schedule starts one value earlier than it did", edits=(taken, added))


def _hit(file: SourceFile, step: CallSite, place: Span, fix: Fix) -> Hit:
    message = (
        f"`{step.code}` comes before the optimiser's first step in the same loop: the first learning rate of the"
        " schedule is never used"
    )
    where = Location(file.path, place.start_line, place.start_column + 1)
    return Hit(message, step.span, fix, (Evidence("the optimiser steps here", where),))


RULE = Rule(
    slug="step-order",
    family="autograd",
    title="The scheduler steps before the optimiser",
    level=Level.WARNING,
    log=LogFacet(("scheduler.step()",), _examine_log),
    source=SourceFacet((".step()",), _examine),
    before=absent("the engine steps optimiser and scheduler in the right order"),
    during=absent("a schedule that is one value ahead looks like any other"),
    module=__name__,
)
