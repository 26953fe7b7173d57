"""Fitting affine transforms to matches, and naming them."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from snellen.models.forgery.detection import TransformKind
from snellen.models.forgery.keypoint.correlation import Matrix
from snellen.models.forgery.keypoint.features import FloatArray
from snellen.models.forgery.keypoint.matching import ComplexArray, Matches

__all__ = ["apply_matrix", "candidate_matrices", "kind_of", "to_points", "transfer_error"]

_MAX_STRETCH = 1.8


def to_points(values: ComplexArray) -> FloatArray:
    """Complex points as an array `(n, 2)` of x and y."""
    return np.stack([values.real, values.imag], axis=-1).astype(np.float32)


def apply_matrix(matrix: Matrix, values: ComplexArray) -> ComplexArray:
    """Complex points carried through an affine matrix of shape `(2, 3)`."""
    x, y = values.real, values.imag
    real: npt.NDArray[np.float64] = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
    imaginary = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
    return np.asarray(real + 1j * imaginary, np.complex64)


def transfer_error(matrix: Matrix, matches: Matches) -> FloatArray:
    """Distance in pixels between each copy and where `matrix` puts its source."""
    return np.asarray(np.abs(apply_matrix(matrix, matches.source) - matches.copy), np.float32)


def candidate_matrices(group: Matches, *, max_scale: float) -> Iterator[Matrix]:
    """Transforms that may explain a group of matches, the simplest first; `group[0]` is the match that it grew from.

    Pixels pasted without resampling moved by whole numbers, so that translation is tried exactly. MAGSAC++ fits the
    affine map (Barath et al., CVPR 2020, https://arxiv.org/abs/1912.05909).
    """
    if not group.mirrored[0]:
        step = group.copy - group.source
        best = int(np.argmax(group.correlation))
        for anchor in dict.fromkeys([complex(np.round(step[0])), complex(np.round(step[best]))]):
            yield _translation(anchor)
        yield _translation(
            complex(
                np.median(step[np.abs(step - step[0]) < 1.5].real), np.median(step[np.abs(step - step[0]) < 1.5].imag)
            )
        )
    yield _similarity(group)
    if len(group) >= 6:
        nearest = np.argsort(np.abs(group.source - group.source[0]), kind="stable")
        yield _similarity(group.take(nearest[: max(3, len(group) // 3)]))
        matrix = _affine(group)
        if matrix is not None and _plausible(matrix, max_scale):
            yield matrix


def kind_of(matrix: Matrix) -> TransformKind:
    """The simplest family that the linear part belongs to, to within what half a pixel over 50 pixels can tell.

    Example:
        >>> kind_of(np.array([[1.0, 0.0, 40.0], [0.0, 1.0, -7.0]]))
        'translation'
        >>> kind_of(np.array([[-1.0, 0.0, 90.0], [0.0, 1.0, 3.0]]))
        'flip'
    """
    linear = matrix[:, :2]
    if np.linalg.det(linear) < 0:
        return "flip"
    if np.abs(linear - np.eye(2)).max() < 0.01:
        return "translation"
    singular = np.linalg.svd(linear, compute_uv=False)
    if singular[0] / singular[1] > 1.03:
        return "affine"
    return "rotation" if abs(np.sqrt(singular[0] * singular[1]) - 1.0) < 0.015 else "similarity"


def _translation(step: complex) -> Matrix:
    return np.array([[1.0, 0.0, step.real], [0.0, 1.0, step.imag]])


def _similarity(group: Matches) -> Matrix:
    source = group.source.astype(np.complex128)
    if group.mirrored[0]:
        source = source.conj()
    copy = group.copy.astype(np.complex128)
    centred = source - source.mean()
    linear = np.vdot(centred, copy - copy.mean()) / max(float(np.vdot(centred, centred).real), 1e-9)
    shift = copy.mean() - linear * source.mean()
    sign = -1.0 if group.mirrored[0] else 1.0
    return np.array([[linear.real, -sign * linear.imag, shift.real], [linear.imag, sign * linear.real, shift.imag]])


def _affine(group: Matches) -> Matrix | None:
    parameters = cv2.UsacParams()
    parameters.threshold = 1.5
    parameters.maxIterations = 300
    parameters.confidence = 0.99
    parameters.score = cv2.SCORE_METHOD_MAGSAC
    parameters.loMethod = cv2.LOCAL_OPTIM_SIGMA
    parameters.randomGeneratorState = 7
    fitted = cv2.estimateAffine2D(to_points(group.source), to_points(group.copy), parameters)[0]
    # Without a consensus OpenCV returns None, which its type stubs do not know.
    matrix = np.asarray(fitted, np.float64)
    return matrix if matrix.shape == (2, 3) and bool(np.isfinite(matrix).all()) else None


def _plausible(matrix: Matrix, max_scale: float) -> bool:
    singular = np.linalg.svd(matrix[:, :2], compute_uv=False)
    return bool(singular[1] > 1.0 / max_scale and singular[0] < max_scale and singular[0] / singular[1] < _MAX_STRETCH)
