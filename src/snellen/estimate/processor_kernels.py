"""What operators allocate inside themselves on a CPU and give back before they end: nobody sees it from outside.

Rules of thumb for oneDNN and ATen, each found by recording the events of the allocator within single operators (torch
2.13 on x86-64, one thread): a convolution with a window copies what it reads and writes into blocks of channels; the
backward pass of one with holes goes by way of `im2col`; where one works channel by channel on channels that lie side by
side, every weight becomes a block of 16 x 16; a sum or product of two types casts one of them as a whole. Other
processors and versions differ, so that these bytes are part of what is expected and not of what is sure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from torch import Tensor

__all__ = ["inside_operator"]

_BLOCK: Final = 16
_FEW_CHANNELS: Final = 4
"""Images as they come are read without a copy."""
_MIXED: Final = ("aten.add.Tensor", "aten.mul.Tensor", "aten.sub.Tensor", "aten.div.Tensor")
_VOLUME_COPIES: Final = 4


def inside_operator(name: str, args: Sequence[Any], result: Any) -> int:
    """Bytes that an operator holds at its peak beyond what it returns.

    Args:
        name: As `aten.convolution.default`.
        args: What it was given.
        result: What it returned.
    """
    if name == "aten.convolution.default":
        return _forward(args[0], args[1], result)
    if name == "aten.convolution_backward.default":
        return _backward(args)
    if name == "aten.native_batch_norm_backward.default":
        return _bytes(args[1])
    if name in _MIXED and isinstance(args[1], Tensor) and args[0].dtype != args[1].dtype:
        return _bytes(result) if result.is_floating_point() else 0
    return 0


def _forward(given: Tensor, weight: Tensor, result: Tensor) -> int:
    if _is_pointwise(weight):
        return 0
    blocked = _bytes(given) + _bytes(weight) if given.shape[1] >= _FEW_CHANNELS else 0
    return max(blocked, _bytes(result))


def _backward(args: Sequence[Any]) -> int:
    gradient, given, weight, dilation, groups, wanted = args[0], args[1], args[2], args[6], args[9], args[10]
    if _is_pointwise(weight):
        return 0
    if groups > 1 and groups == given.shape[1] and given.stride(1) == 1:
        block = weight.numel() * _BLOCK * _BLOCK
        return int(block * (4 if weight.element_size() == 4 else 6))
    if weight.ndim > 4:
        return max(_VOLUME_COPIES * _bytes(weight), _bytes(gradient))
    if max(dilation) > 1:
        window = given.shape[1] * math.prod(weight.shape[2:]) * math.prod(gradient.shape[2:])
        return int(gradient.shape[0] * window * gradient.element_size())
    read = _bytes(given) if given.shape[1] >= _FEW_CHANNELS and wanted[1] else 0
    return read + _bytes(gradient)


def _is_pointwise(weight: Tensor) -> bool:
    return math.prod(weight.shape[2:]) == 1


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
