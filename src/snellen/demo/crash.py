"""A crash provoked for real: a mask constant that float16 cannot hold."""

from __future__ import annotations

import traceback

import torch
from torch import Tensor

__all__ = ["provoke_overflow"]


def provoke_overflow() -> str:
    """Run the mistake and return the traceback that it leaves."""
    try:
        _self_correlation(torch.ones(1, 4, 4, dtype=torch.float16))
    except RuntimeError:
        return traceback.format_exc()
    raise RuntimeError("this version of torch fills float16 with -1e9 without complaint")


def _self_correlation(correlation: Tensor) -> Tensor:
    near = torch.eye(correlation.shape[-1], dtype=torch.bool)
    return correlation.masked_fill(near, -1e9)
