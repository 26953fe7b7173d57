"""Two detectors as one: what either is sure of, and what both suspect."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from snellen.errors import ContractError
from snellen.models.forgery.detection import Detection, ForgeryDetector, ImageArray

__all__ = ["FusedDetector", "fuse"]


def fuse(keypoint: Detection, net: Detection, *, weight: float = 0.5, threshold: float) -> Detection:
    """Blend a detection with regions and one with a heatmap.

    The probability of a pixel is the weighted mean of both detectors' probabilities. A region pair that geometry has
    verified keeps all its pixels whatever the network says of them: it knows their origin, the network guesses.

    Args:
        keypoint: The detection whose regions are kept.
        net: The other one; without a heatmap its mask counts as probability 1.
        weight: Share of `net` in the mean, 0 to 1.
        threshold: Probability from which a pixel counts as altered, 0 to 1.

    Returns:
        A detection with a heatmap, the regions of `keypoint`, the blended score and the times of both by stage.

    Raises:
        ContractError: The two detections are of images of different sizes.

    Example:
        >>> found = Detection((2, 2), np.array([[True, False], [False, False]]), 0.9)
        >>> guess = Detection((2, 2), np.zeros((2, 2), bool), 0.5, heatmap=np.full((2, 2), 0.5, np.float32))
        >>> fuse(found, guess, threshold=0.6).mask
        array([[ True, False],
               [False, False]])
    """
    if keypoint.image_size != net.image_size:
        raise ContractError(
            f"cannot fuse detections of images of {keypoint.image_size} and {net.image_size} (height, width),"
            " expected two detections of one image"
        )
    if not 0.0 <= weight <= 1.0:
        raise ContractError(f"weight is {weight}, expected 0 (the first detector alone) to 1 (the second alone)")
    heatmap = ((1.0 - weight) * _probability(keypoint) + weight * _probability(net)).astype(np.float32)
    return Detection(
        keypoint.image_size,
        (heatmap >= threshold) | keypoint.mask,
        max((1.0 - weight) * keypoint.score + weight * net.score, keypoint.score if keypoint.mask.any() else 0.0),
        keypoint.regions,
        heatmap,
        {**keypoint.milliseconds, **{f"net {stage}": value for stage, value in net.milliseconds.items()}},
    )


class FusedDetector:
    """Runs two detectors on an image and fuses what they find.

    Args:
        keypoint: The detector whose regions are kept.
        net: The detector that gives a probability per pixel.
        weight: Share of `net`, 0 to 1.
        threshold: Probability from which a pixel counts as altered.
    """

    name = "fused"

    def __init__(
        self, keypoint: ForgeryDetector, net: ForgeryDetector, *, weight: float = 0.5, threshold: float = 0.5
    ) -> None:
        self.keypoint = keypoint
        self.net = net
        self.weight = weight
        self.threshold = threshold

    def detect(self, image: ImageArray) -> Detection:
        """Find copied areas in one RGB image of shape `(height, width, 3)`."""
        return fuse(self.keypoint.detect(image), self.net.detect(image), weight=self.weight, threshold=self.threshold)


def _probability(detection: Detection) -> npt.NDArray[np.float32]:
    if detection.heatmap is not None:
        return detection.heatmap
    return _softened(detection.mask.astype(np.float32))


def _softened(mask: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A mask whose border fades over a few pixels, so that a blend does not break off at it."""
    blurred = cv2.GaussianBlur(mask, (0, 0), 2.0) if min(mask.shape) > 1 else mask
    return np.maximum(mask, blurred).astype(np.float32)
