"""What a run file holds as plain nested data, gone through by key path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["numbers_in"]


def numbers_in(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every number of nested settings, by its key path.

    Args:
        settings: Before validation: anything may stand anywhere.
        prefix: Of the key paths.

    Example:
        >>> dict(numbers_in({"optim": {"lr": 0.1, "clip": None}, "seed": 3, "on": True}))
        {'optim.lr': 0.1, 'seed': 3.0}
    """
    for name, value in settings.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from numbers_in(value, f"{key}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield key, float(value)
