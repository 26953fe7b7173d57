"""Photometric agreement of an image with a transformed copy of itself.

What separates a copied area from one that merely looks alike is fine detail: the noise of a sensor and the grain of a
texture come again pixel for pixel in a copy and never in a second window of the same house. So agreement is measured
on the image less its own blur, in small windows, each divided by its own energy so that an edge counts no more than
the grain beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from snellen.models.forgery.keypoint.features import FloatArray
from snellen.models.forgery.keypoint.matching import ComplexArray, Matches

__all__ = [
    "Box",
    "Matrix",
    "Residual",
    "correlation_map",
    "localised",
    "model_correlation",
    "patch_correlation",
    "residual_of",
]

Matrix = npt.NDArray[np.float64]
Box = tuple[int, int, int, int]

_WINDOW = (7, 7)
_SIGMA = 1.5
_HALF_PATCH = 6
# Energy of rounding to whole grey levels (1/12), doubled: below it a window holds no information.
_FLOOR = 1.0 / 6.0


@dataclass(frozen=True, slots=True)
class Residual:
    """An image less its blur.

    Args:
        values: `(height, width)`, grey levels.
        energy: Mean square of `values` over the window around each pixel.
        smooth: The blur.
    """

    values: FloatArray
    energy: FloatArray
    smooth: FloatArray


def residual_of(grey: npt.NDArray[np.uint8]) -> Residual:
    """The fine detail of an image."""
    image = grey.astype(np.float32)
    smooth = np.asarray(cv2.GaussianBlur(image, (0, 0), _SIGMA), np.float32)
    values = image - smooth
    return Residual(values, _mean(values * values), smooth)


def patch_correlation(residual: Residual, matches: Matches) -> FloatArray:
    """Correlation of the patches around each pair of keypoints, in the keypoints' own frames; shape `(n,)`."""
    upright = np.ones(len(matches), np.complex64)
    plain = np.zeros(len(matches), np.bool_)
    first = _patches(residual.values, matches.source, upright, plain)
    second = _patches(residual.values, matches.copy, matches.linear, matches.mirrored)
    return _cosine(first, second)


def model_correlation(residual: Residual, source: ComplexArray, matrix: Matrix) -> FloatArray:
    """Correlation of the patches around `source` with what `matrix` maps them to; shape `(n,)`."""
    side = np.arange(-_HALF_PATCH, _HALF_PATCH + 1, dtype=np.float32)
    x = source.real[:, None] + np.tile(side, len(side))[None, :]
    y = source.imag[:, None] + np.repeat(side, len(side))[None, :]
    first = _sample(residual.values, x, y)
    second = _sample(
        residual.values,
        matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2],
        matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2],
    )
    return _cosine(first, second)


def correlation_map(residual: Residual, matrix: Matrix, box: Box) -> tuple[FloatArray, FloatArray]:
    """Agreement of every pixel of `box` with the pixel that `matrix` maps it to.

    Returns:
        The correlation, -1 to 1, and the smaller of the two energies; both of the shape of `box`.
    """
    x0, y0, x1, y1 = box
    local = localised(matrix, box, into=(0, 0))
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    warped = np.asarray(cv2.warpAffine(residual.values, local, (x1 - x0, y1 - y0), flags=flags), np.float32)
    values, energy = residual.values[y0:y1, x0:x1], residual.energy[y0:y1, x0:x1]
    warped_energy = _mean(warped * warped)
    product = _mean(values * warped)
    correlation = product / np.sqrt((energy + _FLOOR) * (warped_energy + _FLOOR))
    return correlation.astype(np.float32), np.minimum(energy, warped_energy)


def localised(matrix: Matrix, box: Box, *, into: tuple[int, int]) -> Matrix:
    """The same transform from coordinates inside `box` to coordinates relative to the point `into`."""
    local = matrix.copy()
    local[:, 2] += matrix[:, :2] @ np.array(box[:2], np.float64) - into
    return local


def _mean(values: FloatArray) -> FloatArray:
    return np.asarray(cv2.boxFilter(values, -1, _WINDOW, borderType=cv2.BORDER_REFLECT), np.float32)


def _patches(
    plane: FloatArray, centre: ComplexArray, linear: ComplexArray, mirrored: npt.NDArray[np.bool_]
) -> FloatArray:
    side = np.arange(-_HALF_PATCH, _HALF_PATCH + 1)
    step = (side[None, :] + 1j * side[:, None]).ravel().astype(np.complex64)
    position = centre[:, None] + linear[:, None] * np.where(mirrored[:, None], step.conj(), step)
    return _sample(plane, position.real, position.imag)


def _sample(plane: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    sampled = cv2.remap(
        plane,
        np.ascontiguousarray(x, np.float32),
        np.ascontiguousarray(y, np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(sampled, np.float32)


def _cosine(first: FloatArray, second: FloatArray) -> FloatArray:
    floor = _FLOOR * first.shape[1]
    energy = (np.einsum("ij,ij->i", first, first) + floor) * (np.einsum("ij,ij->i", second, second) + floor)
    result: FloatArray = np.einsum("ij,ij->i", first, second) / np.sqrt(energy)
    return result
