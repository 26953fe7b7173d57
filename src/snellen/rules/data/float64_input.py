"""NumPy's float64 reaches a network whose weights are float32.

What happens
------------
`RuntimeError: Input type (double) and bias type (float) should be the same`, `mat1 and mat2 must have the same dtype,
but got Double and Float` or, in the loss, `Found dtype Double but expected Float`. Where a later line converts, nothing
fails: batches take twice the memory and twice the time to copy.

Why
---
NumPy computes in float64 unless it is told otherwise: `np.zeros`, `np.random.rand`, a list of Python floats, an integer
image divided by 255, and even a float32 image minus `np.array([0.485, 0.456, 0.406])`. `torch.from_numpy`,
`torch.tensor`, `ToTensor` and the `DataLoader` keep that; a list of Python floats without NumPy would have become
float32.

How to confirm
--------------
`print(images.dtype)` right before the network: `torch.float64`.

Fix
---
`torch.from_numpy(array).float()`, or `array.astype(np.float32)` one step earlier, which also halves what the workers of
the loader send. Constants such as mean and deviation: `np.array([...], dtype=np.float32)`.

When it is something else
-------------------------
Half against float comes from automatic mixed precision or `.half()`, Long against float from labels or images that are
whole numbers: see `dtype-mismatch`.

Sources
-------
- `torch.from_numpy`: https://docs.pytorch.org/docs/stable/generated/torch.from_numpy.html
- NumPy, promotion of types: https://numpy.org/doc/stable/reference/arrays.promotion.html
- `ToTensor` scales bytes only: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.ToTensor.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from snellen.core.code.flow import Flow, Step, Trail
from snellen.core.code.trails import parts_of
from snellen.core.finding import Evidence, Fix, FixSafety, Level
from snellen.core.known.backbones import network_of, place
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import find_message, tensor_type
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import UNKNOWN, Argument, Assignment, CallSite, Hit, SourceFile, Span

__all__ = ["RULE"]

# -- log --------------------------------------------------------------------------------------------------------------

_SAID = (
    re.compile(
        r"input type \((?P<given>[\w.]+)\) and (?:weight|bias) type \((?P<other>[\w.]+)\) should be", re.IGNORECASE
    ),
    re.compile(r"have the same dtype, but got:? (?P<given>\w+) (?:and|!=) (?P<other>\w+)", re.IGNORECASE),
    re.compile(r"found dtype (?P<given>\w+) but expected (?P<other>\w+)", re.IGNORECASE),
    re.compile(
        r"expected (?:object of )?(?:scalar )?type (?P<given>[\w.]+) but (?:found|got)(?: scalar)? (?:type )?"
        r"(?P<other>[\w.]+)",
        re.IGNORECASE,
    ),
)
_FROM_NUMPY = re.compile(
    r"from_numpy\((?P<array>[\w.\[\]]{1,60})\)|(?:torch\.(?:tensor|as_tensor)\(|\()(?:np|numpy)\.\w+"
)


def _examine_log(log: Log) -> LogMatch | None:
    """The dtypes of the message, and a line of the traceback that makes a tensor of an array."""
    for pattern in _SAID:
        said = find_message(log, pattern)
        if said is None or said.error is None:
            continue
        kinds = {tensor_type(said.match["given"]).dtype, tensor_type(said.match["other"]).dtype}
        frames = [frame for frame in said.error.frames if not frame.in_library and _FROM_NUMPY.search(frame.code)]
        if kinds == {"float64", "float32"} and frames:
            found = _FROM_NUMPY.search(frames[-1].code)
            code = frames[-1].code.strip()
            fix = (
                f"Write `torch.from_numpy({found['array']}).float()`"
                if found and found["array"]
                else "Append `.float()`"
            )
            cause = f"`{code}` makes a float64 tensor of a NumPy array, and the weights are float32."
            return LogMatch(
                0.97,
                (said.evidence, frames[-1].evidence),
                cause,
                Fix(f"{fix}, or make the array with `dtype=np.float32`."),
            )
    return None


# -- source: which dtype an expression has ----------------------------------------------------------------------------

_MAKERS = {"zeros": 1, "ones": 1, "empty": 1, "identity": 1, "eye": 3, "linspace": 99, "loadtxt": 1, "genfromtxt": 1}
"""Functions of NumPy that make float64, and the position of their dtype."""
_DRAWN = frozenset(("rand", "randn", "random", "random_sample", "uniform", "normal", "standard_normal"))
_BYTES = frozenset(
    (
        *("cv2.imread", "cv2.imdecode", "PIL.Image.open", "imageio.imread", "imageio.v2.imread", "imageio.v3.imread"),
        *("skimage.io.imread", "matplotlib.image.imread"),
    )
)
_SHAPING = frozenset(
    (
        *(
            "copy",
            "transpose",
            "reshape",
            "squeeze",
            "permute",
            "unsqueeze",
            "contiguous",
            "view",
            "swapaxes",
            "flatten",
        ),
        *(
            "ravel",
            "clip",
            "repeat",
            "numpy",
            "cpu",
            "cuda",
            "detach",
            "clone",
            "convert",
            "resize",
            "crop",
            "pin_memory",
        ),
        *("expand", "T", "requires_grad_", "round", "flip", "clamp"),
    )
)
_KEEPING = frozenset(
    (
        *(f"cv2.{name}" for name in ("resize", "cvtColor", "GaussianBlur", "flip", "copyMakeBorder", "warpAffine")),
        *(f"numpy.{name}" for name in ("ascontiguousarray", "transpose", "moveaxis", "expand_dims", "stack", "clip")),
        *(
            f"numpy.{name}"
            for name in ("concatenate", "vstack", "hstack", "squeeze", "flip", "flipud", "fliplr", "pad")
        ),
        *(
            f"numpy.{name}"
            for name in ("array", "asarray", "reshape", "repeat", "tile", "rot90", "copy", "abs", "sqrt")
        ),
        *(
            f"torch.{name}"
            for name in ("stack", "cat", "unsqueeze", "squeeze", "permute", "clamp", "flip", "from_numpy")
        ),
        *("torch.tensor", "torch.as_tensor", "torch.nn.functional.interpolate", "torch.nn.functional.pad"),
        *("[]", ".T", ".data", "copy.deepcopy", "torchvision.transforms.Normalize.forward"),
    )
)
_TENSOR = frozenset({"torch.from_numpy", "torch.tensor", "torch.as_tensor"})
_DIVIDED = ("/", "/=", "*", "*=", "-", "-=", "+", "+=", "**")
_DEVICE = re.compile(r"dev|cuda|cpu|gpu|rank|mps", re.IGNORECASE)
_TO_TENSOR = re.compile(r"\bToTensor\(")
_CAST = re.compile(r"ToDtype|ConvertImageDtype|Lambda|float|Convert")
_DOUBLES = re.compile(r"\.double\(\)|set_default_dtype|set_default_tensor_type|torch\.float64|torch\.double")
_LAYERS = re.compile(r"^torch\.nn\.(?:Conv\dd|Linear|ConvTranspose\dd|Sequential|BatchNorm\dd|LSTM|GRU)\.forward$")
_FUNCTIONS = frozenset(f"torch.nn.functional.{name}" for name in ("conv1d", "conv2d", "conv3d", "linear"))


@dataclass(frozen=True, slots=True)
class _State:
    """What is known of a value on its way: its dtype, and whether it is a tensor yet."""

    dtype: str
    tensor: bool = False


def _starts(call: CallSite) -> bool:
    return _start_dtype(call) is not None


def _start_dtype(call: CallSite) -> str | None:
    """The dtype of what a call makes, `None` when it is not one of those known."""
    if call.name in _BYTES:
        return "uint8"
    module, _, last = call.name.rpartition(".")
    if module == "numpy" and last in _MAKERS:
        return _named(call.argument(_MAKERS[last], "dtype"), "float64")
    drawn = call.receiver_origin is not None and call.receiver_origin.name == "numpy.random.default_rng"
    if last in _DRAWN and (module == "numpy.random" or (module == "" and drawn)):
        return _named(call.argument(99, "dtype"), "float64")
    if module == "numpy" and last in ("array", "asarray") and call.arguments:
        return _named(call.argument(1, "dtype"), "float64") if _has_fraction(call.arguments[0].value) else None
    return None


def _has_fraction(value: object) -> bool:
    return isinstance(value, float) or (isinstance(value, tuple) and any(_has_fraction(item) for item in value))


def _named(dtype: Argument | None, default: str) -> str:
    """What a `dtype=` argument says."""
    if dtype is None:
        return default
    written = str(dtype.value) if isinstance(dtype.value, str) else dtype.code.rpartition(".")[2]
    if written in ("float64", "double", "float", "float_", "f8", "d"):
        return "float64"
    return "float32" if written in ("float32", "single", "f4", "f") else "other"


def _after(state: _State, step: Step) -> _State | None:
    """What is known after a step, `None` when it is float32 by then, or not known any more."""
    if step.plain:
        return None if step.name == "[]=" else state
    if step.name in _DIVIDED:
        return _computed(state, step)
    if step.name == "torchvision.transforms.functional.to_tensor" or _makes_tensor(step.call):
        return _State("float32" if state.dtype == "uint8" else state.dtype, tensor=True)
    return _converted(state, step)


def _converted(state: _State, step: Step) -> _State | None:
    call, dtype, tensor = step.call, state.dtype, state.tensor or step.name in _TENSOR
    if step.method == "astype" and call is not None:
        dtype = _named(call.argument(0, "dtype"), "other")
    elif step.method == "to" and call is not None:
        moved = len(call.arguments) == 1 and _DEVICE.search(call.arguments[0].code) and "dtype" not in call.code
        dtype = dtype if moved else "other"
    elif step.name in _KEEPING or (step.name.startswith(".") and step.method in _SHAPING):
        dtype = _named(call.argument(99, "dtype"), dtype) if call is not None else dtype
    else:
        dtype = "other"
    return _State(dtype, tensor) if dtype != "other" else None


def _makes_tensor(call: CallSite | None) -> bool:
    """Whether a transform does nothing to the dtype but what `ToTensor` does."""
    if call is None or not call.name.startswith("torchvision.transforms."):
        return False
    if call.name == "torchvision.transforms.ToTensor.forward":
        return True
    composed = call.receiver_origin.call.code if call.receiver_origin is not None else ""
    return bool(_TO_TENSOR.search(composed)) and not _CAST.search(composed)


def _computed(state: _State, step: Step) -> _State | None:
    """Arithmetic: float64 stays, bytes become float64 by a fraction; float32 stays with a plain number."""
    if state.tensor:
        return state if state.dtype != "uint8" else None
    if state.dtype == "float64":
        return state
    if state.dtype == "uint8":
        exact = step.name.startswith(("/", "**")) or isinstance(step.value, float)
        return (
            _State("float64") if exact and not step.name.endswith("=") else state if step.value is not UNKNOWN else None
        )
    return state if isinstance(step.value, (int, float)) else None


# -- source: where it must not go --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Use:
    """A value that a network is given, now or by a loader."""

    value: Argument | Assignment
    call: CallSite | None
    what: str


def _examine(file: SourceFile) -> Iterator[Hit]:
    parts = parts_of(file)
    if "torch" not in file.text or any(_DOUBLES.search(part.text) for part in parts):
        return
    flow, told = Flow(file), set[tuple[str, Span]]()
    for use in (*_given(file), *_returned(file)):
        trails = flow.trails(use.value, use.call, _starts)
        wide = [trail for trail in trails if _is_float64(trail, loaded=use.call is None)]
        if len([trail for trail in trails if trail.start.call is not None and not _starts(trail.start.call)]) > len(
            wide
        ):
            continue
        for trail in wide:
            keys = {(trail.start.path, trail.start.span), (file.path, use.value.span)}
            if not keys & told:
                yield _hit(file, use, trail)
            told |= keys


def _is_float64(trail: Trail, *, loaded: bool) -> bool:
    dtype = _start_dtype(trail.start.call) if trail.start.call is not None else None
    state = _State(dtype) if dtype in ("float64", "uint8") else None
    for step in trail.steps:
        state = _after(state, step) if state is not None else None
    loaded = loaded or any(step.method == "DataLoader" for step in trail.steps)
    return state is not None and state.dtype == "float64" and (state.tensor or loaded)


def _given(file: SourceFile) -> Iterator[_Use]:
    """What networks of the project and of libraries are called with."""
    modules = {
        block.name.rpartition(".")[2]
        for part in parts_of(file)
        for block in part.classes
        if any(base.endswith("Module") for base in block.bases)
    }
    # Where a network is called, rather than a layer inside of it.
    for call in sorted(file.calls, key=lambda call: call.function.split(".")[0] in modules):
        if not call.arguments:
            continue
        own = call.name.endswith(".forward") and call.name.split(".")[-2] in modules
        network = own or bool(_LAYERS.match(call.name)) or call.name in _FUNCTIONS
        # Methods of a network that take no images: `load_state_dict`, `to`.
        called = call.receiver is None and call.receiver_origin is not None and network_of(call, file) is not None
        if network or called:
            yield _Use(call.arguments[0], call, f"`{call.code.partition('(')[0]}`, whose weights are float32")


def _returned(file: SourceFile) -> Iterator[_Use]:
    """What a data set gives, unless something converts what the loader makes of it."""
    sets = {block.name for block in file.classes if any(base.endswith("Dataset") for base in block.bases)}
    parts = parts_of(file)
    if any(not call.function.startswith(tuple(sets)) for part in parts for call in part.calls_to(".float", ".half")):
        return
    if re.search(r"\.to\([^)]{0,60}dtype|\.type\(|autocast|collate_fn", "\n".join(part.text for part in parts)):
        return
    for item in file.assignments:
        owner, _, method = item.function.rpartition(".")
        if item.target == "return" and method == "__getitem__" and owner in sets:
            yield _Use(item, None, "the batches of the loader")


def _hit(file: SourceFile, use: _Use, trail: Trail) -> Hit:
    start = trail.start
    made = " ".join(start.code.split())[:80]
    divided = next((step for step in trail.steps if step.name in _DIVIDED), None)
    how = f"`{made}` is float64"
    if start.call is not None and _start_dtype(start.call) == "uint8":
        written = " ".join(divided.code.split())[:80] if divided is not None else made
        how = f"bytes divided in NumPy are float64 (`{written}`)"
    verb = "makes" if use.call is None else "reaches"
    message = (
        f"{how} and {verb} {use.what}" if use.call is not None else f"{how} and makes the loader's batches float64"
    )
    evidence = Evidence(f"made here: {made}", place(start.path, start.span))
    level = Level.WARNING if use.call is None else None
    return Hit(message, use.value.span, _fix(file, use, trail), (evidence,), level)


def _fix(file: SourceFile, use: _Use, trail: Trail) -> Fix:
    text = "Convert it to float32: `.float()` on the tensor, or `.astype(np.float32)` on the array."
    makers = (step for step in trail.steps if step.name in _TENSOR or _makes_tensor(step.call))
    tensor = next((step for step in makers if step.path == file.path), None)
    if tensor is None:
        return Fix(text)
    end = Span(tensor.span.end_line, tensor.span.end_column, tensor.span.end_line, tensor.span.end_column)
    direct = use.call is not None
    return Fix(
        f"Write `{tensor.code}.float()`.",
        FixSafety.SAFE if direct else FixSafety.UNSAFE,
        "float32 weights refuse a float64 input" if direct else "what is done with the batches is not known",
        edits=(file.edit(end, ".float()"),),
    )


RULE = Rule(
    slug="float64-input",
    family="data",
    title="NumPy's float64 reaches a float32 network",
    level=Level.ERROR,
    log=LogFacet(("double",), _examine_log),
    source=SourceFacet(("numpy", "cv2", "PIL"), _examine),
    before=absent("the run makes its tensors itself, always float32"),
    during=absent("the exception comes before the first step ends"),
    module=__name__,
)
