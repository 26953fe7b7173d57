"""The keypoint detector: from an image to the areas copied within it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from snellen.errors import DataError
from snellen.models.forgery.detection import BoolMask, Detection, ImageArray
from snellen.models.forgery.keypoint.correlation import Residual, residual_of
from snellen.models.forgery.keypoint.dense import equal_areas
from snellen.models.forgery.keypoint.features import extract_features
from snellen.models.forgery.keypoint.matching import match_features
from snellen.models.forgery.keypoint.measuring import Candidate
from snellen.models.forgery.keypoint.panels import Panel, find_panels
from snellen.models.forgery.keypoint.regions import as_region, union_of, without_repeats
from snellen.models.forgery.keypoint.scoring import accept, image_score
from snellen.models.forgery.keypoint.search import find_candidates, photometric_matches
from snellen.models.forgery.keypoint.settings import KeypointSettings
from snellen.models.forgery.keypoint.sheet import lay_out

__all__ = ["KeypointDetector"]

_SMALLEST = 16


class KeypointDetector:
    """Finds areas of an image that were copied within it, without learned weights.

    SIFT keypoints are matched with each other, upright and mirrored; matches that agree on a transform propose a copy;
    the fine detail of the image then confirms or refutes it pixel by pixel. Small blocks that are equal value for value
    propose the rest: copies too smooth or too small for keypoints. Deterministic; needs numpy and OpenCV.

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
        milliseconds: dict[str, float] = {}
        looks = self._looks(image, milliseconds) if min(size) >= _SMALLEST else []
        start = time.perf_counter()
        regions = without_repeats(
            [
                as_region(look.grey, candidate, score, size=size)
                for look in looks
                for score, candidate in accept(look.candidates, self.settings.threshold)
            ]
        )
        milliseconds["outline"] = 1e3 * (time.perf_counter() - start)
        score = max((image_score(look.candidates, self.settings.threshold) for look in looks), default=0.0)
        return Detection(size, union_of(regions, size), score, regions, None, milliseconds)

    def _looks(self, image: ImageArray, milliseconds: dict[str, float]) -> list[_Look]:
        """What keypoints find, and what comparing small blocks adds to it."""
        working = _reduced(image, self.settings.max_pixels)
        if min(working.shape[:2]) < _SMALLEST:
            return []
        start = time.perf_counter()
        panels = find_panels(image)
        milliseconds["panels"] = 1e3 * (time.perf_counter() - start)
        if panels:
            return self._looks_at_panels(image, working, panels, milliseconds)
        grey = _grey(working)
        residual = residual_of(grey)
        first = _Look(grey, self._candidates(grey, residual, milliseconds))
        if image.shape == working.shape:
            return [_Look(grey, [*first.candidates, *self._equal_areas(image, residual, milliseconds)])]
        if not self._comparable(image):
            return [first]
        # Values are equal only in the pixels as given.
        grey = _grey(image)
        return [first, _Look(grey, self._equal_areas(image, residual_of(grey), milliseconds))]

    def _looks_at_panels(
        self, image: ImageArray, working: ImageArray, panels: tuple[Panel, ...], milliseconds: dict[str, float]
    ) -> list[_Look]:
        """The same on the pictures of a compound figure, without what stands around and on them."""
        scale = (working.shape[1] / image.shape[1], working.shape[0] / image.shape[0])
        sheet = lay_out(working, [panel.scaled(scale) for panel in panels], max_pixels=self.settings.max_pixels)
        first = self._candidates(sheet.grey, sheet.residual, milliseconds, content=sheet.content)
        looks = [_Look(sheet.grey, sheet.judged(first))]
        if self._comparable(image):
            plain = lay_out(image, panels, max_pixels=0)
            second = self._equal_areas(plain.blank, plain.residual, milliseconds)
            looks.append(_Look(plain.grey, plain.judged(second)))
        return looks

    def _comparable(self, image: ImageArray) -> bool:
        """Whether the small blocks of an image can be compared within bounded memory."""
        return bool(image.shape[0] * image.shape[1] <= self.settings.max_block_pixels)

    def _equal_areas(self, image: ImageArray, residual: Residual, milliseconds: dict[str, float]) -> list[Candidate]:
        start = time.perf_counter()
        distance = self.settings.exclusion_radius
        found = equal_areas(image, residual, least_distance=distance) if self._comparable(image) else []
        milliseconds["blocks"] = 1e3 * (time.perf_counter() - start)
        return found

    def _candidates(
        self,
        grey: npt.NDArray[np.uint8],
        residual: Residual,
        milliseconds: dict[str, float],
        *,
        content: BoolMask | None = None,
    ) -> list[Candidate]:
        clock = [time.perf_counter()]
        features = extract_features(grey, self.settings)
        if content is not None:
            features = features.inside(content)
        clock.append(time.perf_counter())
        matches = match_features(features, self.settings)
        clock.append(time.perf_counter())
        matches = photometric_matches(residual, matches, self.settings)
        candidates = find_candidates(residual, matches, self.settings)
        clock.append(time.perf_counter())
        stages = ("features", "matching", "verification")
        milliseconds.update(zip(stages, (1e3 * np.diff(clock)).tolist(), strict=True))
        return candidates


@dataclass(frozen=True, slots=True)
class _Look:
    """A grey plane and what was found on it."""

    grey: npt.NDArray[np.uint8]
    candidates: list[Candidate]


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


def _reduced(image: ImageArray, max_pixels: int) -> ImageArray:
    """The image, made smaller where it has too many pixels."""
    height, width = image.shape[:2]
    scale = (max_pixels / (height * width)) ** 0.5
    if scale >= 1.0:
        return image
    # The side that would vanish in a strip of one pixel's width keeps that pixel.
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _grey(image: ImageArray) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), np.uint8)
