"""Calls that ask for a memory format, and what the text says of the rank of what they ask it for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from snellen.core.code.sizes import tensor_shape
from snellen.core.source import Argument, CallSite, Origin, SourceFile

__all__ = ["FormatCall", "format_calls", "ranks"]

_METHODS = frozenset({"to", "contiguous", "clone", "empty", "zeros", "randn", "empty_like", "zeros_like", "cuda"})
_IMAGES = frozenset(
    {
        "torchvision.transforms.functional.to_tensor",
        "torchvision.transforms.functional.pil_to_tensor",
        "torchvision.transforms.v2.functional.pil_to_tensor",
        "torchvision.transforms.v2.functional.to_image",
        "torchvision.io.read_image",
        "torchvision.io.decode_image",
        "torchvision.transforms.ToTensor.forward",
    }
)
"""What gives one image of shape (C, H, W)."""
_KEEPS_RANK = frozenset(
    (
        *("to", "cuda", "cpu", "float", "half", "double", "bfloat16", "contiguous", "detach", "clone", "permute"),
        *("transpose", "eval", "train", "requires_grad_"),
    )
)
_CONVOLUTIONS = {
    "torch.nn.Conv3d": 5,
    "torch.nn.ConvTranspose3d": 5,
    "torch.nn.Conv2d": 4,
    "torch.nn.ConvTranspose2d": 4,
}
_DEEPEST = 5


@dataclass(frozen=True, slots=True)
class FormatCall:
    """A call such as `x.to(memory_format=torch.channels_last)`.

    Args:
        call: The call.
        argument: The argument that names the format.
        format: `channels_last` or `channels_last_3d`.
    """

    call: CallSite
    argument: Argument
    format: str


def format_calls(file: SourceFile) -> Iterator[FormatCall]:
    """Every call of a file that asks for channels last."""
    for call in file.calls:
        argument = call.argument(99, "memory_format") if call.method in _METHODS else None
        if argument is None:
            continue
        named = argument.code
        if re.fullmatch(r"[A-Za-z_]\w*", named):
            held = {item.code for item in file.assignments if item.target == named}
            named = held.pop() if len(held) == 1 else ""
        format_ = named.rpartition(".")[2]
        if format_ in ("channels_last", "channels_last_3d"):
            yield FormatCall(call, argument, format_)


def ranks(file: SourceFile, call: CallSite) -> frozenset[int]:
    """Ranks of the tensor or of a model's weights that a format is asked for; empty when the text does not say."""
    if call.receiver is None:
        made = tensor_shape(Origin(call.name, call))
        return frozenset({len(made)}) if made is not None else frozenset()
    origin = call.receiver_origin
    if origin is None:
        return frozenset()
    shape = tensor_shape(origin)
    if shape is not None:
        return frozenset({len(shape)})
    if not set(origin.through) <= _KEEPS_RANK:
        return frozenset()
    return frozenset({3}) if origin.name in _IMAGES else _weights(file, origin.call, origin.name)


def _weights(file: SourceFile, maker: CallSite, name: str, depth: int = 0) -> frozenset[int]:
    """Ranks of the convolutions of what a call makes: a layer, a sequence, a known model, a class of the project."""
    if name in _CONVOLUTIONS:
        return frozenset({_CONVOLUTIONS[name]})
    if name.startswith("torchvision.models.video.") and name.rpartition(".")[2][:1].islower():
        return frozenset({5})
    if name in (".eval", ".train") and maker.receiver_origin is not None and depth < _DEEPEST:
        return _weights(file, maker.receiver_origin.call, maker.receiver_origin.name, depth + 1)
    if name in ("torch.nn.Sequential", "torch.nn.ModuleList"):
        return frozenset(_CONVOLUTIONS[call.name] for call in file.calls_in(maker.span) if call.name in _CONVOLUTIONS)
    last = name.rpartition(".")[2]
    return _of_class(file, last, depth) if last[:1].isupper() and not name.startswith("torch.") else frozenset()


def _of_class(file: SourceFile, name: str, depth: int) -> frozenset[int]:
    holders = [each for each in (file, *file.elsewhere) if any(block.name == name for block in each.classes)]
    if len(holders) != 1 or depth > _DEEPEST:
        return frozenset()
    found: set[int] = set()
    for call in holders[0].calls:
        if call.function.partition(".")[0] != name:
            continue
        if call.name in _CONVOLUTIONS:
            found.add(_CONVOLUTIONS[call.name])
        elif call.name != name and any(block.name == call.name for block in holders[0].classes):
            found |= _of_class(holders[0], call.name, depth + 1)
    return frozenset(found)
