"""How probable it is that a verified area was copied, rather than being one of many that look alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

from snellen.models.forgery.detection import Area
from snellen.models.forgery.keypoint.measuring import Candidate

__all__ = ["accept", "image_score", "log_odds", "probability"]

# Logistic regression on planted copies (translated, rotated, scaled, mirrored; then compressed, blurred or noisy)
# against the best look-alikes of untouched photographs. Signs were constrained to what the quantities mean. The
# intercept and a few of the limits below were then adjusted by hand on small public sets of forgeries, so error rates
# on those sets are optimistic.
_INTERCEPT = -7.9
_LOG_MATCHES = 0.27
_PRECISION = 2.3
_LOG_AREA = 0.35
_OVERLAP = -5.4
_HULL = 3.3
_DOMINANCE = 1.8
_SHADE = -1.26
# Copies in one image may differ by this much in exactness; above the second value they may differ by any amount.
_SPREAD = 0.6
_EXACT_ENOUGH = -0.55
# Share of an area that its own copy may cover; share of one brightness that makes
# paper; pixels of ink on it that may be lettering; share from which any amount of ink is a drawing.
_PERIODIC = 0.25
_PAPER = 0.5
_BLANK_PAPER = 0.6
_LITTLE_INK = 1500


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
    return _SHADE * math.log(candidate.shade + 0.3)


def probability(candidate: Candidate) -> float:
    """Probability, 0 to 1, that the candidate is a copy."""
    return 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, log_odds(candidate)))))


def accept(candidates: Sequence[Candidate], threshold: float) -> list[tuple[float, Candidate]]:
    """The candidates that are copies, with their probabilities, best first.

    The copies in one image were made by one hand with one tool, so they are alike in quality: beside a perfect copy, a
    mediocre one is a look-alike.
    """
    # A drawing is no finding, but what is not as exact as its repeated lines is a look-alike beside them.
    alike = _outside_periodic_textures([candidate for candidate in candidates if not _is_lettering(candidate)])
    scored = sorted(((probability(candidate), candidate) for candidate in alike), key=lambda pair: -pair[0])
    if not scored:
        return []
    floor = min(_exactness(scored[0][1]) - _SPREAD, _EXACT_ENOUGH)
    return [
        pair
        for pair in scored
        if pair[0] >= threshold and _exactness(pair[1]) >= floor and pair[1].ground <= _BLANK_PAPER
    ]


def image_score(candidates: Sequence[Candidate], threshold: float) -> float:
    """Probability of the best pair; where none was accepted, of what came nearest, at most the threshold."""
    accepted = accept(candidates, threshold)
    if accepted:
        return accepted[0][0]
    near = [candidate for candidate in candidates if not _is_lettering(candidate) and candidate.ground <= _BLANK_PAPER]
    return min(max((probability(candidate) for candidate in _outside_periodic_textures(near)), default=0.0), threshold)


def _is_lettering(candidate: Candidate) -> bool:
    """Whether the area is a little ink on flat ground: letters and axes repeat pixel for pixel by nature."""
    return candidate.ground > _PAPER and (1.0 - candidate.ground) * candidate.source.pixels < _LITTLE_INK


def _outside_periodic_textures(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Without those whose area lies mostly in one that repeats over itself, which explains them."""
    periodic = [candidate for candidate in candidates if candidate.overlap > _PERIODIC]
    return [
        candidate
        for candidate in candidates
        if candidate.overlap <= _PERIODIC
        and not any(_share_inside(candidate.source, other.source) > 0.5 for other in periodic)
    ]


def _share_inside(area: Area, other: Area) -> float:
    x0, y0 = max(area.box[0], other.box[0]), max(area.box[1], other.box[1])
    x1, y1 = min(area.box[2], other.box[2]), min(area.box[3], other.box[3])
    if x1 <= x0 or y1 <= y0:
        return 0.0
    mine = area.mask[y0 - area.box[1] : y1 - area.box[1], x0 - area.box[0] : x1 - area.box[0]]
    theirs = other.mask[y0 - other.box[1] : y1 - other.box[1], x0 - other.box[0] : x1 - other.box[0]]
    return int((mine & theirs).sum()) / max(area.pixels, 1)
