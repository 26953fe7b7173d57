"""The exact outline of a copied area, from differences of single pixels."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from snellen.models.forgery.detection import Area, BoolMask
from snellen.models.forgery.keypoint.correlation import Box, Matrix, localised
from snellen.models.forgery.keypoint.features import FloatArray

__all__ = ["outline_area"]

# A correlation window sees across the border by half its width; so far may the outline move either way.
_REACH = 5
# Mean absolute difference, in grey levels, under which a copy was pasted without resampling or compression.
_EXACT = 0.35


def outline_area(grey: FloatArray, area: Area, matrix: Matrix) -> Area:
    """Redraw the border of a verified area pixel by pixel.

    The differences inside tell how exact the copy is; a pixel belongs to it where its neighbourhood differs no more.
    Where the copy is exact, the smooth parts of it that correlation cannot judge are recognised too, at any distance.

    Args:
        grey: The image, shape `(height, width)`.
        area: The area found by correlation.
        matrix: From the area to its copy.
    """
    exact = False
    for pad in (16, 64, 192):
        box = _padded(area.box, pad, grey.shape)
        seed = _in_box(area, box)
        difference, flat = _difference(grey, matrix, box, seed)
        typical = float(np.quantile(difference[seed], 0.25))
        exact = typical < _EXACT
        near = cv2.dilate(seed.astype(np.uint8), _disc(_REACH)) > 0
        similar = difference < 3.0 * typical + 0.3
        allowed = similar & (near | (exact & ~flat))
        inner = cv2.erode(seed.astype(np.uint8), _disc(_REACH)) > 0
        grown = _connected(_opened(allowed), inner if inner.any() else seed)
        if not exact or not _touches(grown, box, grey.shape):
            break
    if grown.sum() < 0.3 * seed.sum():
        return area
    # The mean over 3 x 3 pixels rejects the outermost ones, which have one foot outside.
    return Area(box, cv2.dilate(_filled(grown).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)


def _difference(grey: FloatArray, matrix: Matrix, box: Box, seed: BoolMask) -> tuple[FloatArray, BoolMask]:
    """Smoothed absolute difference to the copy less its brightness change; and where neither holds any detail."""
    x0, y0, x1, y1 = box
    local = localised(matrix, box, into=(0, 0))
    size = (x1 - x0, y1 - y0)
    outside = -1e3
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(grey, local, size, flags=flags, borderValue=outside)
    own = grey[y0:y1, x0:x1]
    signed = own - warped
    signed -= np.median(signed[seed])
    difference = np.asarray(cv2.blur(np.abs(signed), (3, 3)), np.float32)
    spread = cv2.morphologyEx(own, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8))
    return difference, spread < 1.0


def _in_box(area: Area, box: Box) -> BoolMask:
    result = np.zeros((box[3] - box[1], box[2] - box[0]), np.bool_)
    x, y = area.box[0] - box[0], area.box[1] - box[1]
    result[y : y + area.mask.shape[0], x : x + area.mask.shape[1]] = area.mask
    return result


def _padded(box: Box, pad: int, shape: tuple[int, ...]) -> Box:
    return max(box[0] - pad, 0), max(box[1] - pad, 0), min(box[2] + pad, shape[1]), min(box[3] + pad, shape[0])


def _disc(radius: int) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)


def _opened(mask: BoolMask) -> BoolMask:
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, _disc(2)) > 0


def _connected(mask: BoolMask, seed: BoolMask) -> BoolMask:
    labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[1]
    return np.isin(labels, np.setdiff1d(np.unique(labels[seed & mask]), [0]))


def _filled(mask: BoolMask) -> BoolMask:
    padded = np.pad(mask.astype(np.uint8), 6)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, _disc(4))
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(closed, contours, -1, 1, cv2.FILLED)
    return closed[6:-6, 6:-6] > 0


def _touches(mask: BoolMask, box: Box, shape: tuple[int, ...]) -> bool:
    x0, y0, x1, y1 = box
    return bool(
        (x0 > 0 and mask[:, 0].any())
        or (y0 > 0 and mask[0].any())
        or (x1 < shape[1] and mask[:, -1].any())
        or (y1 < shape[0] and mask[-1].any())
    )
