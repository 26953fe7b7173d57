"""Tensors of two number formats meet in an operation that needs them to be the same.

What happens
------------
A layer or an operator refuses its operands: `Input type (float) and bias type (c10::Half) should be the same`,
`mat1 and mat2 must have the same dtype, but got Double and Float`, `expected scalar type Float but found Half`. In the
backward pass it reads `Found dtype Double but expected Float`, for labels `expected scalar type Long but found Float`,
for byte images `Input type (unsigned char) and bias type (float) should be the same`.

Why
---
Additions promote their operands to a common dtype; convolutions, matrix products, normalisations and most losses do
not. Usually it is one of these: NumPy computes in float64 and `torch.from_numpy` keeps that; the model was made half
precision (`.half()`, `torch_dtype=torch.float16`) and the input was not, or the other way round; training ran under
`torch.autocast` and inference, or a validation loop, does not; an image is still uint8 and was never divided by 255;
class labels are float or int32 where the loss needs int64.

How to confirm
--------------
Print both sides on the line before: `print(x.dtype, next(model.parameters()).dtype)`. If a half-precision model is
meant, run the same line once inside `torch.autocast("cuda")`: when it passes there, the context is what is missing.

Fix
---
Convert where the tensor is made, not where it fails: `torch.from_numpy(a).float()`, `image.float() / 255`,
`labels.long()`. In mixed precision leave weights and inputs in float32 and put the whole forward pass and the loss
under `torch.autocast`, in validation and inference as in training. A model that is half for good needs its inputs half.

When it is something else
-------------------------
If the two sides also stand on different devices (`torch.cuda.FloatTensor` and `torch.FloatTensor`), it is
`device-mismatch`. `"slow_conv2d_cpu" not implemented for 'Half'` is an operation that the CPU lacks: `half-on-cpu`.
`Target 7 is out of bounds` is about a label's value: `label-out-of-range`.

Sources
-------
- Type promotion, and which operations take part: https://docs.pytorch.org/docs/stable/tensor_attributes.html
- Automatic mixed precision: https://docs.pytorch.org/docs/stable/amp.html
- `torch.from_numpy` keeps the dtype: https://docs.pytorch.org/docs/stable/generated/torch.from_numpy.html
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
from snellen.core.source import Argument, CallSite, Hit, SourceFile

__all__ = ["RULE"]

_NAME = r"[\w.:\[\] ]{1,50}?"
_PAIRS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?P<left>input) type \((?P<a>{_NAME})\) and (?P<right>weight|bias) type \((?P<b>{_NAME})\) should be",
        (
            r"expected (?:object of )?(?:scalar )?type (?P<a>[\w.\[\]]+) but (?:found|got)(?: scalar)? type "
            r"(?P<b>[\w.\[\]]+)(?: for (?:argument #\d+ '(?P<right>\w+)'|sequence element \d+))?"
        ),
        r"expected (?:scalar )?type (?P<a>[\w.]+) but (?:found|got) (?P<b>[\w.]+)",
        (
            r"expected (?:backend \w+ and |device \S+ and )?dtype (?P<a>\w+) but got "
            r"(?:backend \w+ and |device \S+ and )?dtype (?P<b>\w+)"
        ),
        r"expected (?P<a>\w+) tensor \(got (?P<b>\w+) tensor\)",
        (
            rf"(?P<left>mat1|self|m1) and (?P<right>mat2|m2)[^,]{{0,20}} (?:must|to) have the same dtype, but got:? ?"
            rf"(?P<a>{_NAME}) (?:and|!=) (?P<b>[\w:]+)"
        ),
        r"have (?:the )?same dtype, but found (?:\w{1,20} of type )?(?P<a>\w+) and (?:\w{1,20} of type )?(?P<b>\w+)",
        (
            r"have the same dtype, but got (?P<left>query)\.dtype: (?P<a>[\w:. ]{1,20}?),? (?P<right>key)\.dtype: "
            r"(?P<b>[\w:]+)"
        ),
        r"but got (?P<left>attn_mask)\.dtype: (?P<a>[\w:. ]{1,20}?) and\s+(?P<right>query)\.dtype: (?P<b>[\w:]+)",
        r"found dtype (?P<a>\w+) but expected (?P<b>\w+)",
        r"got (?P<a>\w+) for the (?P<left>destination) and (?P<b>\w+) for the (?P<right>source)",
        (
            r"not the same dtype, found (?P<left>input) tensor with (?P<a>\w+) and (?P<right>parameter|hidden) tensor "
            r"with (?P<b>\w+)"
        ),
        (
            r"argument #\d+ '(?P<left>\w+)' to have the same type as tensor for argument #\d+ '(?P<right>\w+)'; but "
            r"type (?P<a>[\w.]+) does not equal (?P<b>[\w.]+)"
        ),
        (
            r"expected (?P<left>input) and (?P<right>grid) to have same dtype, but input has (?P<a>[\w:]+) and grid "
            r"has (?P<b>[\w:]+)"
        ),
        (
            r"unexpected (?P<left>input) data type\. actual: \(tensor\((?P<a>\w+)\)\) ?, expected: "
            r"\(tensor\((?P<b>\w+)\)\)"
        ),
        r"(?P<left>self) \((?P<a>\w+)\) and (?P<right>source) \((?P<b>\w+)\) must have the same scalar type",
        r"expected target dtype to be (?P<a>Long) or Byte, but got (?P<b>\w+)",
        r"result type (?P<a>\w+) can'?t be cast to the desired output type (?P<b>\w+)",
        (
            r"for argument #\d+ '(?P<left>\w+)' to have (?:one of the following )?scalar types?:? (?P<b>\w+)[^;]{0,40}"
            r"; but got (?P<a>[\w.]+) instead"
        ),
        r"operand (?:\(|)(?P<a>fp\d+|bf16)[^.]{0,40}operand \((?P<b>fp\d+|bf16)\)",
    )
)
_ONE_SIDED = re.compile(
    r"(?:must|should|expected?s?|to)\b.{0,60}\b(?:have|of|be) (?:the )?same (?:dtypes?|data type|scalar type)"
    r"|expected? self\.dtype to be equal to src\.dtype|source and destination dtypes match"
    r"|index(?:_\w+)?\(\)?: expected dtype int\d+(?:/int64| or int64)? for index|expected dtype int64 for index"
    r"|tensors used as indices must be long|one_hot is only applicable to index tensor"
    r"|input tensor should be a float tensor|mixed dtype \(cpu\): |both inputs should have same dtype"
    r"|(?:could not infer output dtype|calculate the mean of floating types|mean\(\): input dtype should be)"
    r"|expected floating point type for target"
    r"|flash ?attention only supports? fp16|unexpected input data type"
    r"|(?:dets|boxes) should have the same type as scores"
    r"|both operands must be same d?type|must have the same dtype!|cannot convert a mps tensor to float64"
    r"|can't convert np\.ndarray of type numpy\.u?int",
    re.IGNORECASE,
)
_KERNEL = re.compile(
    r"\"(?P<kernel>[\w:()<>., /]{1,80})\" not implemented for '(?P<dtype>Byte|Char|Short|Int|Long|Bool)'"
)
_HALF_ON_GPU = re.compile(r"\"(?P<kernel>[\w/]{0,60}(?:cuda|gpu)[\w/]{0,60})\" not implemented for '(?P<dtype>Half)'")
_SHORT = {"fp16": "float16", "fp32": "float32", "fp64": "float64", "bf16": "bfloat16"}
_HALVES = ("float16", "bfloat16")
_TRIGGERS = (
    *("found dtype", "expected dtype", "dtypes match", ".dtype", "and dtype", "mixed dtype", "output dtype"),
    *("input dtype", "target dtype", "dtype int", "float64 dtype", "same dtype", "same type", "scalar type"),
    *("should be the same", "expected type", "object of type", "expected object", "not implemented for '"),
    *(" tensor (got ", "data type", "tensors used as indices", "output type", "one_hot is only"),
    *("float tensor", "floating types", "floating point type for target", "flashattention", "flash attention"),
    *("np.ndarray of type",),
)


@dataclass(frozen=True, slots=True)
class _Pair:
    """The two formats that met, and what the message calls the operands."""

    first: str
    second: str
    left: str = ""
    right: str = ""

    @property
    def fits_layer(self) -> bool:
        """Whether it is the input of a layer and the layer's weights."""
        return self.left == "input" and self.right in ("", "weight", "bias", "parameter", "hidden")


def _examine(log: Log) -> LogMatch | None:
    log, whole = narrowed(log, _TRIGGERS), log
    for pattern in _PAIRS:
        said = find_message(log, pattern)
        if said is None:
            continue
        named = said.match.groupdict()
        first, second = tensor_type(named["a"]), tensor_type(named["b"])
        a, b = first.dtype or _SHORT.get(named["a"].lower()), second.dtype or _SHORT.get(named["b"].lower())
        if a is None or b is None or a == b:
            continue
        left, right = (named.get("left") or "").lower(), (named.get("right") or "").lower()
        # An operator takes its dtype from the input: what it expects of a weight is what the input is.
        pair = _Pair(a, b, "input" if right == "weight" else left, right)
        # Where the devices differ as well, nothing is gained by converting the dtype first.
        apart = first.device is not None and second.device is not None and first.device != second.device
        score = 0.6 if apart else 0.96 if said.first else 0.8
        return LogMatch(score, said.facts, _cause(pair, said), _fix(pair, said, whole))
    return _without_pair(log)


def _without_pair(log: Log) -> LogMatch | None:
    """Messages that name one dtype or none."""
    if said := find_message(log, _KERNEL):
        dtype = tensor_type(said.match["dtype"]).dtype or said.match["dtype"]
        cause = f"`{said.match['kernel']}` computes with floating point numbers, and the tensor is {dtype}{said.place}."
        return LogMatch(0.75 if said.first else 0.6, said.facts, cause, _from_integers(dtype, said))
    if said := find_message(log, _HALF_ON_GPU):
        cause = f"The CUDA kernel `{said.match['kernel']}` is written for float32 and is given float16{said.place}."
        fix = Fix(
            "Run this one operation in float32: convert its inputs with `.float()` inside "
            '`torch.autocast("cuda", enabled=False)`, and convert the result back.'
        )
        return LogMatch(0.6, said.facts, cause, fix)
    said = find_message(log, _ONE_SIDED)
    if said is None:
        return None
    text = said.match[0].lower()
    if "mps" in text:
        fix = Fix(
            "MPS has no float64: convert with `.float()`, NumPy arrays with `.astype(numpy.float32)`, beforehand."
        )
    elif "np.ndarray" in text:
        fix = Fix("Convert the array first: `a.astype(numpy.float32)`, or `numpy.int32` for 16-bit images kept whole.")
    elif "float tensor" in text or "mean" in text or "infer output" in text:
        fix = Fix("Convert the integers first: `image.float() / 255` for an image, `x.float()` for anything else.")
    elif "ind" in text:
        fix = Fix("Indices and class numbers are int64: `index.long()`.")
    elif "flash" in text:
        fix = Fix("Run the model under `torch.autocast(device_type, dtype=torch.bfloat16)`, or choose SDPA attention.")
    else:
        fix = Fix("Print the dtypes of the operands on that line and convert the odd one with `.to(other.dtype)`.")
    score = 0.85 if said.first else 0.6
    return LogMatch(score, said.facts, f"The operands are not of the same dtype{said.place}.", fix)


def _cause(pair: _Pair, said: Message) -> str:
    if pair.fits_layer:
        return f"The input is {pair.first}, the layer's weights are {pair.second}{said.place}."
    if pair.left and pair.right:
        return f"`{pair.left}` is {pair.first} and `{pair.right}` is {pair.second}{said.place}."
    if pair.left:
        return f"`{pair.left}` is {pair.first} where {pair.second} is needed{said.place}."
    if "output type" in said.match[0].lower():
        return f"A {pair.second} tensor is changed in place by {pair.first} numbers{said.place}."
    if "found dtype" in said.match[0].lower():
        return f"The gradient is {pair.first}, the tensor that it belongs to {pair.second}: the loss was {pair.first}."
    who = f"`{pair.right}` is" if pair.right else "a tensor is"
    return f"{pair.first} is expected and {who} {pair.second}{said.place}."


def _fix(pair: _Pair, said: Message, log: Log) -> Fix:
    both, call = {pair.first, pair.second}, called_with(said.frame.code if said.frame else "")
    name = call[1] if call is not None and call[1] not in ("self", "cls") else "x"
    if pair.fits_layer:
        return _fit_input(pair.first, pair.second, name, log)
    if both & {"int64", "uint8"} and "output type" not in said.match[0].lower() and pair.first != "int64":
        return _from_integers("uint8" if "uint8" in both else "int64", said)
    if "output type" in said.match[0].lower():
        text = "Make the tensor floating point where it is made (`.float()`), or compute a new one: `x = x * y`."
    elif pair.first == "int64":
        text = "Class labels and indices are int64: convert them with `.long()` where the batch is made."
    elif "float64" in both:
        text = (
            "float64 is NumPy's default: convert where the array becomes a tensor, `torch.from_numpy(a).float()`, "
            "targets and class weights included."
        )
    elif "float32" in both and both & {*_HALVES}:
        half = next(iter(both & {*_HALVES}))
        text = (
            f"Part of the computation is {half}, part float32. Put the whole forward pass and the loss under one "
            f'`torch.autocast("cuda", dtype=torch.{half})` and leave weights and inputs float32; or convert the odd '
            "operand with `.to(other.dtype)`."
        )
    else:
        text = "Convert the odd operand where it is made, with `.to(other.dtype)`."
    return Fix(text)


def _fit_input(given: str, needed: str, name: str, log: Log) -> Fix:
    """The input of a layer is not what its weights are."""
    if given == "uint8":
        return Fix(f"The image is still bytes: `{name}.float() / 255`, then normalise as the model expects.")
    if given == "float64":
        return Fix(
            f"Convert where the array becomes a tensor: `torch.from_numpy(a).float()`; here `{name}.float()`, for an "
            "array `.astype(numpy.float32)`."
        )
    if needed in _HALVES and given == "float32":
        cast = "half" if needed == "float16" else "bfloat16"
        return Fix(
            f"The model was made {needed}, its input was not: pass `{name}.{cast}()` (warm-up and test inputs as "
            f'well), or keep the model float32 and run it under `torch.autocast("cuda", dtype=torch.{needed})`.'
        )
    if given in _HALVES and needed == "float32":
        trained = log.search(r"autocast|\bamp\b|accelerat|mixed.precision") is not None
        where = "this pass, as training is," if trained else "the whole forward pass"
        return Fix(
            f"The input is {given} and the model was left float32: pass `{name}.float()`, or put {where} under "
            f'`torch.autocast("cuda", dtype=torch.{given})`.'
        )
    return Fix(f"Convert the input to the dtype of the weights: `{name}.to(next(model.parameters()).dtype)`.")


def _from_integers(dtype: str, said: Message) -> Fix:
    text = said.match[0].lower() + (said.frame.code.lower() if said.frame else "")
    labels = re.search(r"nll|cross_entropy|criterion|loss|target|label|index|indices|embedding", text)
    if labels and dtype != "uint8" and not re.search(r"binary|mse|bce|l1_|smooth", text):
        return Fix("Class labels and indices are int64: convert them with `.long()` where the batch is made.")
    if re.search(r"binary|mse|bce|l1_|smooth", text):
        return Fix("This loss compares numbers: give it `target.float()`.")
    if dtype == "uint8":
        return Fix("The image is still bytes: `image.float() / 255` before anything is computed from it.")
    return Fix("Convert to floating point first: `x.float()`; labels and indices stay int64 (`.long()`).")


_MAKERS = frozenset(f"torch.{name}" for name in ("zeros", "ones", "rand", "randn", "from_numpy", "empty", "full"))
_NO_GRADIENT = frozenset({"torch.no_grad", "torch.inference_mode"})
_FORMAT_CHANGES = frozenset({"half", "bfloat16", "type", "type_as"})
_DEVICES = re.compile(r"^(?:device\s*=\s*)?(?:[\w.]*dev\w*|['\"](?:cuda|cpu|mps)(?::\d+)?['\"]|\d+)$")


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    """A model that is made half as a whole and called with a tensor that is surely float32."""
    halved = [call for call in file.calls_to(".half") if _whole_model(file, call)]
    if not halved or re.search(r"autocast|\.float\(\)\s*$", file.text, re.MULTILINE):
        return
    for call in file.calls:
        model = call.receiver if call.name.endswith(".forward") else call.name
        before = (m for m in halved if m.function == call.function and m.span.end < call.span.start)
        made = next((m for m in before if m.receiver == model), None)
        if made is None or set(call.contexts) - _NO_GRADIENT:
            continue
        for argument in call.arguments[:1]:
            if _surely_float32(file, argument):
                message = f"`{argument.code}` is float32, and `{model}` was made float16 by `{made.code}`"
                edit = file.edit(argument.span, f"{argument.code}.half()")
                reason = "the model's own precision may be what has to change"
                fix = Fix(f"Pass `{argument.code}.half()`.", FixSafety.UNSAFE, reason, edits=(edit,))
                yield Hit(message, argument.span, fix)


def _whole_model(file: SourceFile, call: CallSite) -> bool:
    """Whether `model.half()` is a statement of its own, unconditional, on something that is a module."""
    stands = call.discarded or call.target == call.receiver
    if call.receiver is None or not call.receiver.isidentifier() or not stands or call.conditions:
        return False
    name = re.escape(call.receiver)
    module = rf"\b{name}\.(?:eval|train|load_state_dict|parameters|requires_grad_)\(|\b{name} = .{{1,80}}\.eval\("
    return re.search(module, file.text) is not None


def _surely_float32(file: SourceFile, argument: Argument) -> bool:
    origin = argument.origin
    if origin is None or origin.name not in _MAKERS or origin.call.argument(99, "dtype") is not None:
        return False
    if origin.name == "torch.from_numpy" and "float" not in origin.through:
        return False
    if _FORMAT_CHANGES & set(origin.through):
        return False
    moves = [c for c in file.calls_to(".to") if c.receiver_origin is not None and c.receiver_origin.call is origin.call]
    return all(_DEVICES.match(given.code) for move in moves for given in move.arguments)


RULE = Rule(
    slug="dtype-mismatch",
    family="precision",
    title="Two dtypes meet in an operation that needs one",
    level=Level.ERROR,
    log=LogFacet(_TRIGGERS, _examine),
    source=SourceFacet((".half()",), _examine_source),
    before=before_by_passing("dtype-mismatch"),
    during=absent("the exception comes before the step ends"),
    module=__name__,
)
