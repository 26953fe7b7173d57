"""The tensors in what a model takes or gives, whatever they are packed in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

__all__ = ["tensors_in"]


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor, in order: in mappings, sequences and dataclasses, one within the other.

    Args:
        value: Of any kind; what holds no tensors that way gives none.

    Example:
        >>> import torch
        >>> [one.shape[0] for one in tensors_in({"logits": torch.ones(2), "more": [torch.ones(3), None, "text"]})]
        [2, 3]
    """
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from tensors_in(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            yield from tensors_in(getattr(value, one.name, None))
