"""Widths of layers (channels and features) that the text of a file settles, followed from layer to layer."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from snellen.core.code.makers import Makers
from snellen.core.source import Argument, CallSite, SourceFile, Span

__all__ = ["WidthBreak", "unpacks", "whole", "width_breaks"]

_NN = "torch.nn."
_CONVOLUTIONS = frozenset(
    f"{_NN}{name}" for name in ("Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")
)
_NORMS = {
    f"{_NN}{kind}": (0, "num_features") for kind in ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm")
}
_NORMS[f"{_NN}GroupNorm"] = (1, "num_channels")
_LINEAR = f"{_NN}Linear"
_KEEPING = frozenset(
    f"{_NN}{name}"
    for name in (
        *("ReLU", "ReLU6", "LeakyReLU", "ELU", "SELU", "CELU", "GELU", "SiLU", "Mish", "Sigmoid", "Tanh", "Softplus"),
        *("Hardswish", "Hardsigmoid", "Hardtanh", "Softsign", "LogSigmoid", "Identity", "InstanceNorm2d"),
        *("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout"),
    )
)
_POOLING = frozenset(
    f"{_NN}{kind}{rank}d"
    for kind in ("MaxPool", "AvgPool", "LPPool", "ReflectionPad", "ReplicationPad", "ZeroPad", "ConstantPad")
    for rank in (1, 2, 3)
) | {f"{_NN}Upsample", f"{_NN}UpsamplingNearest2d", f"{_NN}UpsamplingBilinear2d"}
_ADAPTIVE = {f"{_NN}Adaptive{kind}Pool{rank}d": rank for kind in ("Avg", "Max") for rank in (1, 2, 3)}
_KEEPING_FUNCTIONS = frozenset(
    f"torch.nn.functional.{name}"
    for name in (
        *("relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "hardswish", "dropout", "dropout2d"),
        *("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "interpolate"),
        *("sigmoid", "tanh", "softplus"),
    )
) | {"torch.relu", "torch.sigmoid", "torch.tanh"}
_MOVED = frozenset({"to", "cuda", "cpu", "float", "half", "double", "bfloat16", "eval", "train", "requires_grad_"})
"""What is done to a layer and leaves its widths."""
_UNPACKED = re.compile(r"[(,]\s*\*\*")
_DEEPEST = 12


@dataclass(frozen=True, slots=True)
class WidthBreak:
    """Two layers, one after the other, whose widths do not fit.

    Args:
        what: `channels` or `features`.
        given: What the first one gives.
        wanted: What the second one takes.
        giver: Text of what gives it.
        layer: The call that makes the second layer.
        width: Its argument that says what it takes.
        span: Where the two meet.
    """

    what: str
    given: int
    wanted: int
    giver: str
    layer: CallSite
    width: Argument
    span: Span


@dataclass(frozen=True, slots=True)
class _Flow:
    """What is known of a tensor between two layers: its channels, its area when that is settled, or its features."""

    width: int | None = None
    area: int | None = None
    features: bool = False
    giver: str = ""


def whole(argument: Argument | None) -> int | None:
    """The whole number that an argument is known to be."""
    if argument is None or not isinstance(argument.value, (int, float)) or isinstance(argument.value, bool):
        return None
    return int(argument.value) if argument.value == int(argument.value) and 0 < argument.value < 2**31 else None


def unpacks(call: CallSite) -> bool:
    """Whether a call takes options from a mapping, so that what is not written may be given all the same."""
    return _UNPACKED.search(call.code) is not None


def width_breaks(file: SourceFile) -> Iterator[WidthBreak]:
    """Layers whose widths do not fit what comes before them, in `nn.Sequential` and in `forward`; each layer once."""
    seen: set[Span] = set()
    for found in (*_in_sequences(file), *_in_functions(file)):
        if found.layer.span not in seen:
            seen.add(found.layer.span)
            yield found


def _in_sequences(file: SourceFile) -> Iterator[WidthBreak]:
    for call in file.calls_to(f"{_NN}Sequential"):
        if _taken_apart(file, call.target):
            continue
        flow = _Flow()
        for layer in _layers(call):
            flow, found = _pass(flow, layer) if layer is not None else (_Flow(), None)
            if found is not None:
                yield found


def _taken_apart(file: SourceFile, target: str | None) -> bool:
    """Whether the layers are also called one by one, in an order of its own."""
    if target is None:
        return False
    name = re.escape(target)
    return re.search(rf"(?<![\w.]){name}\s*\[|\bin {name}\b|\bin enumerate\({name}\b|\({name}\)", file.text) is not None


def _layers(sequence: CallSite, depth: int = 0) -> Iterator[CallSite | None]:
    """The calls that make the layers of an `nn.Sequential`, nested ones unrolled; `None` for what is not known."""
    for argument in sequence.arguments:
        origin = argument.origin
        if origin is None or origin.through or argument.code.startswith("*") or origin.call.conditions:
            yield None
        elif origin.name == f"{_NN}Sequential" and depth < _DEEPEST:
            yield from _layers(origin.call, depth + 1)
        else:
            yield origin.call


def _pass(flow: _Flow, layer: CallSite) -> tuple[_Flow, WidthBreak | None]:
    """What leaves a layer, and what is wrong with what comes in."""
    name = layer.name
    if name in _KEEPING or name in _POOLING or name in _ADAPTIVE:
        return _kept(flow, layer), None
    if name == f"{_NN}Flatten" and all(argument.value == 1 for argument in layer.arguments):
        return _flattened(flow), None
    ports = _ports(layer)
    if ports is None:
        return _Flow(), None
    found = _broken(flow, layer, ports[0], layer.span)
    if name in _NORMS:
        return flow if found is None else _Flow(), found
    return _Flow(ports[1], features=name == _LINEAR, giver=layer.code), found


def _kept(flow: _Flow, layer: CallSite) -> _Flow:
    """What leaves a layer that keeps the channels."""
    if layer.name in _KEEPING:
        return flow
    return replace(flow, area=_area(layer, _ADAPTIVE[layer.name]) if layer.name in _ADAPTIVE else None)


def _flattened(flow: _Flow) -> _Flow:
    if flow.width is None or flow.area is None or flow.features:
        return _Flow()
    return _Flow(flow.width * flow.area, features=True, giver=flow.giver)


def _area(layer: CallSite, rank: int) -> int | None:
    size = layer.argument(0, "output_size")
    if size is None:
        return None
    if isinstance(size.value, tuple) and all(isinstance(side, int) for side in size.value):
        return math.prod(size.value)
    side = whole(size)
    return None if side is None else side**rank


def _ports(layer: CallSite) -> tuple[Argument | None, int | None] | None:
    """The argument that says what a layer takes, and what it gives; `None` for layers that are not known."""
    if layer.name in _CONVOLUTIONS:
        return layer.argument(0, "in_channels"), whole(layer.argument(1, "out_channels"))
    if layer.name == _LINEAR:
        return layer.argument(0, "in_features"), whole(layer.argument(1, "out_features"))
    if layer.name in _NORMS:
        wanted = layer.argument(*_NORMS[layer.name])
        return wanted, whole(wanted)
    return None


def _broken(flow: _Flow, layer: CallSite, width: Argument | None, span: Span) -> WidthBreak | None:
    wanted = whole(width)
    # A map that reaches a linear layer, or features that reach a convolution, are not what the text makes them seem.
    fits = layer.name in _NORMS or flow.features == (layer.name == _LINEAR)
    if width is None or wanted is None or flow.width is None or wanted == flow.width or not fits:
        return None
    what = "features" if flow.features else "channels"
    return WidthBreak(what, flow.width, wanted, flow.giver, layer, width, span)


# -- layers that a function calls one after the other ------------------------------------------------------------------


def _in_functions(file: SourceFile) -> Iterator[WidthBreak]:
    calls = [call for call in file.calls if call.name.endswith(".forward") and _layer_called(file, call)]
    if not calls:
        return
    makers = Makers(file)
    for call in calls:
        layer = _layer_called(file, call)
        ports = _ports(layer) if layer is not None else None
        if layer is None or ports is None or not call.arguments:
            continue
        maker = makers.of_argument(call.arguments[0], call)
        found = _broken(_value(file, makers, maker), layer, ports[0], call.span)
        if found is not None:
            yield found


def _layer_called(file: SourceFile, call: CallSite) -> CallSite | None:
    """The call that made the layer that is called, when it is that layer on every way through the file."""
    origin = call.receiver_origin
    if origin is None or not set(origin.through) <= _MOVED or origin.call.conditions or call.conditions or call.in_loop:
        return None
    holder = call.function.rpartition(".")[0] if (call.receiver or "").startswith("self.") else call.function
    made = [a for a in file.assignments if a.target == call.receiver and f"{a.function}.".startswith(f"{holder}.")]
    if len(made) != 1 or origin.call not in (made[0].call, made[0].origin and made[0].origin.call):
        return None
    return origin.call


def _value(file: SourceFile, makers: Makers, maker: CallSite | None, depth: int = 0) -> _Flow:
    """What is known of a value, from the call that made it."""
    if maker is None or depth > _DEEPEST or maker.conditions or maker.in_loop or not maker.arguments:
        return _Flow()
    if maker.method in ("view", "reshape", "flatten") and (maker.receiver or maker.name == "torch.flatten"):
        return _reshaped(file, makers, maker, depth)
    layer = _layer_called(file, maker) if maker.name.endswith(".forward") else None
    if maker.name in _KEEPING_FUNCTIONS or (layer is not None and layer.name in _KEEPING | _POOLING | set(_ADAPTIVE)):
        flow = _value(file, makers, makers.of_argument(maker.arguments[0], maker), depth + 1)
        return flow if layer is None else _kept(flow, layer)
    ports = _ports(layer) if layer is not None else None
    return _Flow() if layer is None or ports is None else _Flow(ports[1], None, layer.name == _LINEAR, layer.code)


def _reshaped(file: SourceFile, makers: Makers, maker: CallSite, depth: int) -> _Flow:
    """What is known of a tensor that was flattened: `flatten(x, 1)`, `x.view(n, -1)`, `x.view(-1, 400)`."""
    values = [argument.value for argument in maker.arguments]
    if maker.method != "flatten" and len(values) == 2 and whole(maker.arguments[1]) is not None:
        return _Flow(whole(maker.arguments[1]), features=True, giver=maker.code)
    if maker.receiver is None:
        known = len(values) == 2 and values[1] == 1
        before = makers.of_argument(maker.arguments[0], maker)
    else:
        known = values == [1] if maker.method == "flatten" else len(values) == 2 and values[1] == -1
        before = makers.of_receiver(maker)
    return _flattened(_value(file, makers, before, depth + 1)) if known else _Flow()
