"""What a training loop does, read from the facts of a source file: gradients, updates, schedules, modes.

Several rules ask the same questions of a loop: where are gradients computed, which optimiser takes a step, what do the
project's own functions do that are called on the way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from snellen.core.finding import Edit
from snellen.core.source import Argument, CallSite, FunctionBlock, Loop, Origin, SourceFile, Span

__all__ = [
    "Accumulation",
    "Backward",
    "Update",
    "accumulations",
    "assigned_calls",
    "backwards",
    "callees",
    "clears_gradients",
    "constant_name",
    "insert_after",
    "insert_before",
    "is_optimizer",
    "is_scheduler",
    "loop_around",
    "neighbours",
    "reaches",
    "remove",
    "scope_of",
    "stands_alone",
    "unwrapped",
    "updates",
]

_OPTIMIZER = re.compile(r"(?:\w*_)?(?:opt|optim|optimi[sz]er)s?(?:\d+|[A-Z]\w*|_\w+)?|[a-z]+Optimi[sz]er")
_DELEGATES = re.compile(r"(?i)accelerator|fabric|engine|trainer|strategy|optimi[sz]er|(?:^|\.)self$|^super\(")
_CLEARING = re.compile(r"(?i)zero_?grad|(?:clear|reset|zero|flush)_?(?:the_)?grad|grad\w*_(?:zero|clear|reset)")
_WRAPPERS = frozenset(
    {
        "torch.compile",
        "torch.nn.DataParallel",
        "torch.nn.parallel.DataParallel",
        "torch.nn.parallel.DistributedDataParallel",
    }
)
_COMMON = frozenset(
    (
        *("step", "backward", "zero_grad", "to", "train", "eval", "item", "cuda", "cpu", "update", "append", "forward"),
        *("get", "items", "format", "join", "mean", "sum", "load", "save", "close", "write", "print", "reset", "add"),
    )
)
"""Methods that many classes have: called on anything but `self`, they say nothing of the project's own functions."""
_DEEPEST = 3
_EVERY = re.compile(r"%\s*(?P<steps>[A-Za-z_][\w.]*(?:\[[^\[\]]{1,60}\])?|\d+)\s*\)?\s*==\s*(?:0|(?P=steps)\s*-\s*1)")


@dataclass(frozen=True, slots=True)
class Backward:
    """A place where gradients are computed.

    Args:
        call: The call.
        loss: Text of what is differentiated.
        span: Where that text stands.
        how: `plain` (`loss.backward()`), `scaled` (`scaler.scale(loss).backward()`) or `delegated`
            (`accelerator.backward(loss)`), which may do more than that.
    """

    call: CallSite
    loss: str
    span: Span
    how: str


@dataclass(frozen=True, slots=True)
class Update:
    """A place where an optimiser takes a step.

    Args:
        call: `optimizer.step()` or `scaler.step(optimizer)`.
        optimizer: Text of the optimiser.
        origin: The call that made it, when it is known.
        scaler: Text of the loss scaler that takes the step for it, if one does.
    """

    call: CallSite
    optimizer: str
    origin: Origin | None = None
    scaler: str | None = None


@dataclass(frozen=True, slots=True)
class Accumulation:
    """A loop that computes gradients for every batch and takes a step every few batches.

    Args:
        backward: Where gradients are computed.
        update: Where the step is taken.
        test: Text of the condition that the step stands under.
        steps: Text of the number of batches for each step.
        clears_each_batch: The call that clears gradients outside of that condition, if one does.
    """

    backward: Backward
    update: Update
    test: str
    steps: str
    clears_each_batch: CallSite | None = None


def _last_part(text: str) -> str:
    """The last name of `self.optimizers[0]`: `optimizers`."""
    return re.sub(r"(?:\[[^\[\]]*\]|\(\))+$", "", text).rpartition(".")[2]


def is_optimizer(text: str, origin: Origin | None = None) -> bool:
    """Whether something is an optimiser, by the call that made it or else by its name.

    Example:
        >>> is_optimizer("self.optimizer_G"), is_optimizer("opt_sched"), is_optimizer("prof")
        (True, False, False)
    """
    if origin is not None and origin.name.startswith("torch.optim."):
        return "lr_scheduler" not in origin.name and "swa_utils" not in origin.name
    part = _last_part(text)
    return "sched" not in part.lower() and _OPTIMIZER.fullmatch(part) is not None


def is_scheduler(text: str, origin: Origin | None = None) -> bool:
    """Whether something is a learning rate scheduler, by the call that made it or else by its name.

    Example:
        >>> is_scheduler("self.lr_scheduler"), is_scheduler("noise_scheduler")
        (True, False)
    """
    if origin is not None and "lr_scheduler" in origin.name:
        return True
    part = _last_part(text).lower()
    return re.fullmatch(r"(?:\w*_)?(?:lr_?|optim\w*_)?sched(?:uler)?s?(?:_\w+|\d+)?", part) is not None and not (
        "noise" in part or "task" in part
    )


def backwards(file: SourceFile) -> Iterator[Backward]:
    """Every place where gradients are computed, in the order of the text."""
    for call in file.calls:
        if call.name == "torch.autograd.backward" and call.arguments:
            yield Backward(call, call.arguments[0].code, call.arguments[0].span, "plain")
        elif call.method == "manual_backward" and call.arguments:
            yield Backward(call, call.arguments[0].code, call.arguments[0].span, "delegated")
        elif call.method == "backward" and call.receiver is not None and call.name.startswith("."):
            yield _backward(file, call, call.receiver)


def _backward(file: SourceFile, call: CallSite, receiver: str) -> Backward:
    inside = (inner for inner in file.calls_in(call.span) if inner.method == "scale" and inner.span != call.span)
    scale = next(inside, None)
    if scale is not None and scale.arguments and receiver.endswith(scale.code):
        return Backward(call, scale.arguments[0].code, scale.arguments[0].span, "scaled")
    if call.arguments and _DELEGATES.search(receiver):
        return Backward(call, call.arguments[0].code, call.arguments[0].span, "delegated")
    scaled = _scaled_before(file, call, receiver)
    if scaled is not None:
        return Backward(call, scaled.code, scaled.span, "scaled")
    start = call.span
    lines = receiver.split("\n")
    column = len(lines[-1]) + (start.start_column if len(lines) == 1 else 0)
    end = (start.start_line + len(lines) - 1, column)
    return Backward(call, receiver, Span(start.start_line, start.start_column, *end), "plain")


def _scaled_before(file: SourceFile, call: CallSite, loss: str) -> Argument | None:
    """What was scaled where `loss = scaler.scale(loss)` stands above `loss.backward()`."""
    given = [
        item
        for item in file.assignments
        if item.target == loss and item.function == call.function and item.span.start < call.span.start
    ]
    made = given[-1].call if given else None
    return made.arguments[0] if made is not None and made.method == "scale" and made.arguments else None


def updates(file: SourceFile) -> Iterator[Update]:
    """Every place where an optimiser takes a step, in the order of the text."""
    for call in file.calls:
        if call.method != "step" or call.receiver is None:
            continue
        first = call.arguments[0] if call.arguments else None
        if first is not None and first.name in (None, "optimizer") and is_optimizer(first.code, first.origin):
            yield Update(call, first.code, first.origin, call.receiver)
        elif is_optimizer(call.receiver, call.receiver_origin) and len(call.arguments) <= 1:
            yield Update(call, call.receiver, call.receiver_origin)


def clears_gradients(file: SourceFile, span: Span) -> bool:
    """Whether gradients are set to zero or `None` in a stretch, by whatever means."""
    for call in file.calls_in(span):
        if _CLEARING.search(call.method) or any(_CLEARING.search(a.name or "") for a in call.arguments):
            return True
        if call.method in ("zero_", "fill_", "setattr", "map") and "grad" in call.code:
            return True
    return any(a.target.endswith(".grad") and span.contains(a.span) for a in file.assignments)


def accumulations(file: SourceFile) -> Iterator[Accumulation]:
    """Every loop that accumulates gradients by hand."""
    found = list(backwards(file))
    for update in updates(file):
        tests = [(test, _EVERY.search(test)) for test in update.call.conditions if not test.startswith("not (")]
        every = next(((test, match["steps"]) for test, match in tests if match), None)
        loop = loop_around(file, update.call.span)
        if every is None or loop is None or every[1] == "1":
            continue
        test, steps = every
        here = [b for b in found if loop_around(file, b.call.span) == loop]
        if len(here) != 1 or test in here[0].call.conditions:
            # A loss of its own under the same condition: an update that is rare on purpose.
            continue
        clearing = [
            c for c in file.calls_in(loop.span) if c.method == "zero_grad" and loop_around(file, c.span) == loop
        ]
        under = [call for call in clearing if any(_same_rhythm(other, steps) for other in call.conditions)]
        always = [call for call in clearing if not call.conditions and call.receiver == update.optimizer]
        if under and not always:
            yield Accumulation(here[0], update, test, steps)
        elif always and not under:
            yield Accumulation(here[0], update, test, steps, always[0])


def _same_rhythm(test: str, steps: str) -> bool:
    found = _EVERY.search(test)
    return found is not None and found["steps"] == steps


def loop_around(file: SourceFile, span: Span) -> Loop | None:
    """The innermost `for` or `while` around a stretch in its own function."""
    block = file.function_around(span)
    loops = [loop for loop in file.loops_around(span) if loop.kind != "comprehension"]
    if block is not None:
        loops = [loop for loop in loops if block.span.contains(loop.span)]
    return loops[-1] if loops else None


def scope_of(file: SourceFile, span: Span) -> Span:
    """The function around a stretch, else the whole file."""
    block = file.function_around(span)
    return block.span if block is not None else Span(1, 0, file.text.count("\n") + 2, 0)


_NEIGHBOURS: list[tuple[SourceFile, tuple[SourceFile, ...]]] = []
"""The last file that was asked for, and its neighbours: rules ask again and again for the same one."""


def neighbours(file: SourceFile) -> tuple[SourceFile, ...]:
    """The files of the project that a file imports from, and those that they import from in turn."""
    if _NEIGHBOURS and _NEIGHBOURS[0][0] is file:
        return _NEIGHBOURS[0][1]
    by_name: dict[str, list[SourceFile]] = {}
    for other in file.elsewhere:
        parts = re.split(r"[/\\]", other.path.removesuffix(".py"))
        name = parts[-2] if parts[-1] == "__init__" and len(parts) > 1 else parts[-1]
        by_name.setdefault(name, []).append(other)
    found: dict[str, SourceFile] = {}
    waiting = [file]
    for _ in range(2):
        names = {part for source in waiting for full in source.imports.values() for part in full.split(".")[-2:]}
        new = [other for name in names for other in by_name.get(name, ()) if other.path not in found]
        found.update({other.path: other for other in new})
        waiting = new
    _NEIGHBOURS[:] = [(file, tuple(found.values()))]
    return _NEIGHBOURS[0][1]


def callees(file: SourceFile, span: Span, depth: int = _DEEPEST) -> Iterator[tuple[SourceFile, FunctionBlock]]:
    """The project's own functions that are called in a stretch, and those that they call in turn."""
    waiting, seen = [(file, span, depth)], set()
    while waiting:
        place, stretch, left = waiting.pop()
        wanted = {call.method for call in place.calls_in(stretch) if _may_be_own(call)}
        for other in (file, *neighbours(file)):
            for block in other.functions:
                key = (other.path, block.name, block.span.start)
                if block.name.rpartition(".")[2] in wanted and key not in seen:
                    seen.add(key)
                    yield other, block
                    if left > 1:
                        waiting.append((other, block.span, left - 1))


def _may_be_own(call: CallSite) -> bool:
    return call.receiver in (None, "self") or call.method not in _COMMON


def reaches(file: SourceFile, span: Span, test: Callable[[SourceFile, Span], bool]) -> bool:
    """Whether something holds in a stretch or in one of the project's own functions that are called there."""
    return test(file, span) or any(test(other, block.span) for other, block in callees(file, span))


def unwrapped(origin: Origin | None) -> Origin | None:
    """The model inside of `DataParallel`, `DistributedDataParallel` or `torch.compile`."""
    while origin is not None and origin.name in _WRAPPERS and origin.call.arguments:
        origin = origin.call.arguments[0].origin
    return origin


def assigned_calls(file: SourceFile, name: str, span: Span) -> Iterator[CallSite]:
    """The calls whose results a name is given in a stretch, in the order of the text."""
    for item in file.assignments:
        if item.target == name and item.call is not None and span.contains(item.span):
            yield item.call


def constant_name(file: SourceFile, argument: Argument | None) -> str | None:
    """The qualified name that an argument spells, such as `torch.float16`; through a name that is given once.

    A value that depends on anything is `None`, as is a missing argument.
    """
    if argument is None:
        return None
    code = argument.code
    given = [item for item in file.assignments if item.target == code]
    if len(given) == 1 and not given[0].operator and not given[0].conditions:
        code = given[0].code
    elif given:
        return None
    head, _, rest = code.partition(".")
    if not re.fullmatch(r"[A-Za-z_][\w.]*", code) or head not in file.imports:
        return None
    return f"{file.imports[head]}.{rest}" if rest else file.imports[head]


def _line(file: SourceFile, number: int) -> str:
    lines = re.split(r"\r\n|\r|\n", file.text)
    return lines[number - 1] if number <= len(lines) else ""


def stands_alone(file: SourceFile, span: Span) -> bool:
    """Whether nothing but a comment stands on the lines of a stretch: it is a statement, or the right side of one."""
    before = _line(file, span.start_line)[: span.start_column]
    after = _line(file, span.end_line)[span.end_column :].strip()
    return re.fullmatch(r"\s*(?:[\w.\[\], ]+ = )?", before) is not None and (not after or after.startswith("#"))


def _indent(file: SourceFile, span: Span) -> str:
    line = _line(file, span.start_line)
    return line[: len(line) - len(line.lstrip())]


def remove(file: SourceFile, span: Span) -> Edit | None:
    """The lines of a statement taken out; `None` where it shares them with others."""
    if not stands_alone(file, span) or _line(file, span.start_line)[: span.start_column].strip():
        return None
    return file.edit(Span(span.start_line, 0, span.end_line + 1, 0), "")


def insert_after(file: SourceFile, span: Span, *statements: str) -> Edit | None:
    """Statements on lines of their own below a statement; `None` where it shares its line with others."""
    if not stands_alone(file, span):
        return None
    indent = _indent(file, span)
    end = len(_line(file, span.end_line))
    break_ = "\r\n" if "\r\n" in file.text else "\n"
    text = "".join(f"{break_}{indent}{statement}" for statement in statements)
    return file.edit(Span(span.end_line, end, span.end_line, end), text)


def insert_before(file: SourceFile, span: Span, *statements: str) -> Edit | None:
    """Statements on lines of their own above a statement; `None` where it shares its line with others."""
    if not stands_alone(file, span):
        return None
    indent = _indent(file, span)
    break_ = "\r\n" if "\r\n" in file.text else "\n"
    text = "".join(f"{indent}{statement}{break_}" for statement in statements)
    return file.edit(Span(span.start_line, 0, span.start_line, 0), text)
