"""The search for copied areas: vote, fit, verify, remove, again."""

from __future__ import annotations

import numpy as np

from snellen.models.forgery.keypoint.clustering import agreement, evidence
from snellen.models.forgery.keypoint.correlation import Matrix, Residual, model_correlation, patch_correlation
from snellen.models.forgery.keypoint.geometry import candidate_matrices, transfer_error
from snellen.models.forgery.keypoint.matching import IndexArray, Matches
from snellen.models.forgery.keypoint.settings import KeypointSettings
from snellen.models.forgery.keypoint.verification import Candidate, grow_region

__all__ = ["find_candidates", "photometric_matches"]

_TOLERANCE = 2.0
_LARGEST_GROUP = 60


def photometric_matches(residual: Residual, matches: Matches, settings: KeypointSettings) -> Matches:
    """The matches whose patches agree in fine detail, best first."""
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
    found: list[Candidate] = []
    for _ in range(settings.max_hypotheses):
        votes = (agrees @ (weight * alive)) * alive
        votes += weight * (votes > 0)
        seed = int(votes.argmax())
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
    return found


def _group(agreeing, seed: int, weight) -> IndexArray:
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


def _verify(residual: Residual, matches: Matches, matrix: Matrix, group: IndexArray, follows) -> Candidate | None:
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
    return grow_region(residual, matrix, inliers, precision=precision)
