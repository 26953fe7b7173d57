"""A tensor that the backward pass needs was changed in place.

What happens
------------
`backward()` stops with `RuntimeError: one of the variables needed for gradient computation has been modified by an
inplace operation: [torch.FloatTensor [4, 64, 56, 56]], which is output 0 of Relu, is at version 1; expected version 0
instead.` Relatives are `a leaf Variable that requires grad is being used in an in-place operation` and `Output 0 of
Unbind is a view and is being modified inplace`.

Why
---
Every operation keeps what its derivative needs: sigmoid, tanh, exp, softmax and ReLU their output, products both
factors, convolutions and linear layers input and weight. Each tensor counts its in-place changes; when the count has
moved on, the gradient would be wrong, so autograd refuses. Changes come from `x += y`, `x[mask] = 0`, methods that end
in `_`, `inplace=True`, and from `optimizer.step()`, which changes the weights: a second loss that was computed before
the step can no longer be sent backward after it. Buffers change in place as well, when `DistributedDataParallel` sends
them around between two forward passes.

How to confirm
--------------
`torch.autograd.set_detect_anomaly(True)` prints a second traceback, of the forward operation whose tensor was changed.
The message names the tensor: a shape with "output 0 of Relu" is an activation, one without is a weight or a buffer.

Fix
---
Activation: write `x = x + y`, `torch.where(...)`, `x.clone()` before an indexed assignment, `inplace=False`. Weights
(GAN, two optimisers): send all losses backward before the first `step()`, or compute the second loss again after it.
Leaf: `with torch.no_grad():` around the assignment. Buffers under DDP: one forward pass for both inputs, or
`broadcast_buffers=False`.

When it is something else
-------------------------
`Trying to backward through the graph a second time` is a freed graph: `backward-twice`. `retain_graph=True` cures that
one and often leads straight to this one.

Sources
-------
- In-place operations and autograd:
  https://docs.pytorch.org/docs/stable/notes/autograd.html#in-place-operations-with-autograd
- Anomaly detection: https://docs.pytorch.org/docs/stable/autograd.html#anomaly-detection
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.finding import Evidence, Fix, FixSafety, Level, Location
from snellen.core.log import Frame, Log, LogMatch
from snellen.core.logs.messages import Message, find_message
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Assignment, CallSite, FunctionBlock, Hit, SourceFile, Span

__all__ = ["RULE"]

_MODIFIED = re.compile(
    r"needed for gradient computation has been modified by an in-?place operation"
    r"(?:: \[(?P<type>[\w.]{1,40}) (?P<shape>\[[\d, ]{0,60}\])\](?:, which is output \d+ of (?P<made>[\w:<>]{1,60}),)?"
    r"(?: is at version (?P<now>\d+); expected version (?P<then>\d+))?)?",
    re.IGNORECASE,
)
_LEAF = re.compile(
    r"a (?P<view>view of a )?leaf variable that requires grad (?:is being|has been) used in an in-?place operation"
    r"|leaf variable has been moved into the graph interior",
    re.IGNORECASE,
)
_VIEW = re.compile(
    r"output \d+ of (?P<made>\w+) is a view and (?:is being|its base or another view of its base has been) modified "
    r"inplace",
    re.IGNORECASE,
)
_NOT_AN_ACTIVATION = re.compile(r"^(?:T|AsStrided|AccumulateGrad|View|UnsafeView|Expand|Unsqueeze)(?:Backward\d*)?$")
_FORWARD = re.compile(r"Error detected in (?P<operation>\w+)\.? .{0,80}Traceback of forward call", re.IGNORECASE)
_FILE = re.compile(r'^\s*File "(?P<path>[^"]+)", line (?P<line>\d+), in (?P<function>.+)$')


def _examine(log: Log) -> LogMatch | None:
    said = find_message(log, _MODIFIED)
    if said is not None:
        culprit = _forward_frame(log)
        evidence = (*said.facts, *((culprit.evidence,) if culprit else ()))
        return LogMatch(0.97 if said.first else 0.8, evidence, _cause(said, culprit), Fix(_advice(said, culprit, log)))
    if said := find_message(log, _VIEW):
        made = _operation(said.match["made"])
        cause = f"A view that `{made}` gave is changed in place{said.place}; autograd cannot follow that."
        fix = Fix("Clone it first, `x = x.clone()`, or compute a new tensor instead of changing this one.")
        return LogMatch(0.85 if said.first else 0.7, said.facts, cause, fix)
    if said := find_message(log, _LEAF):
        what = "part of a parameter" if said.match.groupdict().get("view") else "a parameter"
        cause = f"{what.capitalize()} is changed in place while autograd watches{said.place}."
        fix = Fix(
            f"Set values of parameters under `with torch.no_grad():`{_as_written(said)}; to compute with a changed "
            "copy, clone it first."
        )
        return LogMatch(0.85 if said.first else 0.7, said.facts, cause, fix)
    return None


def _as_written(said: Message) -> str:
    return f" (`{said.frame.code}`)" if said.frame is not None and said.frame.code and not said.frame.in_library else ""


def _operation(name: str) -> str:
    """`relu` of `ReluBackward0`, `Relu`."""
    return re.sub(r"(?:Backward)?\d*$", "", name).lower()


def _forward_frame(log: Log) -> Frame | None:
    """The user's line in the forward pass that anomaly detection names."""
    start = next((i for i, line in enumerate(log.lines) if _FORWARD.search(line.text)), None)
    if start is None:
        return None
    found: Frame | None = None
    for i, line in enumerate(log.lines[start + 1 : start + 120], start + 1):
        match = _FILE.match(line.text)
        if match:
            code = log.lines[i + 1].text.strip() if i + 1 < len(log.lines) else ""
            frame = Frame(match["path"], int(match["line"]), match["function"].strip(), code)
            found = found if frame.in_library else frame
        elif "Traceback (most recent call last)" in line.text or "Triggered internally" in line.text:
            break
    return found


def _tensor(said: Message) -> tuple[str, str]:
    """What kind of tensor was changed, and the operation that made it: (activation, relu), (parameter, '')."""
    made, shape = said.match["made"], said.match["shape"]
    if made and not _NOT_AN_ACTIVATION.match(made):
        return "activation", _operation(made)
    if shape is None:
        return "", ""
    axes = len(re.findall(r"\d+", shape))
    return ("vector" if axes <= 1 else "parameter"), ""


def _cause(said: Message, culprit: Frame | None) -> str:
    kind, operation = _tensor(said)
    where = f" It was computed in {culprit.path}:{culprit.line}: `{culprit.code}`." if culprit else ""
    if not kind:
        return f"A tensor that the backward pass needs was changed in place.{where}"
    versions = (
        f"version {said.match['now']} instead of {said.match['then']}" if said.match["now"] else "a later version"
    )
    shape = said.match["shape"]
    if kind == "activation":
        result = f"The result of `{operation}`, shape {shape}"
        return f"{result}, was changed in place after it was computed ({versions}).{where}"
    what = "A parameter or buffer" if kind == "vector" else "A weight"
    return f"{what} of shape {shape} was changed between forward and backward ({versions}).{where}"


def _advice(said: Message, culprit: Frame | None, log: Log) -> str:
    kind, operation = _tensor(said)
    distributed = log.search(r"DistributedDataParallel|\bDDP\b|torchrun|local_rank|SyncBatchNorm") is not None
    if kind == "vector" and distributed:
        return (
            "Under DDP two forward passes before one backward pass overwrite the buffers (running statistics): pass "
            "both inputs at once, or `DistributedDataParallel(..., broadcast_buffers=False)`."
        )
    if kind in ("parameter", "vector"):
        return (
            "An optimiser stepped before this loss was sent backward: call `backward()` of every loss first and "
            "then every `step()`, or compute this loss again after the step (`detach()` what belongs to the other "
            "network)."
        )
    name = re.match(r"([A-Za-z_]\w*)\s*=", culprit.code) if culprit else None
    variable = name[1] if name else "x"
    made = f" after `{culprit.code}`" if culprit and culprit.code else f" after the `{operation}`" if operation else ""
    return (
        f"Look for `{variable} += ...`, `{variable}[...] = ...`, a method ending in `_` or `inplace=True`{made}, "
        f"and write `{variable} = {variable} + ...`, `torch.where` or `{variable} = {variable}.clone()` instead."
    )


_KEEP_RESULT = frozenset(
    (
        *(f"torch.{name}" for name in ("sigmoid", "tanh", "exp", "relu", "softmax", "sqrt", "rsqrt", "log_softmax")),
        *(f"torch.nn.functional.{name}" for name in ("relu", "sigmoid", "tanh", "softmax", "log_softmax")),
        *(f"torch.nn.{name}.forward" for name in ("ReLU", "Sigmoid", "Tanh", "Softmax", "LogSoftmax")),
        *(f".{name}" for name in ("sigmoid", "tanh", "relu", "softmax", "log_softmax")),
    )
)
"""What keeps its own result for the backward pass."""
_CHANGING = re.compile(r"(?<!_)_$")
_NOT_TRAINED = re.compile(r"training|export|onnx|infer|eval|test", re.IGNORECASE)
_HARMLESS = frozenset({"requires_grad_", "detach_", "retain_", "rename_", "share_memory_", "apply_"})


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    custom = {block.name for block in file.classes if any(base.endswith("Function") for base in block.bases)}
    for function in file.functions:
        if function.name.rpartition(".")[0] in custom:
            # What a function of its own keeps for the backward pass it says itself.
            continue
        if "forward" not in function.name.rpartition(".")[2] or "no_grad" in " ".join(function.decorators):
            continue
        inside = [item for item in file.assignments if function.span.contains(item.span)]
        for made in inside:
            if (
                made.call is None
                or made.call.name not in _KEEP_RESULT
                or made.operator
                or not made.target.isidentifier()
            ):
                continue
            if _NO_GRADIENT & set(made.call.contexts) or not _has_history(made, function, inside):
                continue
            change = _first_change(file, function, inside, made)
            if change is not None:
                yield _hit(file, made, *change)


_NO_GRADIENT = frozenset({"torch.no_grad", "torch.inference_mode"})


def _has_history(made: Assignment, function: FunctionBlock, inside: list[Assignment]) -> bool:
    """Whether what went into the operation was itself computed: an input image needs no gradient."""
    call = made.call
    first = call.arguments[0].code if call is not None and call.arguments else ""
    given = (call.receiver or "") if call is not None and call.name.startswith(".") else first
    if "(" in given:
        return True
    return given not in function.parameters or any(
        item.target == given and item.call is not None and item.span.start < made.span.start for item in inside
    )


def _first_change(
    file: SourceFile, function: FunctionBlock, inside: list[Assignment], made: Assignment
) -> tuple[Span, str, Assignment | None] | None:
    """The next thing that happens to the name, when that changes the tensor in place on the same path."""
    name, word = made.target, rf"{re.escape(made.target)}\s*\["
    steps: list[tuple[Span, str, Assignment | None]] = []
    for item in inside:
        after = item.span.start > made.span.end
        if after and name in re.split(r"[\s,]+", item.target.strip("()[] ")):
            steps.append((item.span, f"{name} {item.operator}= ..." if item.operator else "", item))
        elif after and re.match(word, item.target):
            steps.append((item.span, f"{item.target} {item.operator}= ...", item))
    later = (c for c in file.calls_in(function.span) if c.receiver == name and c.span.start > made.span.end)
    steps += [(call.span, call.code, None) for call in later if _changes(call)]
    steps.sort(key=lambda step: step[0].start)
    if not steps or not steps[0][1]:
        return None
    first = steps[0]
    conditions = first[2].conditions if first[2] is not None else _conditions(file, first[0])
    same_path = conditions[: len(made.conditions)] == made.conditions
    return first if same_path and not any(_NOT_TRAINED.search(test) for test in conditions) else None


def _changes(call: CallSite) -> bool:
    return bool(_CHANGING.search(call.method)) and call.method not in _HARMLESS


def _conditions(file: SourceFile, span: Span) -> tuple[str, ...]:
    return next((call.conditions for call in file.calls if call.span == span), ())


def _hit(file: SourceFile, made: Assignment, span: Span, text: str, item: Assignment | None) -> Hit:
    function = made.call.method if made.call is not None else ""
    operation = made.code.partition("(")[0] if function == "forward" else function
    message = f"`{text}` changes in place what `{operation}` keeps for the backward pass"
    place = Location(file.path, made.span.start_line, made.span.start_column + 1)
    evidence = (Evidence(f"{made.target} = {made.code}", place),)
    name = made.target
    if item is None or item.target != name or item.operator not in ("+", "-", "*", "/"):
        fix = Fix(f"Work on a copy: `{name} = {name}.clone()` before it, or compute a new tensor.")
        return Hit(message, span, fix, evidence)
    line = file.text.split("\n")[span.start_line - 1]
    start = len(line[: span.start_column]) - len(line[: span.start_column].lstrip())
    head = re.fullmatch(rf"\s*{re.escape(name)}\s*{re.escape(item.operator)}=\s*", line[: span.start_column])
    value = f"({item.code})" if item.operator != "+" and re.search(r"[^\w.()\[\]]", item.code) else item.code
    new = f"{name} = {name} {item.operator} {value}"
    if head is None:
        return Hit(message, span, Fix(f"Write `{new}`."), evidence)
    edit = file.edit(Span(span.start_line, start, span.end_line, span.end_column), new)
    between = _between(file, made.span, span)
    seen = re.search(rf"\b{re.escape(name)}\b", between) is not None
    reason = (
        f"what else was made of `{name}` in between may share its memory"
        if seen
        else "nothing else holds the tensor, so a new one with the same numbers makes no difference"
    )
    safety = FixSafety.UNSAFE if seen else FixSafety.SAFE
    return Hit(message, span, Fix(f"Write `{new}`.", safety, reason, (edit,)), evidence)


def _between(file: SourceFile, first: Span, second: Span) -> str:
    """The text from the end of one stretch to the line of the next."""
    lines = file.text.split("\n")
    return "\n".join([lines[first.end_line - 1][first.end_column :], *lines[first.end_line : second.start_line - 1]])


RULE = Rule(
    slug="inplace-modified",
    family="autograd",
    title="A tensor needed for the gradient was changed in place",
    level=Level.ERROR,
    log=LogFacet(("inplace operation", "in-place operation", "modified inplace", "graph interior"), _examine),
    source=SourceFacet(("forward",), _examine_source),
    before=absent("which tensors are changed in place is written in the code, not in the plan"),
    during=absent("the exception comes before the step ends"),
    module=__name__,
)
