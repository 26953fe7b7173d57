"""How probable it is that a verified area was copied, rather than being one of many that look alike."""

from __future__ import annotations

import math

from snellen.models.forgery.keypoint.verification import Candidate

__all__ = ["probability"]

# Logistic regression on planted copies (translated, rotated, scaled, mirrored; then compressed, blurred or noisy)
# against the best look-alikes of untouched photographs. Signs were constrained to what the quantities mean, and
# five-fold cross-validation over the images gave the same error as the fit itself.
_INTERCEPT = -17.0
_LOG_MATCHES = 0.45
_PRECISION = 3.2
_MEDIAN = 0.14
_LOWER = 3.3
_LOG_AREA = 0.6
_OVERLAP = -5.7
_HULL = 5.1
_DOMINANCE = 3.6


def probability(candidate: Candidate) -> float:
    """Probability, 0 to 1, that the candidate is a copy."""
    logit = (
        _INTERCEPT
        + _LOG_MATCHES * math.log(max(len(candidate.matches), 1))
        + _PRECISION * candidate.precision
        - _MEDIAN * math.log(max(1.0 - candidate.median, 0.003))
        + _LOWER * candidate.lower
        + _LOG_AREA * math.log(max(candidate.source.pixels, 1))
        + _OVERLAP * candidate.overlap
        + _HULL * candidate.hull
        + _DOMINANCE * candidate.dominance
    )
    return 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, logit))))
