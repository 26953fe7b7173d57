"""Copy-move detection from keypoints and dense verification: no learned weights, numpy and OpenCV only."""

from __future__ import annotations

from snellen.models.forgery.keypoint.detector import KeypointDetector
from snellen.models.forgery.keypoint.settings import KeypointSettings

__all__ = ["KeypointDetector", "KeypointSettings"]
