"""Numbers that fit their type, and arithmetic that keeps its digits under autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from snellen.errors import ContractError

__all__ = ["accumulation_dtype", "full_precision", "masking_value"]


def masking_value(dtype: torch.dtype) -> float:
    """Smallest finite number of a floating type: what to put where a score must not win.

    A literal such as `-1e9` does not exist in float16 (`value cannot be converted to type at::Half without
    overflow`), and minus infinity turns a row that is masked everywhere into NaN in a softmax. This value does neither.

    Args:
        dtype: A floating type.

    Returns:
        `torch.finfo(dtype).min`, exactly representable in `dtype`.

    Raises:
        ContractError: If `dtype` is not a floating type.

    Example:
        >>> scores = torch.zeros(2, dtype=torch.float16)
        >>> scores.masked_fill(torch.tensor([True, False]), masking_value(scores.dtype)).tolist()
        [-65504.0, 0.0]
    """
    return torch.finfo(_floating(dtype)).min


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Type in which sums over values of `dtype` keep their digits: float32, or float64 for float64.

    Args:
        dtype: A floating type.

    Returns:
        `torch.float32` or `torch.float64`.

    Raises:
        ContractError: If `dtype` is not a floating type.

    Example:
        >>> accumulation_dtype(torch.bfloat16)
        torch.float32
    """
    return torch.float64 if _floating(dtype) is torch.float64 else torch.float32


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Context in which autocast is off on `device`: operators compute in the type of what they are given.

    Args:
        device: Where the tensors lie. A device without autocast is fine.

    Returns:
        A context manager; nesting and re-entering autocast inside are allowed.

    Example:
        >>> with torch.autocast("cpu", dtype=torch.bfloat16), full_precision(torch.device("cpu")):
        ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        torch.float32
    """
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def _floating(dtype: torch.dtype) -> torch.dtype:
    if not dtype.is_floating_point:
        raise ContractError(f"values are {dtype}, expected a floating type", hint="convert them: tensor.float()")
    return dtype
