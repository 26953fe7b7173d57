"""What differs on CUDA, applied to a step on the CPU: what autocast runs in half precision, and the mask of dropout.

A step is gone through with CPU tensors, because autograd refuses CUDA ones where there is no driver. The lists are
those of the documentation, https://docs.pytorch.org/docs/stable/amp.html#cuda-op-specific-behavior.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_iter, tree_map

from snellen.trace.shapes import attend_with_modes_on

__all__ = ["CudaRules"]

_HALF = frozenset(
    f"torch.{name}"
    for name in (
        *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
        *("matmul", "mm", "bmm", "addmm", "addmv", "addbmm", "baddbmm", "mv", "prelu", "functional.einsum"),
        *("Tensor.matmul", "Tensor.mm", "Tensor.bmm", "Tensor.addmm", "Tensor.__matmul__", "Tensor.__rmatmul__"),
        *("nn.functional.conv1d", "nn.functional.conv2d", "nn.functional.conv3d", "nn.functional.linear"),
        *("nn.functional.conv_transpose1d", "nn.functional.conv_transpose2d", "nn.functional.conv_transpose3d"),
        *("nn.functional.scaled_dot_product_attention", "nn.functional.prelu"),
    )
)
_FULL = frozenset(
    f"torch.{name}"
    for name in (
        *("exp", "expm1", "log", "log10", "log1p", "log2", "pow", "reciprocal", "rsqrt", "sum", "prod", "cumsum"),
        *(
            "cumprod",
            "norm",
            "dist",
            "cdist",
            "renorm",
            "softmax",
            "log_softmax",
            "sinh",
            "cosh",
            "tan",
            "acos",
            "asin",
        ),
        *("erfinv", "layer_norm", "group_norm", "cosine_similarity"),
        *(
            f"Tensor.{method}"
            for method in ("exp", "log", "log1p", "pow", "__pow__", "rsqrt", "reciprocal", "sum", "prod")
        ),
        *(f"Tensor.{method}" for method in ("cumsum", "cumprod", "norm", "softmax", "log_softmax", "renorm")),
        *(
            f"nn.functional.{name}"
            for name in ("softmax", "log_softmax", "softmin", "softplus", "layer_norm", "group_norm")
        ),
        *(f"nn.functional.{name}" for name in ("cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss")),
        *(f"nn.functional.{name}" for name in ("huber_loss", "kl_div", "soft_margin_loss", "cosine_embedding_loss")),
        *(f"nn.functional.{name}" for name in ("binary_cross_entropy_with_logits", "normalize", "cosine_similarity")),
        *(
            f"nn.functional.{name}"
            for name in ("gaussian_nll_loss", "poisson_nll_loss", "triplet_margin_loss", "pdist")
        ),
    )
)
_WIDEST = frozenset(
    {
        *(f"torch.{name}" for name in ("addcdiv", "addcmul", "atan2", "cross", "dot", "vdot", "functional.tensordot")),
        *(f"torch.Tensor.{name}" for name in ("addcdiv", "addcmul", "atan2", "cross", "dot", "vdot")),
        *(f"torch.{name}" for name in ("grid_sampler", "scatter_add", "index_put", "Tensor.scatter_add")),
        *(f"torch.nn.functional.{name}" for name in ("bilinear", "grid_sample")),
        *("torch.Tensor.index_put",),
    }
)
"""All inputs become the widest of their types."""


class CudaRules(TorchFunctionMode):
    """Casts as `torch.autocast("cuda")` does, with its cache of weights, and drops out as CUDA does.

    Args:
        dtype: `torch.float16`, `torch.bfloat16`, or `None` without autocast.

    Example:
        >>> with CudaRules(torch.bfloat16):
        ...     torch.nn.functional.linear(torch.ones(2, 4), torch.ones(3, 4)).dtype
        torch.bfloat16
    """

    def __init__(self, dtype: torch.dtype | None) -> None:
        super().__init__()
        self._dtype = dtype
        self._weights: dict[int, tuple[Tensor, Tensor]] = {}

    def forget_weights(self) -> None:
        """Let go of the weights in half precision, as leaving autocast does."""
        self._weights.clear()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Cast what goes into a function."""
        kwargs = dict(kwargs or {})
        if func in (F.dropout, torch.dropout):
            return _dropout(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            return attend_with_modes_on(self, args, kwargs)  # its operators are cast one by one
        if self._dtype is None:
            return func(*args, **kwargs)
        name = resolve_name(func) or ""
        if name in _HALF:
            args, kwargs = tree_map(self._to_half, (args, kwargs))
        elif _has_full((args, kwargs)) if name in _WIDEST else name in _FULL and kwargs.get("dtype") is None:
            args, kwargs = tree_map(_to_full, (args, kwargs))
        return func(*args, **kwargs)

    def _to_half(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dtype is not torch.float32:
            return value
        if isinstance(value, nn.Parameter) and value.requires_grad:
            if id(value) not in self._weights:
                self._weights[id(value)] = (value, value.to(self._dtype))
            return self._weights[id(value)][1]
        return value.to(self._dtype)


def _has_full(given: Any) -> bool:
    return any(isinstance(one, Tensor) and one.dtype is torch.float32 for one in tree_iter(given))


def _to_full(value: Any) -> Any:
    half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value


def _dropout(given: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """One byte a value for the mask, where the CPU keeps a whole number."""
    if not training or p == 0.0:
        return given
    dropped = torch.native_dropout(given, p, train=True)[0]
    return given.copy_(dropped) if inplace else dropped
