"""Tensors of one operation stand on different devices.

What happens
------------
`RuntimeError: Expected all tensors to be on the same device, but found at least two devices, cpu and cuda:0!`, often
with `(when checking argument for argument mat1 in method wrapper_CUDA_addmm)`. The same mistake also reads `Input type
(torch.FloatTensor) and weight type (torch.cuda.FloatTensor) should be the same`, `indices should be either on cpu or
on the same device as the indexed tensor`, or `can't convert cuda:0 device type tensor to numpy`.

Why
---
PyTorch never moves a tensor by itself. `model.to(device)` moves parameters and registered buffers, and nothing else:
not the batch, not a tensor made inside `forward` (`torch.zeros(n)` is on the CPU), not a plain attribute `self.mean =
torch.tensor(...)`. `tensor.to(device)` gives a new tensor and leaves the old one; a list or a dict is not moved at
all. On several GPUs a hard-coded `cuda:0` inside the model meets a replica on `cuda:1`.

How to confirm
--------------
Print `.device` of every operand on the line before, and `next(model.parameters()).device`. The argument that the
message names in brackets is the odd one: it stands on the second of the two devices.

Fix
---
Move model and batch once, to the same `device`, and assign the result: `images = images.to(device)`. Make tensors
inside `forward` with `device=x.device`. Register constants with `self.register_buffer("mean", ...)`. Give NumPy
`x.detach().cpu().numpy()`.

When it is something else
-------------------------
`Input type (torch.cuda.FloatTensor) and weight type (torch.cuda.HalfTensor)` are on one device: `dtype-mismatch`.
`Attempting to deserialize object on a CUDA device` is a checkpoint loaded where no GPU is: `cpu-only-torch`, or
`torch.load(..., map_location="cpu")`.

Sources
-------
- `Module.to` and `Tensor.to`: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html
- Buffers: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.register_buffer
- Device-agnostic code: https://docs.pytorch.org/docs/stable/notes/cuda.html#device-agnostic-code
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from snellen.core.finding import Fix, FixSafety, Level
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, called_with, find_message, narrowed, tensor_type
from snellen.core.passes import before_by_passing
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Assignment, CallSite, FunctionBlock, Hit, SourceFile, Span

__all__ = ["RULE"]

_DEVICE = r"(?:cpu|cuda|mps|xpu|npu|meta|hip|xla|gpu)(?::\d+)?"
_TYPE = r"[\w.:\[\]]{3,40}?"
_PAIRS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # The argument in brackets stands on the second device.
        (
            rf"at least two devices, (?P<others>{_DEVICE}) and (?P<device>{_DEVICE})"
            r"(?:.{0,4}\(when checking (?:argument for )?argument (?P<name>\w+) in method (?P<method>\w+))?"
        ),
        (
            rf"but got (?P<name>\w+) is on (?P<device>{_DEVICE}), different from other tensors on (?P<others>{_DEVICE})"
            r"(?: \(when checking argument in method (?P<method>\w+))?"
        ),
        rf"(?P<name>input) type \((?P<device>{_TYPE})\) and (?:weight|bias) type \((?P<others>{_TYPE})\) should",
        (
            r"expected object of (?:backend|device type) (?P<others>\w+) but got (?:backend|device type) "
            r"(?P<device>\w+)(?: for argument #\d+ '(?P<name>\w+)'(?: in call to (?P<method>\w+))?)?"
        ),
        (
            r"expected (?:object of )?type (?P<others>[\w.\[\]]+) but (?:found|got) type (?P<device>[\w.\[\]]+)"
            r"(?: for argument #\d+ '(?P<name>\w+)')?"
        ),
        r"expected (?:type )?(?P<others>[\w.]+) but (?:found|got) (?P<device>[\w.]+(?:tensor|type))",
        rf"expected device (?P<others>{_DEVICE})(?: and dtype \w+)? but got device (?P<device>{_DEVICE})",
        r"expected backend (?P<others>\w+)(?: and dtype \w+)? but got backend (?P<device>\w+)",
        r"expected (?P<others>cpu|cuda) tensor \(got (?P<device>cpu|cuda) tensor\)",
        rf"found (?P<name>input) tensor at (?P<device>{_DEVICE}) and \w+ tensor at (?P<others>{_DEVICE})",
        (
            rf"tensor for (?:argument #\d+ )?'(?P<name>\w+)' is on (?P<device>{_DEVICE}).{{0,80}}but expected "
            rf"(?:it|them) to be on (?P<others>{_DEVICE})"
        ),
        (
            r"same device as tensor for argument #\d+ '(?P<name>\w+)'; but device (?P<others>\S+) does not equal "
            r"(?P<device>\w+)"
        ),
        (
            rf"parameters and buffers on device:? (?P<others>{_DEVICE}).{{0,40}}but found one of them on device: "
            rf"(?P<device>{_DEVICE})"
        ),
        (
            rf"expected a '(?P<others>{_DEVICE})' (?:generator )?device type for (?P<name>generator) but found "
            rf"'(?P<device>{_DEVICE})'"
        ),
        (
            rf"to be on (?:the )?same device, but (?:input )?(?:a|input|got \w+|condition) is on "
            rf"(?P<others>{_DEVICE}),? "
            rf"and (?:input b|grid|x and y|\w+) (?:is|are) on (?P<device>{_DEVICE})"
        ),
        rf"found two different devices (?P<others>{_DEVICE}), (?P<device>{_DEVICE})",
        rf"(?P<name>input)\(device='(?P<device>{_DEVICE})'\) and weight\(device='?(?P<others>{_DEVICE})",
        rf"tensor on device (?P<device>{_DEVICE}) is not on the expected device (?P<others>{_DEVICE})",
    )
)
_INDEX = re.compile(
    rf"ind(?:ices|ex) should be either (?:on )?cpu or on the same device as the indexed tensor"
    rf"(?: \((?P<device>{_DEVICE}))?",
    re.IGNORECASE,
)
_NUMPY = re.compile(
    rf"can't convert (?P<device>{_DEVICE})(?: device type)? tensor to numpy|can't convert cuda tensor to numpy",
    re.IGNORECASE,
)
_ONE_SIDED = re.compile(
    r"are located on different gpus|(?:must|should|expected?|need|are not|not all|to)\b.{0,40}"
    r"\b(?:on|at|in) the same (?:current )?(?:device|gpu)\b"
    r"|must be on the current device|placeholder storage has not been allocated on mps|passed cpu tensor to mps"
    r"|\b(?:input|dets|boxes|points|weight|\w{1,20}_tensor|tensor|x) must be a cuda tensor"
    r"|cannot be accessed from triton \(cpu tensor\?\)|have the same device(?: type)?, but got",
    re.IGNORECASE,
)
_TRIGGERS = (
    *("same device", "two devices", "two different devices", "expected device", "device type", "got device"),
    *("on device", "current device", "device=", "should be the same", "expected object of", "expected backend"),
    *("expected type", "cuda tensor", "different gpus", "cpu tensor", "to numpy", "indexed tensor"),
    *("tensor at", "on mps", "tensor for ", "same gpu"),
)
_WEIGHTS = frozenset({"weight", "mat2", "bias", "running_mean", "batch2"})
_LAYER_INPUTS = frozenset({"input", "mat1", "batch1", "query"})
_LAYERS = {
    **dict.fromkeys(("index_select", "embedding"), "an embedding lookup"),
    **dict.fromkeys(("addmm", "addmv"), "a linear layer"),
    **dict.fromkeys(("nll_loss", "cross_entropy"), "the loss"),
    **{name: f"`{name}`" for name in ("cat", "stack", "gather", "scatter", "nms")},
    "conv": "a convolution",
    "batch_norm": "a batch norm",
    "layer_norm": "a layer norm",
    "mm": "a matrix product",
}


@dataclass(frozen=True, slots=True)
class _Odd:
    """The tensor that stands elsewhere.

    Args:
        device: Where it is.
        others: Where the others are.
        name: What the operator calls it.
        method: The operator.
    """

    device: str
    others: str
    name: str = ""
    method: str = ""

    @property
    def operation(self) -> str:
        """The operator in words, `""` when the message names none that is known."""
        return next((words for part, words in _LAYERS.items() if part in self.method.lower()), "")


def _examine(log: Log) -> LogMatch | None:
    log = narrowed(log, _TRIGGERS)
    for pattern in _PAIRS:
        said = find_message(log, pattern)
        odd = _odd(said.match) if said else None
        if said is not None and odd is not None:
            return LogMatch(0.97 if said.first else 0.8, said.facts, _cause(odd, said), _fix(odd, said))
    if said := find_message(log, _NUMPY):
        cause = f"A tensor on the GPU is handed to NumPy, which reads only main memory{said.place}."
        return LogMatch(0.85 if said.first else 0.6, said.facts, cause, Fix(f"Write `{_numpy(said)}`."))
    if said := find_message(log, _INDEX):
        device = said.match["device"] or "the CPU"
        cause = f"A tensor on {device} is indexed with one on the GPU{said.place}."
        fix = Fix("Bring the index to the tensor: `x[index.to(x.device)]`, or make both on the same device.")
        return LogMatch(0.95 if said.first else 0.8, said.facts, cause, fix)
    if said := find_message(log, _ONE_SIDED):
        cause = f"One tensor of the operation is on another device than the rest{said.place}."
        fix = Fix("Print `.device` of the operands on that line and move the odd one: `x = x.to(other.device)`.")
        return LogMatch(0.85 if said.first else 0.6, said.facts, cause, fix)
    return None


def _odd(match: re.Match[str]) -> _Odd | None:
    named = match.groupdict()
    device, others = (_device(named[key]) for key in ("device", "others"))
    if device is None or others is None or device == others:
        return None
    return _Odd(device, others, (named.get("name") or "").lower(), named.get("method") or "")


def _device(text: str) -> str | None:
    """The device of `cuda:0`, `torch.cuda.FloatTensor`, `CUDAFloatType`, `CPU`; `None` when it names none."""
    name = text.lower().rstrip("!")
    if re.fullmatch(rf"{_DEVICE}|\d+", name):
        return f"cuda:{name}" if name.isdigit() else "cuda" if name in ("gpu", "hip") else name
    return tensor_type(text).device


def _cause(odd: _Odd, said: Message) -> str:
    operation = f" of {odd.operation}" if odd.operation else ""
    if odd.name in _WEIGHTS:
        return f"The weights{operation} are on {odd.device}, the input is on {odd.others}{said.place}."
    if odd.name in _LAYER_INPUTS:
        return f"The input{operation} is on {odd.device}, the layer's weights are on {odd.others}{said.place}."
    if odd.name:
        return f"`{odd.name}`{operation} is on {odd.device}, the other tensors are on {odd.others}{said.place}."
    return f"One tensor is on {odd.device}, another on {odd.others}{said.place}."


def _fix(odd: _Odd, said: Message) -> Fix:
    call = called_with(said.frame.code if said.frame else "")
    left_behind = odd.device if odd.name in _WEIGHTS else odd.others if odd.name in _LAYER_INPUTS else ""
    if "parameters and buffers on device" in said.match[0].lower():
        text = f"Move the model before it is wrapped: `DataParallel(model.to({odd.others!r}))`."
    elif odd.name == "generator":
        text = f"Make the generator where it draws: `torch.Generator(device={odd.others!r})`."
    elif odd.device.startswith("cuda:") and odd.others.startswith("cuda:"):
        text = (
            f"Two GPUs: something is tied to {odd.device}. Inside the model take the device from the input "
            "(`x.device`) instead of `.cuda()` or a fixed number, and register constants as buffers."
        )
    elif left_behind == "cpu":
        text = (
            "The layer was left on the CPU: call `model.to(device)` before the first batch. If the rest of the model "
            "is on the GPU, this layer is made in `forward` or kept in a plain list: use `nn.ModuleList`."
        )
    elif odd.name in ("target", "index", "indices"):
        text = f"Move `{odd.name}` with the batch and keep the result: `{odd.name} = {odd.name}.to({odd.others!r})`."
    elif "cpu" in (odd.device if odd.name in _LAYER_INPUTS else "", odd.others if odd.name in _WEIGHTS else ""):
        name = call[1] if call is not None and call[1] != "self" else "images"
        there = odd.others if odd.device == "cpu" else odd.device
        text = f"Move the batch and keep the result: `{name} = {name}.to({there!r})`; `.to` changes no tensor in place."
    else:
        where = "cpu" if "cpu" in (odd.device, odd.others) else odd.device
        text = (
            f"Find the tensor that is on {where} on that line: made inside `forward` it needs `device=x.device`, kept "
            "as an attribute `register_buffer`, in a batch `.to(device)`."
        )
    return Fix(text)


def _numpy(said: Message) -> str:
    code = said.frame.code if said.frame else ""
    found = re.search(r"([A-Za-z_][\w.]*(?:\[[^\[\]]{0,30}\])?)\.numpy\(\)", code)
    return f"{found[1]}.detach().cpu().numpy()" if found else "x.detach().cpu().numpy()"


_MAKERS = frozenset(
    f"torch.{name}"
    for name in ("zeros", "ones", "rand", "randn", "randint", "arange", "linspace", "eye", "full", "empty", "tensor")
)
_MOVES = frozenset({"to", "cuda", "type_as", "cpu", "tolist", "item", "numpy", "size", "new_tensor", "expand_as"})
_JOINS = frozenset(
    f"torch.{name}" for name in ("cat", "concat", "stack", "where", "bmm", "matmul", "mm", "dot", "einsum")
)
_PLAIN = r"(?![\w.(\[])"


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    if re.search(r"set_default_(?:device|tensor_type)", file.text):
        return
    seen: set[Span] = set()
    modules = {block.name for block in file.classes if any(base.endswith("Module") for base in block.bases)}
    for function in file.functions:
        owner, _, method = function.name.rpartition(".")
        if owner in modules and not method.startswith("__"):
            for hit in (*_made_in_forward(file, function), *_kept_as_attribute(file, function, owner)):
                if hit.span not in seen:
                    seen.add(hit.span)
                    yield hit


def _made_in_forward(file: SourceFile, function: FunctionBlock) -> Iterator[Hit]:
    """Tensors made on the CPU and joined with a tensor that was given."""
    inside = list(file.calls_in(function.span))
    for call in inside:
        if call.name not in _MAKERS or _has_device(call) or not _sized(call) or call.function != function.name:
            continue
        if any(site.receiver_origin is not None and site.receiver_origin.call is call for site in _moves(inside)):
            continue
        partner = _partner(call, inside, file, function)
        if partner is None:
            continue
        message = f"`{call.code}` is made on the CPU and meets `{partner}`, which is wherever the batch is"
        edit = file.edit(call.span, f"{call.code[:-1].rstrip().rstrip(',')}, device={partner}.device)")
        reason = (
            f"where both are on the CPU nothing changes, and anywhere else they could not be combined with `{partner}`"
        )
        fix = Fix(f"Make it where it is needed: `device={partner}.device`.", FixSafety.SAFE, reason, edits=(edit,))
        yield Hit(message, call.span, fix)


def _has_device(call: CallSite) -> bool:
    # `torch.zeros(*size, **options)` may say it where the text does not.
    return call.argument(99, "device") is not None or "**" in call.code or "torch.device" in call.contexts


def _sized(call: CallSite) -> bool:
    """Whether the result has at least one axis: a single number may stand on the CPU."""
    first = call.arguments[0].code if call.arguments else ""
    return (
        first[:1] in "[(" and first not in ("()", "[]")
        if call.name == "torch.tensor"
        else first not in ("", "()", "[]")
    )


def _moves(calls: list[CallSite]) -> Iterator[CallSite]:
    return (call for call in calls if call.method in _MOVES and call.name.startswith("."))


def _partner(call: CallSite, inside: list[CallSite], file: SourceFile, function: FunctionBlock) -> str | None:
    """The parameter of `forward` that the new tensor is combined with, when that is sure."""
    given = [name for name in function.parameters[1:] if _is_tensor(name, function.code)]
    name = call.target if call.target is not None and call.target.isidentifier() else None
    if name is not None and _made_twice(file, name, function):
        return None
    here = rf"(?:\b{name}\b{_PLAIN}|{re.escape(call.code)}(?!\s*\.))" if name else rf"{re.escape(call.code)}(?!\s*\.)"
    for other in given:
        for site in inside:
            joined = " ".join(argument.code for argument in site.arguments)
            if site.name in _JOINS and re.search(here, joined) and re.search(rf"\b{other}\b{_PLAIN}", joined):
                return other
        sums = rf"\b{other}\b\s*[-+*/]\s*{here}|{here}\s*[-+*/]\s*\b{other}\b{_PLAIN}"
        if any(re.search(sums, item.code) for item in _assigned(file, function)):
            return other
    looked_up = (site for site in inside if site.name == "torch.nn.Embedding.forward" and site.arguments)
    origins = (site.arguments[0].origin for site in looked_up)
    return given[0] if given and any(o is not None and o.call is call and not o.through for o in origins) else None


def _is_tensor(name: str, code: str) -> bool:
    used = rf"\b{name}\.(?:shape|size|view|reshape|permute|flatten|transpose|device|dtype|mean|sum|dim|ndim)\b"
    return re.search(rf"{used}|\bself\.\w+\({name}\b{_PLAIN}", code) is not None


def _made_twice(file: SourceFile, name: str, function: FunctionBlock) -> bool:
    return sum(item.target == name for item in _assigned(file, function)) > 1


def _assigned(file: SourceFile, function: FunctionBlock) -> Iterator[Assignment]:
    return (item for item in file.assignments if function.span.contains(item.span))


def _kept_as_attribute(file: SourceFile, function: FunctionBlock, owner: str) -> Iterator[Hit]:
    """Constants that `model.to(device)` passes over."""
    methods = [block for block in file.functions if block.name.rpartition(".")[0] == owner]
    if any(block.name.rpartition(".")[2] in ("to", "cuda", "_apply", "__getattr__") for block in methods):
        return
    for item in file.assignments:
        origin, attribute = item.origin, item.target.removeprefix("self.")
        if item.function != f"{owner}.__init__" or not item.target.startswith("self.") or not attribute.isidentifier():
            continue
        if origin is None or origin.name not in _MAKERS or _has_device(origin.call) or not _sized(origin.call):
            continue
        if {"to", "cuda"} & set(origin.through) or any(step[:1] == "." for step in origin.through):
            continue
        word = rf"\bself\.{attribute}\b"
        used = rf"[A-Za-z_)\]]\s*[-+*/]\s*{word}{_PLAIN}|{word}\s*[-+*/]\s*[A-Za-z_]"
        moved = rf"{word}\s*(?:\.(?:to|cuda|type_as|device|data|cpu)\b|=[^=])|getattr|setattr"
        rest = "\n".join(block.code for block in methods if block.name != item.function)
        if not re.search(used, function.code) or re.search(moved, rest):
            continue
        yield _buffer(file, item, attribute)


def _buffer(file: SourceFile, item: Assignment, attribute: str) -> Hit:
    message = f"`self.{attribute}` is a plain tensor: `model.to(device)` leaves it on the CPU, where `forward` meets it"
    line = file.text.split("\n")[item.span.start_line - 1]
    start = line.find(f"self.{attribute}")
    text = f'Register it: `self.register_buffer("{attribute}", {item.code}, persistent=False)`.'
    before = line[start : item.span.start_column]
    ready = re.search(r"super\([^)]*\)\.__init__\(", file.text.split(item.code)[0]) is not None
    if start < 0 or not re.fullmatch(rf"self\.{attribute}\s*=\s*", before) or not ready:
        return Hit(message, item.span, Fix(text))
    span = Span(item.span.start_line, start, item.span.end_line, item.span.end_column)
    edit = file.edit(span, f'self.register_buffer("{attribute}", {item.code}, persistent=False)')
    reason = "`model.half()` and `model.to(dtype)` then convert it, too"
    return Hit(message, item.span, Fix(text, FixSafety.UNSAFE, reason, edits=(edit,)))


RULE = Rule(
    slug="device-mismatch",
    family="precision",
    title="Tensors of one operation are on different devices",
    level=Level.ERROR,
    log=LogFacet(_TRIGGERS, _examine),
    source=SourceFacet(("Module",), _examine_source),
    before=before_by_passing("device-mismatch"),
    during=absent("the exception comes before the step ends"),
    module=__name__,
)
