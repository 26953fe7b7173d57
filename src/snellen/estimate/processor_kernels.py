"""What operators allocate inside themselves on a CPU and give back before they end: nobody sees it from outside.

Which library computes a convolution is PyTorch's own decision (`ConvParams::use_mkldnn` in
`aten/src/ATen/native/Convolution.cpp`). oneDNN copies what it reads and writes into blocks of 16 channels on processors
with AVX-512 and of 8 elsewhere, the last one filled up; where channels lie side by side it copies weights only. What is
left to PyTorch itself is unfolded into one column for each window. The rest was found by recording the events of the
allocator within single operators (torch 2.13 on x86-64 with AVX-512). Other processors and versions differ, so that
these bytes are part of what is expected and not of what is sure.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

__all__ = ["inside_operator"]

_FEW_CHANNELS: Final = 8
"""Images with so many, as those that come from a file, are read without a copy."""
_MANY_SAMPLES: Final = 16
_SMALL: Final = 20480
"""Values of a single sample that PyTorch computes by itself."""
_SMALL_WINDOW: Final = 3
_FAR: Final = 8
"""oneDNN's kernels for blocks take no wider margin; beyond it windows are unfolded."""
_WIDE: Final = 20
"""Nor a wider window, such as that of large patches, when weights learn."""
_MIXED: Final = ("aten.add.Tensor", "aten.mul.Tensor", "aten.sub.Tensor", "aten.div.Tensor")
_VOLUME_COPIES: Final = 4
_SIDE_BY_SIDE_COPIES: Final = (2, 3)
_FULL: Final = 4
"""Bytes of a float32."""
_BLOCK: Final = 16
_PARTS: Final = 4
_SQUARE: Final = 16 * 16
_VOLUME: Final = 5


def inside_operator(name: str, args: Sequence[Any], result: Any) -> int:
    """Bytes that an operator holds at its peak beyond what it returns.

    Args:
        name: As `aten.convolution.default`.
        args: What it was given.
        result: What it returned.
    """
    if name == "aten.convolution.default":
        given, weight, _, stride, padding, dilation, _, _, groups = args[:9]
        return _forward(_Convolution(given, weight, result, stride, padding, dilation, groups))
    if name == "aten.convolution_backward.default":
        gradient, given, weight, _, stride, padding, dilation, _, _, groups, wanted = args[:11]
        return _backward(_Convolution(given, weight, gradient, stride, padding, dilation, groups), wanted)
    if name == "aten.native_batch_norm_backward.default":
        return _bytes(args[1])
    if name in _MIXED and isinstance(args[1], Tensor) and args[0].dtype != args[1].dtype:
        return _bytes(result) if result.is_floating_point() else 0
    return 0


class _Convolution(NamedTuple):
    """One that is computed, or whose gradients are: `made` is what it makes, or the gradient of that."""

    given: Tensor
    weight: Tensor
    made: Tensor
    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    groups: int

    @property
    def window(self) -> tuple[int, ...]:
        return tuple(self.weight.shape[2:])

    @property
    def depthwise(self) -> bool:
        return self.groups > 1 and self.groups == self.given.shape[1]

    @property
    def side_by_side(self) -> bool:
        """Whether the channels of a pixel lie side by side in memory."""
        return self.given.shape[1] > 1 and self.given.stride(1) == 1

    @property
    def by_onednn(self) -> bool:
        """What PyTorch asks before it hands a convolution over."""
        if self.given.dtype in (torch.bfloat16, torch.float16):
            return _takes_half(self.given.dtype)
        moves = max(self.stride) > 1 or max(self.dilation) > 1
        wide = self.window[-1] != 1 or self.window[-2:][0] != 1
        samples = self.given.shape[0]
        worth = moves or wide or samples >= _MANY_SAMPLES or torch.get_num_threads() > 1
        large = min(self.window[-2:]) > _SMALL_WINDOW or math.prod(self.given.shape[:4]) > _SMALL
        return worth and (self.groups > 1 or samples > 1 or large)

    @property
    def columns(self) -> int:
        """Every window written out, for all samples."""
        if math.prod(self.window) == 1:
            return 0
        places = self.made.shape[0] * math.prod(self.made.shape[2:])
        return int(places * self.given.shape[1] * math.prod(self.window) * self.given.element_size())

    @property
    def sample_columns(self) -> int:
        """Every window of one sample written out, in numbers."""
        return int(math.prod(self.made.shape[2:]) * self.given.shape[1] * math.prod(self.window))

    @property
    def summed(self) -> int:
        """Gradients of half-precision weights are summed up in float32, with one sample turned round beside them."""
        if self.given.dtype is not torch.bfloat16:
            return 0
        plain = math.prod(self.window) > 1 and self.given.shape[1] // self.groups >= _BLOCK
        turned = _bytes(self.given) + _bytes(self.made) if plain else 0
        return 4 * self.weight.numel() + turned // self.given.shape[0]

    @property
    def read(self) -> int:
        """The copy of what is read."""
        return _blocked(self.given) if self.given.shape[1] > _FEW_CHANNELS else 0


def _forward(one: _Convolution) -> int:
    if not one.by_onednn:
        return one.columns
    if one.side_by_side:
        return 0 if math.prod(one.window) == 1 else _SIDE_BY_SIDE_COPIES[0] * _bytes(one.weight)
    written = _blocked(one.made)
    if max(one.padding) > _FAR:
        return written
    return max(one.read + _bytes(one.weight) + written - _bytes(one.made), written)


def _backward(one: _Convolution, wanted: Sequence[bool]) -> int:
    if not one.by_onednn:
        return one.columns
    if one.side_by_side:
        return _side_by_side(one)
    if max(one.padding) > _FAR or max(one.window) > _WIDE:
        return _far(one, wanted)
    if one.given.ndim == _VOLUME and one.given.shape[2] < one.window[0]:
        return _VOLUME_COPIES * _bytes(one.weight)
    gradient = _blocked(one.made)
    for_given = gradient + _blocked(one.given) - _bytes(one.given) if wanted[0] else 0
    if one.depthwise and min(one.window) > _SMALL_WINDOW:
        return max(one.read, gradient)
    for_weight = one.read + gradient + one.summed if wanted[1] else 0
    return max(for_given, for_weight, _bytes(one.weight))


def _far(one: _Convolution, wanted: Sequence[bool]) -> int:
    """One sample's windows are written out, for what is read in float32; weights are summed up in four parts."""
    sample = _bytes(one.given) // one.given.shape[0]
    beside = 0 if one.given.element_size() == _FULL else _FULL // one.given.element_size() * sample
    for_given = _FULL * one.sample_columns + beside if wanted[0] else 0
    parts = _PARTS * _FULL * one.weight.numel()
    for_weight = parts + one.given.element_size() * one.sample_columns if wanted[1] else 0
    return max(for_given, for_weight)


@functools.cache
def _takes_half(dtype: torch.dtype) -> bool:
    """Whether oneDNN computes in a half precision on this processor; PyTorch's own kernels do else."""
    names = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}
    return bool(getattr(torch.ops.mkldnn, names[dtype])())


def _side_by_side(one: _Convolution) -> int:
    gradient = 0 if one.made.stride(1) == 1 else _bytes(one.made)
    if one.depthwise:
        # Every weight becomes a square of channels; small windows have kernels of their own.
        square = one.weight.numel() * _SQUARE * (4 if one.weight.element_size() == 4 else 6)
        return gradient + (square if min(one.window) > _SMALL_WINDOW else 0)
    return gradient + (0 if math.prod(one.window) == 1 else _SIDE_BY_SIDE_COPIES[1] * _bytes(one.weight))


def _blocked(tensor: Tensor) -> int:
    """Bytes of a copy in blocks of channels."""
    block = 16 if "AVX512" in torch.backends.cpu.get_cpu_capability() else 8
    channels = tensor.shape[1]
    return _bytes(tensor) // channels * (-(-channels // block) * block)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
