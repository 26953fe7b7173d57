"""SIFT keypoints of an image, with RootSIFT descriptors and their mirror images."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from snellen.models.forgery.detection import BoolMask
from snellen.models.forgery.keypoint.settings import KeypointSettings

__all__ = ["Features", "extract_features", "mirror_descriptors"]

FloatArray = npt.NDArray[np.float32]

# SIFT lays its 128 numbers out as 4 rows x 4 columns x 8 orientations in the frame of the dominant gradient.
# Mirroring the patch across that gradient reverses the rows and negates the orientations.
_MIRROR = np.arange(128).reshape(4, 4, 8)[::-1][:, :, (-np.arange(8)) % 8].ravel()


@dataclass(frozen=True, slots=True)
class Features:
    """Keypoints of one image.

    Args:
        points: `(n, 2)`, x and y in pixels.
        frames: `(n,)` complex, scale times `exp(i * angle)`: the frame that the descriptor was taken in.
        descriptors: `(n, 128)`, RootSIFT, unit length.
    """

    points: FloatArray
    frames: npt.NDArray[np.complex64]
    descriptors: FloatArray

    def inside(self, mask: BoolMask) -> Features:
        """The keypoints where `mask`, of the image's shape, is true."""
        x, y = (np.clip(np.rint(self.points[:, k]).astype(np.intp), 0, mask.shape[1 - k] - 1) for k in (0, 1))
        keep = mask[y, x]
        return Features(self.points[keep], self.frames[keep], self.descriptors[keep])


def mirror_descriptors(descriptors: FloatArray) -> FloatArray:
    """Descriptors that the same patches would have in the mirrored image."""
    return np.ascontiguousarray(descriptors[:, _MIRROR])


def extract_features(grey: npt.NDArray[np.uint8], settings: KeypointSettings) -> Features:
    """Detect and describe."""
    sift = cv2.SIFT.create(
        nfeatures=0,
        nOctaveLayers=3,
        contrastThreshold=settings.contrast_threshold,
        edgeThreshold=settings.edge_threshold,
        sigma=1.6,
        descriptorType=cv2.CV_32F,
        enable_precise_upscale=True,
    )
    keypoints, descriptors = sift.detectAndCompute(grey, None)
    if not keypoints:
        return Features(np.zeros((0, 2), np.float32), np.zeros(0, np.complex64), np.zeros((0, 128), np.float32))
    points = np.array([keypoint.pt for keypoint in keypoints], np.float32)
    other = np.array([(keypoint.size, keypoint.angle, keypoint.response) for keypoint in keypoints], np.float32)
    if len(points) > settings.max_keypoints:
        keep = _spread(points, other[:, 2], settings.max_keypoints)
        points, other, descriptors = points[keep], other[keep], descriptors[keep]
    frames = (other[:, 0] * np.exp(1j * np.deg2rad(other[:, 1]))).astype(np.complex64)
    root = np.sqrt(descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1e-6), dtype=np.float32)
    return Features(points, frames, root)


def _spread(points: FloatArray, responses: FloatArray, count: int) -> npt.NDArray[np.intp]:
    """Indices of `count` keypoints, the strongest of every cell of a grid first."""
    cell = (points // 32).astype(np.int64)
    order = np.lexsort((-responses, cell[:, 0], cell[:, 1]))
    key = cell[order, 1] * 100_000 + cell[order, 0]
    start = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
    rank = np.arange(len(order)) - np.repeat(start, np.diff(np.r_[start, len(order)]))
    return np.sort(order[np.lexsort((-responses[order], rank))[:count]])
