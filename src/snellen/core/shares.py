"""How sure a share is that was counted."""

from __future__ import annotations

import math

__all__ = ["wilson"]


def wilson(hits: float, of: float, *, deviations: float = 1.96) -> tuple[float, float]:
    """The interval in which a share lies, by Wilson's score; 1.96 deviations are 95%, 2.58 are 99%.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, 1927.

    Args:
        hits: How many were counted.
        of: Among how many; with none, nothing is known.
        deviations: How sure.

    Example:
        >>> [round(end, 3) for end in wilson(10, 100)]
        [0.055, 0.174]
    """
    if of <= 0:
        return 0.0, 1.0
    share, square = hits / of, deviations**2 / of
    middle = (share + square / 2) / (1 + square)
    half = deviations / (1 + square) * math.sqrt(share * (1 - share) / of + square / (4 * of))
    return max(0.0, middle - half), min(1.0, middle + half)
