"""The model is trained in evaluation mode: after the first validation, or from the start.

What happens
------------
From the second epoch on training behaves differently: the training loss drops at once, regularisation seems gone, the
model overfits early, batch norm statistics stay what they were. With a model that was just loaded it is so from the
start. There is no error.

Why
---
`model.eval()` stays in force until `model.train()` is called. A validation inside the epoch loop switches dropout off
and batch norm to its running statistics, and nothing switches back. `from_pretrained` of transformers returns a model
in evaluation mode.

How to confirm
--------------
`print(model.training)` right before `loss.backward()`: it is `False`.

Fix
---
Call `model.train()` at the start of every epoch, before the loop over the batches.

When it is something else
-------------------------
Evaluation mode during fine-tuning can be meant, to keep the statistics of batch norm: then only those layers belong in
it, and the finding is silenced by a comment. Validation in training mode is `metric-on-train-mode`.

Sources
-------
- `Module.train` and `Module.eval`: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html
- `from_pretrained`, evaluation mode by default: https://huggingface.co/docs/transformers/main_classes/model
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.mode import Training, called, has_modes, mode_calls, no_gradients, optimised, trainings
from snellen.core.code.networks import is_module
from snellen.core.code.training import callees, insert_before, scope_of, unwrapped
from snellen.core.finding import Evidence, Fix, FixSafety, Level, Location
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, Loop, SourceFile, Span

__all__ = ["RULE"]

_NOT_TRAINED = re.compile(r"(?i)teacher|target|ema|\bref|frozen|vgg|percep|extractor|lpips|inception|clip_model")
_MEANT = re.compile(r"(?i)batch.?norm|\bbn\b|dropout|freez|frozen|statistics|on purpose|deliberate")
_REASON = "dropout and batch norm act in training again"


def _examine(file: SourceFile) -> Iterator[Hit]:
    told: set[tuple[int, int]] = set()
    for training in trainings(file):
        hit = _never_back(file, training) or _before_loop(file, training) or _as_loaded(file, training)
        if hit is not None and hit.span.start not in told:
            told.add(hit.span.start)
            yield hit


def _reached(file: SourceFile, span: Span) -> Iterator[tuple[SourceFile, Span]]:
    """A stretch and the project's functions that are called in it."""
    yield file, span
    for other, block in callees(file, span):
        yield other, block.span


def _goes_back(file: SourceFile, span: Span) -> bool:
    """Whether anything in a stretch may switch to training mode."""
    for other, stretch in _reached(file, span):
        if any(mode is not False for _, mode in mode_calls(other, stretch)):
            return True
        if any(call.method.startswith("set_") and "train" in call.method for call in other.calls_in(stretch)):
            return True
        if any(item.target.endswith(".training") and stretch.contains(item.span) for item in other.assignments):
            return True
    return False


def _trained(file: SourceFile, training: Training, name: str) -> CallSite | None:
    """The forward call of an object of that name in the training loop, outside of `no_grad`."""
    if _NOT_TRAINED.search(name):
        return None
    for other, span in _reached(file, training.batches.span):
        for call in other.calls_in(span):
            same = called(call) == name and not no_gradients(call)
            if same and any(b.function == call.function for b in other.calls_in(span) if b.method == "backward"):
                return call
    return None


def _never_back(file: SourceFile, training: Training) -> Hit | None:
    """Evaluation mode is entered in every round of the loop, and never left."""
    loop = _loop_of_one_model(file, training)
    if loop is None or (loop.span == training.batches.span and not training.inside):
        return None
    for other, span in _reached(file, loop.span):
        for call, mode in mode_calls(other, span):
            if mode is not False or call.receiver is None:
                continue
            forward = _trained(file, training, call.receiver)
            if forward is None or not has_modes(file, forward) or _is_frozen(file, call.receiver):
                continue
            if _goes_back(file, loop.span):
                return None
            return _hit(file, training, other, call)
    return None


def _loop_of_one_model(file: SourceFile, training: Training) -> Loop | None:
    """The outermost loop around the training in which no model is made: a new one is in training mode."""
    made = [item.span for item in file.assignments if item.call is not None and is_module(file, "", item.origin)]
    around = [loop for loop in file.loops_around(training.batches.span) if loop.function == training.batches.function]
    kept = [loop for loop in around if loop.kind != "comprehension" and not any(loop.span.contains(s) for s in made)]
    return kept[0] if kept else None


def _is_frozen(file: SourceFile, name: str) -> bool:
    return any(
        call.receiver == name
        and call.method == "requires_grad_"
        and call.arguments
        and call.arguments[0].value is False
        for call in file.calls
    )


def _hit(file: SourceFile, training: Training, other: SourceFile, call: CallSite) -> Hit:
    name = call.receiver or "model"
    message = (
        f"`{call.code}` is called in every round of this loop and nothing calls `{name}.train()` again: from the second"
        " round on it is trained in evaluation mode"
    )
    nested = training.batches.span != training.loop.span
    between = nested and other is file and training.batches.span.contains(call.span)
    inner = training.batches.span if nested else training.backward.span
    edit = insert_before(file, inner, f"{name}.train()") if not between else None
    when = "after the validation" if between else "before the training loop of every round"
    text = f"Call `{name}.train()` {when}."
    fix = Fix(text, FixSafety.UNSAFE, _REASON, (edit,)) if edit is not None else Fix(text)
    place = Location(other.path, call.span.start_line, call.span.start_column + 1)
    start = training.loop.span
    span = call.span if other is file else Span(start.start_line, start.start_column, start.start_line, 10**4)
    return Hit(message, span, fix, (Evidence("evaluation mode is entered here", place),))


def _before_loop(file: SourceFile, training: Training) -> Hit | None:
    """Evaluation mode is entered before the loop, and training mode never."""
    scope = scope_of(file, training.loop.span)
    for call, mode in mode_calls(file, scope):
        above = call.function == training.loop.function and call.span.start < training.loop.span.start
        name = call.receiver
        if mode is not False or not above or name is None or call.conditions or _is_meant(file, call):
            continue
        forward = _trained(file, training, name)
        if forward is None or not optimised(file, name) or not has_modes(file, forward):
            continue
        later = (m for c, m in mode_calls(file, scope) if c.span.start > call.span.start)
        if any(m is not False for m in later) or _goes_back(file, training.loop.span):
            continue
        message = f"`{call.code}` is called before the training loop and nothing calls `{name}.train()` after it"
        new = f"{name}.train()"
        edits = (file.edit(call.span, new),) if call.discarded else ()
        text = f"Write `{new}`."
        fix = Fix(text, FixSafety.UNSAFE, _REASON, edits) if edits else Fix(text)
        return Hit(message, call.span, fix)
    return None


def _is_meant(file: SourceFile, call: CallSite) -> bool:
    lines = re.split(r"\r\n|\r|\n", file.text)
    near = lines[max(0, call.span.start_line - 2) : call.span.end_line]
    return any("#" in line and _MEANT.search(line.partition("#")[2]) for line in near)


def _as_loaded(file: SourceFile, training: Training) -> Hit | None:
    """A model of transformers that is trained in the mode in which it was loaded."""
    if any(".train(" in other.text for other in (file, *file.elsewhere)) or "peft" in file.text:
        return None
    for item in file.assignments:
        origin = unwrapped(item.origin)
        loaded = origin is not None and re.fullmatch(r"transformers\.\w*Model\w*\.from_pretrained", origin.name)
        if not loaded or not optimised(file, item.target) or _trained(file, training, item.target) is None:
            continue
        message = (
            f"`{item.target}` is in evaluation mode, as `from_pretrained` leaves it, and nothing calls"
            f" `{item.target}.train()` before it is trained"
        )
        text = f"Call `{item.target}.train()` before the training loop."
        edit = insert_before(file, training.batches.span, f"{item.target}.train()")
        fix = Fix(text, FixSafety.UNSAFE, _REASON, (edit,)) if edit is not None else Fix(text)
        start = training.loop.span
        where = Span(start.start_line, start.start_column, start.start_line, start.start_column + 3)
        place = Location(file.path, item.span.start_line, item.span.start_column + 1)
        return Hit(message, where, fix, (Evidence("it is loaded here", place),))
    return None


RULE = Rule(
    slug="training-in-eval-mode",
    family="autograd",
    title="The model is trained in evaluation mode",
    level=Level.WARNING,
    log=absent("a loss that falls faster than expected has many causes"),
    source=SourceFacet((".eval()", "from_pretrained"), _examine),
    before=absent("the engine calls train() at the start of every epoch"),
    during=absent("the engine calls train() itself, and a step does not tell the mode"),
    module=__name__,
)
