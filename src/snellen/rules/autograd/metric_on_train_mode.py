"""Validation is computed while the model is in training mode.

What happens
------------
Validation numbers are worse than they should be and jump from epoch to epoch; the same checkpoint gives other numbers
in a script of its own; with a small batch or a single image they collapse. The best checkpoint is chosen by noise.

Why
---
`torch.no_grad()` switches gradients off and nothing else. Without `model.eval()` dropout still drops, batch norm
normalises by the statistics of the validation batch, and even learns from them: its running mean and variance move in
every forward pass in training mode.

How to confirm
--------------
`print(model.training)` inside the validation loop: it is `True`. Validate twice in a row: the numbers differ.

Fix
---
`model.eval()` before the validation loop, `model.train()` before the next training loop.

When it is something else
-------------------------
Batch norm statistics of very small batches make evaluation mode the worse one: see the batch size, not the mode.
Training that goes on in evaluation mode afterwards is `training-in-eval-mode`; a file that never sets a mode is
`eval-mode-missing`. A function that keeps dropout on in
either mode is `dropout-always-on`.

Sources
-------
- Evaluation mode is independent of `no_grad`:
  https://docs.pytorch.org/docs/stable/notes/autograd.html#evaluation-mode-nn-module-eval
- `BatchNorm2d`: https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.mode import Training, called, has_modes, mode_calls, no_gradients, trainings
from snellen.core.code.training import callees, insert_after, insert_before, loop_around
from snellen.core.finding import Edit, Evidence, Fix, FixSafety, Level, Location
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import CallSite, FunctionBlock, Hit, Loop, SourceFile

__all__ = ["RULE"]

_HELD_OUT = re.compile(
    r"(?i)(?:^|[^a-z])(?:val(?:id(?:ation)?)?|test(?:ing)?|eval(?:uation)?|dev|holdout)(?:$|[^a-z]|loader|_?dl)"
)
_EVALUATION = re.compile(r"(?i)(?:^|_)(?:val(?:id|idate|idation)?|test|eval(?:uate|uation)?|score|accuracy)(?:$|_)")
_REASON = "the numbers of validation change, as they should"


def _examine(file: SourceFile) -> Iterator[Hit]:
    told: set[tuple[int, int]] = set()
    for training in trainings(file):
        for hit in (*_inline(file, training), *_in_function(file, training)):
            if hit.span.start not in told:
                told.add(hit.span.start)
                yield hit


def _switches(file: SourceFile, training: Training) -> bool:
    """Whether evaluation mode is entered anywhere that this loop can reach, or the mode is set in another way."""
    stretches = [(file, training.loop.span), *((other, b.span) for other, b in callees(file, training.loop.span))]
    for other, span in stretches:
        if any(mode is not True for _, mode in mode_calls(other, span)):
            return True
        if any(
            re.search(r"(?i)eval|set_\w*mode|freeze", call.method) and call.receiver for call in other.calls_in(span)
        ):
            return True
    block = file.function_around(training.loop.span)
    around = [c for c, mode in mode_calls(file, block.span) if mode is not True] if block is not None else []
    loose = [c for c in file.calls if c.method == "eval" and not c.arguments and c.function == training.loop.function]
    return bool(around or loose)


def _inline(file: SourceFile, training: Training) -> Iterator[Hit]:
    """A validation loop beside the training loop in the same round, or after it in the same function."""
    if _switches(file, training):
        return
    for loop in file.loops:
        apart = loop.span.start > training.batches.span.end and loop.function == training.loop.function
        if loop.kind != "for" or not apart or not _HELD_OUT.search(f"{loop.header} {loop.target}"):
            continue
        calls = list(file.calls_in(loop.span))
        if any(call.method in ("backward", "step") for call in calls):
            continue
        for call in calls:
            if no_gradients(call) and _is_trained(file, training, call) and loop_around(file, call.span) == loop:
                yield _hit(file, training, loop, call)
                break


def _is_trained(file: SourceFile, training: Training, call: CallSite) -> bool:
    """Whether what is called is called in the training loop as well, with gradients."""
    name = called(call)
    if not name or not _is_object(file, name, call):
        return False
    stretches = [(file, training.batches.span)]
    if training.inside:
        stretches += [(other, block.span) for other, block in callees(file, training.backward.span, 1)]
    for other, span in stretches:
        for same in other.calls_in(span):
            if called(same) == name and not no_gradients(same):
                return has_modes(file, call)
    return False


def _is_object(file: SourceFile, name: str, call: CallSite) -> bool:
    """Whether a name that is called is a model and no function."""
    if call.name.endswith(".forward") and call.receiver == name:
        return not call.name.startswith("torch.nn.") or "Loss" not in call.name
    asked = {
        "parameters",
        "train",
        "eval",
        "to",
        "cuda",
        "state_dict",
        "load_state_dict",
        "named_parameters",
        "zero_grad",
    }
    return any(other.receiver == name and other.method in asked for other in file.calls)


def _hit(file: SourceFile, training: Training, loop: Loop, call: CallSite) -> Hit:
    name = called(call)
    message = (
        f"`{name}` is in training mode here: nothing calls `{name}.eval()` before this loop, so dropout drops and batch"
        " norm takes the statistics of the batch"
    )
    back = any(mode is True for c, mode in mode_calls(file, training.loop.span, name))
    edits: list[Edit | None] = [insert_before(file, loop.span, f"{name}.eval()")]
    if not back and training.loop.span.contains(loop.span):
        edits.append(insert_after(file, loop.span, f"{name}.train()"))
    text = f"Call `{name}.eval()` before the loop" + ("." if back else f" and `{name}.train()` after it.")
    made = tuple(edit for edit in edits if edit is not None)
    fix = Fix(text, FixSafety.UNSAFE, _REASON, made) if len(made) == len(edits) else Fix(text)
    place = Location(file.path, training.backward.span.start_line, training.backward.span.start_column + 1)
    return Hit(message, call.span, fix, (Evidence("it is trained here", place),))


def _in_function(file: SourceFile, training: Training) -> Iterator[Hit]:
    """A function for validation that is called in the same round and never enters evaluation mode.

    Where nothing in the file sets a mode, the function alone is at fault: eval-mode-missing.
    """
    if _switches(file, training) or not any(call.method in ("train", "eval") for call in file.calls):
        return
    for call in file.calls_in(training.loop.span):
        after = call.span.start > training.backward.span.end
        block = _own_function(file, call) if after and _EVALUATION.search(call.method) else None
        if block is None:
            continue
        for inner in file.calls_in(block.span):
            loop = loop_around(file, inner.span)
            name = called(inner)
            if loop is None or not name or not no_gradients(inner) or not _is_handed_on(file, call, block, name):
                continue
            if _is_trained_as(file, training, _outside(call, block, name)) and has_modes(file, inner):
                yield _function_hit(file, training, loop, inner)
                break


def _own_function(file: SourceFile, call: CallSite) -> FunctionBlock | None:
    if call.receiver not in (None, "self"):
        return None
    found = [block for block in file.functions if block.name.rpartition(".")[2] == call.method]
    return found[0] if len(found) == 1 else None


def _outside(call: CallSite, block: FunctionBlock, name: str) -> str:
    """What the caller calls the object that the function knows as `name`."""
    if name not in block.parameters:
        return name
    shift = 1 if block.parameters[:1] == ("self",) else 0
    given = call.argument(block.parameters.index(name) - shift, name)
    return given.code if given is not None else ""


def _is_handed_on(file: SourceFile, call: CallSite, block: FunctionBlock, name: str) -> bool:
    """Whether the function works on a model of the caller, of the object or of the module, and makes none itself."""
    if any(item.target == name and block.span.contains(item.span) for item in file.assignments):
        return False
    outside = _outside(call, block, name)
    return (
        re.fullmatch(r"[A-Za-z_][\w.]*", outside) is not None
        and re.search(r"(?i)model|net|encoder|self", outside) is not None
    )


def _is_trained_as(file: SourceFile, training: Training, name: str) -> bool:
    if training.inside and any(argument.code == name for argument in training.backward.arguments):
        return True
    if training.inside:
        inside = ((other, block.span) for other, block in callees(file, training.backward.span, 1))
        return any(called(call) == name for other, span in inside for call in other.calls_in(span))
    return any(called(call) == name for call in file.calls_in(training.batches.span))


def _function_hit(file: SourceFile, training: Training, loop: Loop, call: CallSite) -> Hit:
    name = called(call)
    message = (
        f"`{name}` is still in training mode here: this function is called during training and nothing calls"
        f" `{name}.eval()`, so dropout drops and batch norm takes the statistics of the batch"
    )
    back = any(mode is True for _, mode in mode_calls(file, training.loop.span)) or any(
        mode is True
        for other, block in callees(file, training.backward.span)
        for _, mode in mode_calls(other, block.span)
    )
    edit = insert_before(file, loop.span, f"{name}.eval()") if back else None
    text = f"Call `{name}.eval()` before the loop" + (
        "." if back else f", and `{name}.train()` before training goes on."
    )
    fix = Fix(text, FixSafety.UNSAFE, _REASON, (edit,)) if edit is not None else Fix(text)
    place = Location(file.path, training.backward.span.start_line, training.backward.span.start_column + 1)
    return Hit(message, call.span, fix, (Evidence("it is trained here", place),))


RULE = Rule(
    slug="metric-on-train-mode",
    family="autograd",
    title="Validation runs in training mode",
    level=Level.WARNING,
    log=absent("noisy validation has many causes and names none of them"),
    source=SourceFacet(("no_grad", "inference_mode"), _examine),
    before=absent("the engine calls eval() before every evaluation"),
    during=absent("validation is no step, and the engine calls eval() itself"),
    module=__name__,
)
