"""`view` is asked to merge axes that do not lie one after the other in memory.

What happens
------------
`RuntimeError: view size is not compatible with input tensor's size and stride (at least one dimension spans across
two contiguous subspaces). Use .reshape(...) instead.` Older versions end with `Call .contiguous() before .view()`.

Why
---
`permute`, `transpose` and `.t()` move no numbers, they only change the order in which the axes are read. `view` moves
none either, so it cannot merge axes that were put out of order. The same goes for tensors in channels last, for
slices of columns, and for the result of an element-wise operation on a transposed tensor, which keeps its order
since PyTorch 1.7: that is why the accuracy function of many older repositories, `correct[:k].view(-1)` after
`pred.t()`, stopped working.

How to confirm
--------------
`print(x.shape, x.stride(), x.is_contiguous())` in front of the line.

Fix
---
`reshape` instead of `view`: it is a view where that is possible and a copy where it is not. `x.contiguous().view(...)`
does the same. Without such a line of your own, as with an error inside `loss.backward()`, make the tensor contiguous
where it was permuted.

When it is something else
-------------------------
`shape '[...]' is invalid for input of size ...` is a wrong number of elements, not an order: `patch-multiple` when
it cuts windows or patches. A `reshape` that runs but mixes up rows and channels is `layout-scrambled`.

Sources
-------
- `torch.Tensor.view`: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.view.html
- `torch.reshape`: https://docs.pytorch.org/docs/stable/generated/torch.reshape.html
- Tensor views: https://docs.pytorch.org/docs/stable/tensor_view.html
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from snellen.core.code.makers import Makers
from snellen.core.finding import Fix, FixSafety, Level
from snellen.core.log import Frame, Log, LogMatch
from snellen.core.logs.messages import find_message
from snellen.core.passes import before_by_passing
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, SourceFile

__all__ = ["RULE"]

_MESSAGE = re.compile(
    r"view size is not compatible with input tensor'?s size and stride|input is not contiguous at |"
    r"call \.contiguous\(\) before \.view|cannot view a tensor with shape [^\n]{0,120}strides",
    re.IGNORECASE,
)
_VIEW = re.compile(r"\.view\(")
_BACKWARD = re.compile(r"\.backward\(|autograd\.(?:grad|backward)|run_backward|_engine_run_backward")


def _examine_log(log: Log) -> LogMatch | None:
    told = find_message(log, _MESSAGE)
    if told is None:
        return None
    frames = told.error.frames if told.error is not None else ()
    frame = next((frame for frame in reversed(frames) if _VIEW.search(frame.code)), None)
    if frame is not None:
        cause = (
            f"`{_viewed(frame)}` is not contiguous: a permute, a transpose or a slice changed the order of its axes."
        )
        instead = _VIEW.sub(".reshape(", frame.code.strip())
        return LogMatch(0.98, (told.evidence, frame.evidence), cause, Fix(f"Write `{instead}`."))
    if _BACKWARD.search(told.code):
        cause = "A gradient is viewed in the backward pass, and it does not lie in memory in the order of its axes."
        fix = Fix("Put `.contiguous()` behind the `permute` or `transpose` of the forward pass; on MPS update PyTorch.")
        return LogMatch(0.9, told.facts, cause, fix)
    cause = "A tensor that a permute, a transpose or a slice has put out of order is viewed."
    return LogMatch(0.96, told.facts, cause, Fix("Write `.reshape(...)` instead of `.view(...)` on that line."))


def _viewed(frame: Frame) -> str:
    """What `view` is called on, read backwards from it: names, attributes and what stands in brackets."""
    code = frame.code[: frame.code.index(".view(")]
    depth = 0
    for place in range(len(code) - 1, -1, -1):
        letter = code[place]
        depth += (letter in ")]") - (letter in "([")
        if depth < 0 or (depth == 0 and not (letter.isalnum() or letter in "_.()[]")):
            return code[place + 1 :]
    return code.strip()


_KEEPS_ORDER = frozenset({"float", "half", "double", "bfloat16", "detach", "cpu", "cuda", "long"})
_MOVES = re.compile(r"permute|transpose|swap(?:axes|dims)|moveaxis|movedim|rearrange|channels_last|\.m?T\b|\.t\(\)")
_SWAPS = frozenset({"transpose", "swapaxes", "swapdims"})


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    makers = Makers(file)
    for call in file.calls:
        if call.method != "view" or call.receiver is None:
            continue
        axes = _axes_wanted(call)
        if axes is None:
            continue
        reason = _out_of_order(file, makers, call, axes) or _matched_in_columns(makers, call, axes)
        if reason is not None:
            yield Hit(reason, call.span, _fix(file, call))


def _axes_wanted(call: CallSite) -> int | None:
    """How many axes the result has; `None` when the text does not say."""
    if any(argument.name or argument.code.startswith("*") for argument in call.arguments):
        return None
    values = [argument.value for argument in call.arguments]
    if len(values) == 1:
        return len(values[0]) if isinstance(values[0], tuple) else 1 if values[0] == -1 else None
    return len(values) or None


def _out_of_order(file: SourceFile, makers: Makers, call: CallSite, axes: int) -> str | None:
    """What permuted the tensor, when more runs of axes are left than the result has axes to hold them."""
    maker = makers.of_receiver(call)
    while maker is not None and maker.method in _KEEPS_ORDER and maker.receiver is not None and not maker.conditions:
        maker = makers.of_receiver(maker)
    if maker is None:
        return "the transposed tensor is out of order in memory" if _attribute(call) and axes == 1 else None
    runs = _runs(maker)
    before = makers.of_receiver(maker)
    if runs is None or axes >= runs or maker.conditions or _moved_before(file, maker, before):
        return None
    return f"`{maker.method}` leaves {runs} runs of axes in memory, and `view` would have to make {axes} of them"


def _moved_before(file: SourceFile, maker: CallSite, before: CallSite | None) -> bool:
    """Whether the axes may have been out of order before they were moved, so that this brings them back."""
    if before is not None and _runs(before) is not None:
        return True
    name = maker.receiver or (maker.arguments[0].code if maker.arguments else "")
    others = (a.code for a in file.assignments if a.target == name and a.function == maker.function and a.call != maker)
    return any(_MOVES.search(code) for code in others)


def _attribute(call: CallSite) -> bool:
    return call.receiver is not None and call.receiver.endswith((".T", ".mT"))


def _runs(maker: CallSite) -> int | None:
    """How many runs of neighbouring axes a permuted tensor consists of, at the least; `None` when it is none."""
    values = [argument.value for argument in maker.arguments if argument.name is None]
    if maker.method == "t" and not maker.arguments:
        return 2
    if maker.receiver is None and maker.name not in ("torch.permute", "torch.transpose"):
        return None
    if maker.receiver is None:
        values = values[1:]
    if len(values) == 1 and isinstance(values[0], tuple):
        values = list(values[0])
    axes = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    if len(axes) != len(values) or not axes or len(maker.arguments) > len(values) + 1:
        return None
    if maker.method == "permute":
        order = [axis % len(axes) for axis in axes]
        breaks = sum(after != axis + 1 for axis, after in itertools.pairwise(order))
        return breaks + 1 if breaks and sorted(order) == list(range(len(order))) else None
    if maker.method in _SWAPS and len(axes) == 2 and axes[0] != axes[1] and (axes[0] < 0) == (axes[1] < 0):
        low, high = sorted(axes)
        # Of the axes around the two nothing is known; between them at most one run may lie.
        return (1 if low > 0 else 0) + 2 + (1 if high - low > 1 else 0)
    return None


def _matched_in_columns(makers: Makers, call: CallSite, axes: int) -> str | None:
    """`correct[:k].view(-1)` where `correct` compares transposed predictions: the classic accuracy function."""
    sliced = re.fullmatch(r"(?P<name>[A-Za-z_]\w*)\[:[^\[\]:,]+\]", call.receiver or "")
    if sliced is None or axes != 1 or sliced["name"] == "self":
        return None
    compared = makers.assignment(sliced["name"], call.function, call.span)
    if compared is None:
        return None
    left = re.match(r"\(?(?P<name>[A-Za-z_]\w*)\s*(?:\.eq\(|==)", compared.code)
    made = makers.assignment(left["name"], call.function, compared.span) if left is not None else None
    if left is None or made is None or re.search(r"contiguous|reshape", compared.code):
        return None
    if not re.search(r"\.(?:t\(\)|T|transpose\([^()]{1,20}\))$", made.code):
        return None
    return (
        f"`{left['name']}` was transposed, so the rows of `{sliced['name']}` do not lie one after the other in memory"
    )


def _fix(file: SourceFile, call: CallSite) -> Fix:
    rest = call.code[len(call.receiver or "") :]
    changed, count = re.subn(r"^(\s*\.\s*)view(\s*\()", r"\1reshape\2", rest)
    if not count or call.receiver is None or not call.code.startswith(call.receiver):
        return Fix("Write `reshape` instead of `view`.")
    return Fix(
        "Write `reshape` instead of `view`.",
        FixSafety.SAFE,
        "where `view` works `reshape` returns the same view",
        edits=(file.edit(call.span, call.receiver + changed),),
    )


RULE = Rule(
    slug="view-stride",
    family="shapes",
    title="view is asked to merge axes that are out of order in memory",
    level=Level.ERROR,
    log=LogFacet(
        ("view size is not", "not contiguous at", "contiguous() before", "cannot view a tensor"), _examine_log
    ),
    source=SourceFacet((".view(",), _examine_source),
    before=before_by_passing("view-stride"),
    during=absent("the line fails the first time it runs"),
    module=__name__,
)
