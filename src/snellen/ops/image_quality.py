"""PSNR and SSIM of images, on RGB and on luma, by the definitions that video restoration compares itself with."""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["luma", "psnr", "ssim", "to_bytes", "ycbcr"]

Floats: TypeAlias = npt.NDArray[np.float64]

_MATRIX: Final = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
"""ITU-R BT.601: R, G, B in 0 to 1 to Y, Cb, Cr without their offsets."""
_OFFSETS: Final = np.array([16.0, 128.0, 128.0])
_WINDOW: Final = 11
_SIGMA: Final = 1.5


def to_bytes(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """A network's output as an image file holds it: `(3, H, W)` in 0 to 1 to `(H, W, 3)` in 0 to 255, half to even.

    Example:
        >>> to_bytes(np.full((3, 1, 1), 1.7)).tolist()
        [[[255, 255, 255]]]
    """
    levels = np.clip(image, 0, 1) * np.asarray(255, image.dtype)
    return np.ascontiguousarray(np.round(levels).astype(np.uint8).transpose(1, 2, 0))


def ycbcr(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Y, Cb and Cr of an RGB image, Y in 16 to 235.

    Args:
        image: `(H, W, 3)`, uint8 or float in 0 to 1.

    Returns:
        Of uint8 rounded to uint8, of float the levels in 0 to 255 as they are.
    """
    whole = image.dtype == np.uint8
    levels = np.asarray(image, np.float64) / (255.0 if whole else 1.0) @ _MATRIX.T + _OFFSETS
    return np.asarray(np.round(levels).astype(np.uint8) if whole else levels.astype(image.dtype))


def luma(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Y of an RGB image, 16 to 235; rounded for uint8.

    Example:
        >>> luma(np.array([[[255, 255, 255]]], np.uint8)).tolist()
        [[235]]
    """
    whole = image.dtype == np.uint8
    levels = np.asarray(image, np.float64) / (255.0 if whole else 1.0) @ _MATRIX[0] + _OFFSETS[0]
    return np.asarray(np.round(levels).astype(np.uint8) if whole else levels.astype(image.dtype))


def psnr(one: npt.NDArray[Any], other: npt.NDArray[Any], *, on_luma: bool = False, border: int = 0) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal images.

    Args:
        one: uint8 or levels in 0 to 255, `(H, W)` or `(H, W, 3)` RGB.
        other: Of the same shape.
        on_luma: Compare luma, unrounded, instead of RGB.
        border: Pixels left out on every side.

    Example:
        >>> round(psnr(np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8)), 3)
        0.0
    """
    first, second = _prepared(one, other, on_luma=on_luma, border=border)
    error = float(np.mean((first - second) ** 2))
    return math.inf if error == 0 else 20 * math.log10(255.0 / math.sqrt(error))


def ssim(one: npt.NDArray[Any], other: npt.NDArray[Any], *, on_luma: bool = False, border: int = 0) -> float:
    """Structural similarity, at most 1: a Gaussian window of 11 pixels, where it lies inside; mean over the channels.

    Args:
        one: uint8 or levels in 0 to 255, `(H, W)` or `(H, W, 3)` RGB.
        other: Of the same shape.
        on_luma: Compare luma, unrounded, instead of RGB.
        border: Pixels left out on every side.

    Raises:
        ValueError: Less than 11 pixels are left.

    Example:
        >>> ssim(np.zeros((16, 16), np.uint8), np.zeros((16, 16), np.uint8))
        1.0
    """
    first, second = _prepared(one, other, on_luma=on_luma, border=border)
    if min(first.shape[:2]) < _WINDOW:
        raise ValueError(f"{first.shape[0]} x {first.shape[1]} pixels, SSIM needs {_WINDOW} x {_WINDOW}")
    channels = [(first, second)] if first.ndim == 2 else [(first[..., k], second[..., k]) for k in range(3)]
    return float(np.mean([_similarity(a, b) for a, b in channels]))


def _prepared(one: npt.NDArray[Any], other: npt.NDArray[Any], *, on_luma: bool, border: int) -> tuple[Floats, Floats]:
    if one.shape != other.shape:
        raise ValueError(f"images of shapes {one.shape} and {other.shape} cannot be compared")
    levels = []
    for image in (one, other):
        # On luma the definition computes in float32, from levels in 0 to 1.
        compared = luma(image.astype(np.float32) / np.float32(255)) if on_luma and image.ndim == 3 else image
        cut = compared[border : compared.shape[0] - border, border : compared.shape[1] - border]
        levels.append(cut.astype(np.float64))
    return levels[0], levels[1]


def _similarity(one: Floats, other: Floats) -> float:
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean1, mean2 = _smoothed(one), _smoothed(other)
    variance1 = _smoothed(one * one) - mean1 * mean1
    variance2 = _smoothed(other * other) - mean2 * mean2
    covariance = _smoothed(one * other) - mean1 * mean2
    above = (2 * mean1 * mean2 + c1) * (2 * covariance + c2)
    below = (mean1 * mean1 + mean2 * mean2 + c1) * (variance1 + variance2 + c2)
    return float((above / below).mean())


def _smoothed(levels: Floats) -> Floats:
    kernel = cv2.getGaussianKernel(_WINDOW, _SIGMA)
    inside = _WINDOW // 2
    whole = np.asarray(cv2.sepFilter2D(levels, cv2.CV_64F, kernel, kernel), np.float64)
    return whole[inside:-inside, inside:-inside]
