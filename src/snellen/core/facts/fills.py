"""Fill values of masks that a number format cannot hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from snellen.core.finding import Fix, FixSafety

__all__ = ["FLOAT16_MAX", "clamped_fill", "oversized_fills"]

FLOAT16_MAX: Final = 65504.0
"""The largest finite float16."""


def oversized_fills(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Settings that name a fill or mask value which float16 cannot hold: key path and value.

    Example:
        >>> list(oversized_fills({"model": {"mask_value": -1e9, "max_pixels": 1e9}}))
        [('model.mask_value', -1000000000.0)]
    """
    for name, value in settings.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, Mapping):
            yield from oversized_fills(value, key)
        elif isinstance(value, (int, float)) and any(word in str(name) for word in ("fill", "mask")):
            number = float(value)
            yield from ((key, number),) if FLOAT16_MAX < abs(number) < math.inf else ()


def clamped_fill(key: str, value: float, reason: str) -> Fix:
    """The fix for a setting of `oversized_fills`: the largest number of the same sign that float16 holds.

    Example:
        >>> clamped_fill("model.mask_value", -1e9, "it masks as well").settings
        (('model.mask_value', -65504.0),)
    """
    largest = math.copysign(FLOAT16_MAX, value)
    return Fix(f"Write {key}: {largest:.0f}", FixSafety.SAFE, reason, settings=((key, largest),))
