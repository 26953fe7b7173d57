"""The search for copied areas: vote, fit, verify, remove, again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snellen.models.forgery.detection import Area, BoolMask
from snellen.models.forgery.keypoint.clustering import agreement, evidence
from snellen.models.forgery.keypoint.correlation import Matrix, Residual, model_correlation, patch_correlation
from snellen.models.forgery.keypoint.features import FloatArray
from snellen.models.forgery.keypoint.geometry import candidate_matrices, transfer_error
from snellen.models.forgery.keypoint.matching import IndexArray, Matches
from snellen.models.forgery.keypoint.measuring import Candidate, carry_area
from snellen.models.forgery.keypoint.refinement import refine_matrix
from snellen.models.forgery.keypoint.scoring import probability
from snellen.models.forgery.keypoint.settings import KeypointSettings
from snellen.models.forgery.keypoint.verification import grow_region

__all__ = ["find_candidates", "photometric_matches"]

_TOLERANCE = 2.0
_LARGEST_GROUP = 60
# Median correlation above which there is nothing left to refine.
_SHARP = 0.97


def photometric_matches(residual: Residual, matches: Matches, settings: KeypointSettings) -> Matches:
    """The matches whose patches agree in fine detail, best first."""
    if not len(matches):
        return matches
    correlation = patch_correlation(residual, matches)
    order = np.argsort(-correlation, kind="stable")[: settings.max_voters]
    order = order[correlation[order] > 0.5]
    chosen = matches.take(order)
    return Matches(chosen.source, chosen.copy, chosen.linear, chosen.mirrored, correlation[order])


def find_candidates(residual: Residual, matches: Matches, settings: KeypointSettings) -> list[Candidate]:
    """Verified areas, in the order of their votes."""
    if len(matches) < 2:
        return []
    agrees = agreement(matches, 0.2 * max(residual.values.shape)).astype(np.float32)
    weight = evidence(matches.correlation)
    alive = np.ones(len(matches), np.float32)
    shape = (residual.values.shape[0], residual.values.shape[1])
    found: list[Candidate] = []
    for turn in range(settings.max_hypotheses):
        votes = (agrees @ (weight * alive)) * alive
        votes += weight * (votes > 0)
        # Many poor matches must not outvote a few perfect ones, so the votes are measured against their own spread.
        support = votes / np.sqrt(agrees @ alive + 1.0) if turn % 2 else votes
        seed = int(support.argmax())
        if votes[seed] < 3.0:
            break
        group = _group(agrees[seed] * alive, seed, weight)
        matrix = _best_matrix(residual, matches.take(group), settings)
        alive[seed] = 0.0
        if matrix is None:
            continue
        follows = (transfer_error(matrix, matches) < _TOLERANCE) & (matches.mirrored == matches.mirrored[seed])
        candidate = _verify(residual, matches, matrix, group, follows)
        alive[follows] = 0.0
        if candidate is not None:
            found.append(candidate)
            if probability(candidate) < 0.2:
                alive[_same_resemblance(candidate, matches, shape)] = 0.0
    return found


def _same_resemblance(candidate: Candidate, matches: Matches, shape: tuple[int, int]) -> BoolMask:
    """Which matches join the two areas of a refuted candidate, or each with itself, without being exact."""
    both = np.zeros(shape, np.bool_)
    for area in (candidate.source, carry_area(candidate.source, candidate.matrix, shape)):
        x0, y0, x1, y1 = area.box
        both[y0:y1, x0:x1] |= area.mask
    inside = np.ones(len(matches), np.bool_)
    for points in (matches.source, matches.copy):
        inside &= both[np.round(points.imag).astype(int), np.round(points.real).astype(int)]
    return inside & (matches.correlation < 0.97)


def _group(agreeing: FloatArray, seed: int, weight: FloatArray) -> IndexArray:
    """The seed and the best of those it agrees with."""
    members = np.flatnonzero(agreeing)
    members = members[np.argsort(-weight[members], kind="stable")][:_LARGEST_GROUP]
    return np.concatenate([[seed], members]).astype(np.intp)


def _best_matrix(residual: Residual, group: Matches, settings: KeypointSettings) -> Matrix | None:
    best: Matrix | None = None
    best_score = 1.0
    for matrix in candidate_matrices(group, max_scale=settings.max_scale):
        inliers = transfer_error(matrix, group) < _TOLERANCE
        if inliers.sum() < 2:
            continue
        correlation = model_correlation(residual, group.source[inliers], matrix)
        score = float((np.clip(correlation, 0.0, 1.0) ** 3).sum())
        if score > best_score * 1.02:
            best, best_score = matrix, score
    return best


def _verify(
    residual: Residual, matches: Matches, matrix: Matrix, group: IndexArray, follows: BoolMask
) -> Candidate | None:
    inside = follows[group]
    precision = float(inside.mean())
    if inside.sum() < 2:
        return None
    reach = 0.35 * max(residual.values.shape)
    near = follows & (np.abs(matches.source - matches.source[group[0]]) < reach)
    inliers = matches.take(np.flatnonzero(near))
    correlation = model_correlation(residual, inliers.source, matrix)
    if np.median(correlation) < 0.55 or (precision < 0.4 and np.median(correlation) < 0.97):
        return None
    candidate = grow_region(residual, matrix, inliers, precision=precision)
    if candidate is not None and candidate.median < _SHARP and candidate.overlap < 0.2:
        candidate = _refined(residual, candidate, inliers, float(np.median(correlation)))
    return None if candidate is None else replace(candidate, dominance=_dominance(candidate.source, matches, follows))


def _refined(residual: Residual, candidate: Candidate, inliers: Matches, before: float) -> Candidate:
    """The candidate after refinement, unless that made the agreement at the matches worse."""
    matrix = refine_matrix(residual.smooth, candidate.source, candidate.matrix)
    if matrix is candidate.matrix or np.median(model_correlation(residual, inliers.source, matrix)) < before:
        return candidate
    again = grow_region(residual, matrix, inliers, precision=candidate.precision)
    return candidate if again is None else again


def _dominance(area: Area, matches: Matches, follows: BoolMask) -> float:
    """Share of the evidence that the matches which touch the area give to its transform; other exact copies aside."""
    x0, y0, x1, y1 = area.box
    touching = np.zeros(len(matches), np.bool_)
    for points in (matches.source, matches.copy):
        x, y = np.round(points.real).astype(int), np.round(points.imag).astype(int)
        inside = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
        touching[inside] |= area.mask[y[inside] - y0, x[inside] - x0]
    weight = evidence(matches.correlation)
    mine = float(weight[touching & follows].sum())
    other = float(weight[touching & ~follows & (matches.correlation < 0.97)].sum())
    return mine / max(mine + other, 1e-6)
