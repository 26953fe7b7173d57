"""The keypoint detector: from an image to the areas copied within it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from snellen.errors import DataError
from snellen.models.forgery.detection import Area, BoolMask, Detection, ImageArray, RegionPair
from snellen.models.forgery.keypoint.correlation import Matrix, residual_of
from snellen.models.forgery.keypoint.features import extract_features
from snellen.models.forgery.keypoint.geometry import kind_of, to_points
from snellen.models.forgery.keypoint.matching import match_features
from snellen.models.forgery.keypoint.measuring import Candidate, carry_area
from snellen.models.forgery.keypoint.outline import outline_area
from snellen.models.forgery.keypoint.scoring import accept, probability
from snellen.models.forgery.keypoint.search import find_candidates, photometric_matches
from snellen.models.forgery.keypoint.settings import KeypointSettings

__all__ = ["KeypointDetector"]

_SMALLEST = 16


class KeypointDetector:
    """Finds areas of an image that were copied within it, without learned weights.

    SIFT keypoints are matched with each other, upright and mirrored; matches that agree on a transform propose a copy;
    the fine detail of the image then confirms or refutes it pixel by pixel. Deterministic; needs numpy and OpenCV.

    Args:
        settings: Limits and thresholds.

    Example:
        >>> image = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
        >>> image = cv2.GaussianBlur(image, (0, 0), 2.0)
        >>> image[60:140, 200:280] = image[60:140, 20:100]
        >>> detection = KeypointDetector().detect(image)
        >>> detection.regions[0].kind, detection.regions[0].transform[:, 2].tolist()
        ('translation', [180.0, 0.0])
    """

    name = "keypoint"

    def __init__(self, settings: KeypointSettings | None = None) -> None:
        self.settings = KeypointSettings() if settings is None else settings

    def detect(self, image: ImageArray) -> Detection:
        """Find copied areas.

        Args:
            image: RGB, `uint8`, shape `(height, width, 3)`; any size from one pixel on. Larger images than
                `settings.max_pixels` are worked on at that size and answered in their own pixels.

        Returns:
            The mask of sources and copies, the pairs of areas, and as score the probability of the best pair.

        Raises:
            DataError: The array is not an RGB byte image.
        """
        _check(image)
        size = (image.shape[0], image.shape[1])
        grey = _working_copy(image, self.settings.max_pixels)
        milliseconds: dict[str, float] = {}
        candidates = self._candidates(grey, milliseconds) if min(grey.shape) >= _SMALLEST else []
        start = time.perf_counter()
        scale = (grey.shape[1] / size[1], grey.shape[0] / size[0])
        regions = tuple(
            _region(grey, candidate, score, scale=scale, size=size)
            for score, candidate in accept(candidates, self.settings.threshold)
        )
        mask = _union(regions, size)
        milliseconds["outline"] = 1e3 * (time.perf_counter() - start)
        score = max((probability(candidate) for candidate in candidates), default=0.0)
        return Detection(size, mask, score, regions, None, milliseconds)

    def _candidates(self, grey: npt.NDArray[np.uint8], milliseconds: dict[str, float]) -> list[Candidate]:
        clock = [time.perf_counter()]
        features = extract_features(grey, self.settings)
        clock.append(time.perf_counter())
        matches = match_features(features, self.settings)
        clock.append(time.perf_counter())
        residual = residual_of(grey)
        matches = photometric_matches(residual, matches, self.settings)
        candidates = find_candidates(residual, matches, self.settings)
        clock.append(time.perf_counter())
        stages = ("features", "matching", "verification")
        milliseconds.update(zip(stages, (1e3 * np.diff(clock)).tolist(), strict=True))
        return candidates


def _check(image: ImageArray) -> None:
    if not isinstance(image, np.ndarray):
        raise DataError(f"the image is a {type(image).__name__}, expected a numpy array of shape (height, width, 3)")
    if image.dtype != np.uint8:
        raise DataError(
            f"the image holds {image.dtype}, expected uint8 from 0 to 255",
            hint="of floats from 0 to 1 make bytes with (255 * image).round().astype(np.uint8)",
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise DataError(
            f"the image has shape {image.shape}, expected (height, width, 3) with at least one pixel",
            hint="make a grey image RGB with np.repeat(image[..., None], 3, axis=2); drop the alpha channel",
        )


def _working_copy(image: ImageArray, max_pixels: int) -> npt.NDArray[np.uint8]:
    """The grey image, made smaller where it has too many pixels."""
    height, width = image.shape[:2]
    scale = (max_pixels / (height * width)) ** 0.5
    if scale < 1.0:
        # The side that would vanish in a strip of one pixel's width keeps that pixel.
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), np.uint8)


def _region(
    grey: npt.NDArray[np.uint8],
    candidate: Candidate,
    score: float,
    *,
    scale: tuple[float, float],
    size: tuple[int, int],
) -> RegionPair:
    """The pair of areas of a candidate, in pixels of the image as given."""
    source = outline_area(grey.astype(np.float32), candidate.source, candidate.matrix)
    copy = carry_area(source, candidate.matrix, (grey.shape[0], grey.shape[1]))
    matched = np.concatenate([to_points(candidate.matches.source), to_points(candidate.matches.copy)], axis=1)
    matrix = candidate.matrix
    if scale != (1.0, 1.0):
        source, copy = _enlarged(source, scale, size), _enlarged(copy, scale, size)
        matrix = _rescaled(matrix, scale)
        matched = ((matched + 0.5) / np.tile(scale, 2) - 0.5).astype(np.float32)
    return RegionPair(source, copy, matrix, kind_of(matrix), score, matched)


def _rescaled(matrix: Matrix, scale: tuple[float, float]) -> Matrix:
    """The same transform in the pixels of an image larger by one over `scale`."""
    shrink = np.array([[scale[0], 0.0, scale[0] / 2 - 0.5], [0.0, scale[1], scale[1] / 2 - 0.5], [0.0, 0.0, 1.0]])
    full = np.linalg.inv(shrink) @ np.vstack([matrix, [0.0, 0.0, 1.0]]) @ shrink
    return np.asarray(full[:2], np.float64)


def _enlarged(area: Area, scale: tuple[float, float], size: tuple[int, int]) -> Area:
    x0, y0, x1, y1 = area.box
    left, top = round(x0 / scale[0]), round(y0 / scale[1])
    right, bottom = min(round(x1 / scale[0]), size[1]), min(round(y1 / scale[1]), size[0])
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    mask = cv2.resize(area.mask.astype(np.uint8), (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
    return Area((left, top, right, bottom), mask > 0)


def _union(regions: Sequence[RegionPair], size: tuple[int, int]) -> BoolMask:
    mask = np.zeros(size, np.bool_)
    for region in regions:
        for area in (region.source, region.copy):
            x0, y0, x1, y1 = area.box
            mask[y0:y1, x0:x1] |= area.mask
    return mask
