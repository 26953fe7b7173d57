"""How probable it is that a verified area was copied, rather than being one of many that look alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

from snellen.models.forgery.keypoint.verification import Candidate

__all__ = ["accept", "log_odds", "probability"]

# Logistic regression on planted copies (translated, rotated, scaled, mirrored; then compressed, blurred or noisy)
# against the best look-alikes of untouched photographs. Signs were constrained to what the quantities mean, and
# five-fold cross-validation over the images gave the same error as the fit itself.
_INTERCEPT = -10.95
_LOG_MATCHES = 0.3
_PRECISION = 3.2
_MEDIAN = 0.33
_LOWER = 4.5
_LOG_AREA = 0.44
_OVERLAP = -6.9
_HULL = 1.9
_DOMINANCE = 2.4
_SHADE = -1.6
# Copies of one image may differ by this much in the logarithm of their odds.
_SPREAD = 3.0


def log_odds(candidate: Candidate) -> float:
    """Logarithm of the odds that the candidate is a copy."""
    return (
        _INTERCEPT
        + _LOG_MATCHES * math.log(max(len(candidate.matches), 1))
        + _PRECISION * candidate.precision
        - _MEDIAN * math.log(max(1.0 - candidate.median, 0.003))
        + _LOWER * candidate.lower
        + _LOG_AREA * math.log(max(candidate.source.pixels, 1))
        + _OVERLAP * candidate.overlap
        + _HULL * candidate.hull
        + _DOMINANCE * candidate.dominance
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
    floor = log_odds(scored[0][1]) - _SPREAD
    return [pair for pair in scored if pair[0] >= threshold and log_odds(pair[1]) >= floor]
