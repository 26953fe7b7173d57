"""The keypoint detector: from an image to copied areas and their mask."""

from __future__ import annotations

import time

import cv2
import numpy as np

from snellen.errors import DataError
from snellen.models.forgery.detection import Area, Detection, ImageArray, RegionPair
from snellen.models.forgery.keypoint.correlation import Residual, residual_of
from snellen.models.forgery.keypoint.features import extract_features
from snellen.models.forgery.keypoint.geometry import kind_of, to_points
from snellen.models.forgery.keypoint.matching import match_features
from snellen.models.forgery.keypoint.outline import outline_area
from snellen.models.forgery.keypoint.scoring import accept, probability
from snellen.models.forgery.keypoint.search import find_candidates, photometric_matches
from snellen.models.forgery.keypoint.settings import KeypointSettings
from snellen.models.forgery.keypoint.verification import Candidate, carry_area

__all__ = ["KeypointDetector"]

_SMALLEST = 16


class KeypointDetector:
    """Finds areas of an image that were copied within it."""

    name = "keypoint"

    def __init__(self, settings: KeypointSettings = KeypointSettings()) -> None:
        self.settings = settings

    def detect(self, image: ImageArray) -> Detection:
        """Find copied areas."""
        _check(image)
        height, width = image.shape[:2]
        clock = [time.perf_counter()]
        scale = min(1.0, (self.settings.max_pixels / (height * width)) ** 0.5)
        grey = _grey(image, scale)
        candidates: list[Candidate] = []
        stages = {}
        if min(grey.shape) >= _SMALLEST:
            features = extract_features(grey, self.settings)
            clock.append(time.perf_counter())
            matches = match_features(features, self.settings)
            clock.append(time.perf_counter())
            residual = residual_of(grey)
            matches = photometric_matches(residual, matches, self.settings)
            clock.append(time.perf_counter())
            candidates = find_candidates(residual, matches, self.settings)
            clock.append(time.perf_counter())
            stages = {
                k: 1e3 * (b - a)
                for k, a, b in zip(("features", "matching", "photometric", "search"), clock, clock[1:], strict=False)
            }
        self.last = candidates
        score = max((probability(candidate) for candidate in candidates), default=0.0)
        accepted = accept(candidates, self.settings.threshold)
        mask = np.zeros(grey.shape, np.bool_)
        regions = []
        for value, candidate in accepted:
            source = outline_area(grey.astype(np.float32), candidate.source, candidate.matrix)
            copy = carry_area(source, candidate.matrix, grey.shape)
            for area in (source, copy):
                x0, y0, x1, y1 = area.box
                mask[y0:y1, x0:x1] |= area.mask
            matched = np.concatenate([to_points(candidate.matches.source), to_points(candidate.matches.copy)], axis=1)
            regions.append(
                RegionPair(source, copy, candidate.matrix, kind_of(candidate.matrix), value, matched)
            )
        if scale < 1.0:
            mask = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
        return Detection((height, width), mask, score, tuple(regions), None, stages)


def _grey(image: ImageArray, scale: float):
    if scale < 1.0:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)


def _check(image: ImageArray) -> None:
    if (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[2] != 3
        or not image.size
    ):
        raise DataError("bad image")
