"""From a raw mask to one that is worth showing: no specks, no pinholes."""

from __future__ import annotations

import cv2
import numpy as np

from snellen.models.forgery.detection import BoolMask

__all__ = ["clean_mask"]


def clean_mask(mask: BoolMask, *, min_area: int, close_radius: int = 0, fill_holes: bool = True) -> BoolMask:
    """Drop small components and fill holes.

    Args:
        mask: Shape `(H, W)`.
        min_area: Components of fewer pixels are dropped; 8-connected. Holes of fewer pixels are filled.
        close_radius: Gaps up to twice this many pixels are closed first.
        fill_holes: Whether holes are filled.

    Returns:
        A new mask of the same shape.

    Example:
        >>> mask = np.zeros((9, 9), bool)
        >>> mask[1:6, 1:6] = True
        >>> mask[3, 3], mask[8, 8] = False, True
        >>> int(clean_mask(mask, min_area=4).sum())
        25
    """
    pixels = mask.astype(np.uint8)
    if close_radius > 0:
        side = 2 * close_radius + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        pixels = np.asarray(cv2.morphologyEx(pixels, cv2.MORPH_CLOSE, kernel), dtype=np.uint8)
    kept = _large_components(pixels > 0, min_area, connectivity=8)
    if fill_holes:
        kept = ~_large_components(~kept, min_area, connectivity=4)
    return kept


def _large_components(mask: BoolMask, min_area: int, *, connectivity: int) -> BoolMask:
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=connectivity)
    large = statistics[:, cv2.CC_STAT_AREA] >= min_area
    large[0] = False
    kept: BoolMask = large[labels]
    return kept
