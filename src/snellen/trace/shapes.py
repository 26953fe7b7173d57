"""Tensors on the meta device wherever a program asks for others: shapes at the speed of C++.

A fake tensor of PyTorch knows on which device it would be, at the price of about 200 microseconds of Python for every
operator. Where the device makes no difference, a meta tensor tells the same for a fifth of that. What cannot be told
so (values that are read, tensors of two devices, kernels that exist for one device only) raises; whoever asked then
takes fake tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_map_only

__all__ = ["attend_with_modes_on", "shapes_only"]

_META = torch.device("meta")
_CONVOLUTION, _BACKWARD = torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default
_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
_POINTWISE = frozenset(
    getattr(torch.ops.aten, name).default
    for name in ("sqrt", "rsqrt", "exp", "neg", "gelu", "relu", "silu", "sigmoid", "tanh", "gelu_backward",
                 "silu_backward", "sigmoid_backward", "tanh_backward")
) | frozenset(getattr(torch.ops.aten, name).Tensor for name in ("add", "sub", "mul", "div"))  # fmt: skip
_IN_PLACE = frozenset(
    {
        *(getattr(torch.ops.aten, name).default for name in ("addcdiv_", "addcmul_", "sqrt_", "relu_", "silu_")),
        *(getattr(torch.ops.aten, name).Tensor for name in ("add_", "sub_", "mul_", "div_")),
        torch.ops.aten.lerp_.Scalar,
    }
)
_WITH_AXES = 3
_NORM = torch.ops.aten.linalg_vector_norm.default
_FLASH = 1
"""The number of the kernel for attention that needs no square matrix, as `torch._fused_sdp_choice` gives it."""


@contextmanager
def shapes_only() -> Iterator[None]:
    """Every tensor that is made inside is on the meta device; constants of one value stay what they are.

    Example:
        >>> with shapes_only():
        ...     torch.zeros(2, 3, device="cpu").device.type
        'meta'
    """
    with _OnMeta(), _Attention():
        yield


class _OnMeta(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sends factories to the meta device, and constants with them where they meet."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._takes_device: dict[Any, bool] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator on the meta device."""
        known = _without_kernel(func, args, kwargs)
        if known is not None:
            return known
        given = dict(kwargs) if kwargs else {}
        takes = self._takes_device.get(func)
        if takes is None:
            takes = any(argument.name == "device" for argument in func._schema.arguments)
            self._takes_device[func] = takes
        if takes:
            given["device"] = _META
        real, meta = _kinds(args)
        if real and (meta or takes):
            args = tree_map_only(Tensor, _moved, args)
        result = func(*args, **given)
        if func is _CONVOLUTION:
            return _laid_out(result, args[0], args[1])
        if func is _BACKWARD and result[0] is not None:
            return (_laid_out(result[0], args[1], args[2]), *result[1:])
        return result


def _without_kernel(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> Tensor | None:
    """What the commonest operators give where it is plain: the kernels of the meta device for them are in Python.

    A training step spends a third of its time there. Tensors of several shapes, types or layouts are none of this.
    """
    in_place = func in _IN_PLACE
    if not in_place and func not in _POINTWISE:
        plain = func is _NORM and len(args) < _WITH_AXES and not kwargs and _is_plain(args[0])
        return args[0].new_empty(()) if plain else None
    first = args[0]
    if not _is_plain(first):
        return None
    for other in args[1:]:
        if isinstance(other, Tensor):
            if other.dim() and not (other.shape == first.shape and other.dtype == first.dtype and _is_plain(other)):
                return None
            if not other.dim() and other.is_complex():
                return None
        elif isinstance(other, complex):
            return None
    return first if in_place else torch.empty_like(first)


def _is_plain(value: Any) -> bool:
    if not isinstance(value, Tensor) or value.device.type != "meta":
        return False
    return value.is_floating_point() and value.dim() > 0 and value.is_contiguous()


def _laid_out(result: Tensor, given: Tensor, weight: Tensor) -> Tensor:
    """Channels lie side by side in what a convolution makes where they do in what it takes, which meta forgets."""
    order = _LAST.get(result.dim())
    if order is None or not any(_is_last(one, order) for one in (given, weight)):
        return result
    return result.contiguous(memory_format=order)


def _is_last(tensor: Tensor, order: torch.memory_format) -> bool:
    return tensor.is_contiguous(memory_format=order) and not tensor.is_contiguous()


def _kinds(args: tuple[Any, ...]) -> tuple[bool, bool]:
    """Whether there are tensors elsewhere that hold more than a value, and whether there are any on the meta device."""
    real = meta = False
    for item in args:
        for one in item if isinstance(item, (list, tuple)) else (item,):
            if isinstance(one, Tensor):
                if one.device.type == "meta":
                    meta = True
                elif one.dim():
                    real = True
    return real, meta


def _moved(tensor: Tensor) -> Tensor:
    if tensor.device.type == "meta" or not tensor.dim():
        return tensor
    return torch.empty_like(tensor, device=_META)


class _Attention(TorchFunctionMode):
    """Takes the kernel for attention that the CPU would take; the meta device knows only the one with all weights."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Look after attention."""
        given = dict(kwargs or {})
        if func is F.multi_head_attention_forward:
            return attend_with_modes_on(self, args, given)
        if func is F.scaled_dot_product_attention:
            return _attention(*args, **given)
        return func(*args, **given)


def attend_with_modes_on(mode: TorchFunctionMode, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """`multi_head_attention_forward`, with a mode that sees the operators of which it is written.

    Args:
        mode: Stays on inside.
        args: Of the function.
        kwargs: Of the function.
    """
    names = vars(F)
    asked = names["has_torch_function"]
    names["has_torch_function"] = _never
    try:
        with mode:
            return F.multi_head_attention_forward(*args, **kwargs)
    finally:
        names["has_torch_function"] = asked


def _never(values: object) -> bool:  # noqa: ARG001 - takes the place of a function of torch
    return False


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    options: dict[str, Any] = {"scale": scale, "enable_gqa": enable_gqa}
    given = (query, key, value, attn_mask)
    if _choice(given, dropout_p, is_causal, options) != _FLASH:
        return F.scaled_dot_product_attention(*given, dropout_p, is_causal, **options)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype)
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return flash(query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale)[0]


def _choice(
    given: tuple[Tensor, Tensor, Tensor, Tensor | None], dropout: float, causal: bool, options: Mapping[str, Any]
) -> int:
    """The kernel that the CPU takes, which its own rules tell for small tensors of the same form."""
    with _disable_current_modes():
        query, key, value = (_small(one, whole=True) for one in given[:3])
        mask = None if given[3] is None else _small(given[3], whole=False)
        return int(torch._fused_sdp_choice(query, key, value, mask, dropout, causal, **options))


def _small(tensor: Tensor, *, whole: bool) -> Tensor:
    """Two where there are more; the width of heads, which the rules look at, as a whole."""
    *outer, width = tensor.shape
    made = torch.empty(*(min(side, 2) for side in outer), width if whole else min(width, 2), dtype=tensor.dtype)
    if tensor.stride(-1) != 1:
        made = made.transpose(-1, -2).contiguous().transpose(-1, -2)
    return made.requires_grad_(tensor.requires_grad)
