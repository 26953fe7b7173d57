"""How probable it is that a verified area was copied, rather than being one of many that look alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

from snellen.models.forgery.keypoint.measuring import Candidate

__all__ = ["accept", "log_odds", "probability"]

# Logistic regression on planted copies (translated, rotated, scaled, mirrored; then compressed, blurred or noisy)
# against the best look-alikes of untouched photographs. Signs were constrained to what the quantities mean, and
# five-fold cross-validation over the images gave the same error as the fit itself.
_INTERCEPT = -9.4
_LOG_MATCHES = 0.22
_PRECISION = 3.2
_MEDIAN = 0.1
_LOWER = 2.1
_LOG_AREA = 0.43
_OVERLAP = -6.6
_HULL = 2.1
_DOMINANCE = 2.1
_SHADE = -1.5
# Copies in one image may differ by this much in exactness; above the second value they may differ by any amount.
_SPREAD = 1.0
_EXACT_ENOUGH = 1.4


def log_odds(candidate: Candidate) -> float:
    """Logarithm of the odds that the candidate is a copy."""
    return (
        _INTERCEPT
        + _LOG_MATCHES * math.log(max(len(candidate.matches), 1))
        + _PRECISION * candidate.precision
        + _exactness(candidate)
        + _LOG_AREA * math.log(max(candidate.source.pixels, 1))
        + _OVERLAP * candidate.overlap
        + _HULL * candidate.hull
        + _DOMINANCE * candidate.dominance
    )


def _exactness(candidate: Candidate) -> float:
    """The part of the log-odds that tells how true to the source the pixels are."""
    return (
        -_MEDIAN * math.log(max(1.0 - candidate.median, 0.003))
        + _LOWER * candidate.lower
        + _SHADE * math.log(candidate.shade + 0.3)
    )


def probability(candidate: Candidate) -> float:
    """Probability, 0 to 1, that the candidate is a copy."""
    return 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, log_odds(candidate)))))


def accept(candidates: Sequence[Candidate], threshold: float) -> list[tuple[float, Candidate]]:
    """The candidates that are copies, with their probabilities, best first.

    The copies in one image were made by one hand with one tool, so they are alike in quality: beside a perfect copy, a
    mediocre one is a look-alike.
    """
    scored = sorted(((probability(candidate), candidate) for candidate in candidates), key=lambda pair: -pair[0])
    if not scored:
        return []
    floor = min(_exactness(scored[0][1]) - _SPREAD, _EXACT_ENOUGH)
    return [pair for pair in scored if pair[0] >= threshold and _exactness(pair[1]) >= floor]
