"""Whether two pictures show the same, decided by their details: textures, edges and letters, place by place.

Fingerprints of pictures that have only their coarse forms in common come close: two retinas, two drawn letters, two
skies. Here the pictures are read again at 128 x 128, freed of everything coarse, evened out in contrast, and compared
in 16 parts; each part may lie up to 4 pixels elsewhere, as in the next frame of a video.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from snellen.data.audit.shrinking import read_grey
from snellen.errors import SnellenError

__all__ = ["DETAIL_SIDE", "Details", "detail_of", "details_agree"]

DETAIL_SIDE: Final = 128

_PARTS = 4
_SHIFT = 4
_COARSE = 2.0
_NOISE = 2.0
_PLAIN = 0.3
"""Standard deviation of the evened-out details under which a part holds nothing to compare."""
_FEWEST = 6
"""Parts with details under which nothing is believed: one stroke on white is drawn alike twice by chance."""
_MANY = 10
"""Parts with details that a picture needs before small shifts are allowed: of a drawing with few lines, each line would
be found somewhere near."""
_ALIKE = 0.55
"""Correlation that three of four parts must reach. Measured: frames of a video that follow each other mostly 0.6 to
0.9, copies 0.9 and more, different retinas at most 0.44."""
_SAME_PLACE = 0.9
_SAME_PLACE_WORST = 0.75

Detail = npt.NDArray[np.floating[Any]]


def detail_of(grey: npt.NDArray[Any]) -> Detail:
    """The details of a picture: brightness less its surroundings, by how much it varies there."""
    brightness = grey.astype(np.float32)
    fine = brightness - cv2.GaussianBlur(brightness, (0, 0), _COARSE)
    strength = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), 2 * _COARSE))
    result: Detail = fine / (strength + _NOISE)
    return result


def details_agree(one: Detail, other: Detail) -> bool:
    """Whether two pictures of the same size show the same.

    Args:
        one: From `detail_of`.
        other: Likewise.
    """
    return _found_in(one, other) and _found_in(other, one)


def _found_in(one: Detail, other: Detail) -> bool:
    padded = cv2.copyMakeBorder(other, _SHIFT, _SHIFT, _SHIFT, _SHIFT, cv2.BORDER_CONSTANT, value=0)
    height, width = one.shape[0] // _PARTS, one.shape[1] // _PARTS
    shifted, still = [], []
    cells = one[: height * _PARTS, : width * _PARTS].reshape(_PARTS, height, _PARTS, width)
    for row, column in np.argwhere(cells.std(axis=(1, 3)) >= _PLAIN).tolist():
        top, left = row * height, column * width
        around = padded[top : top + height + 2 * _SHIFT, left : left + width + 2 * _SHIFT]
        found = cv2.matchTemplate(around, one[top : top + height, left : left + width], cv2.TM_CCOEFF_NORMED)
        shifted.append(float(found.max()))
        still.append(float(found[_SHIFT, _SHIFT]))
    if len(shifted) >= _MANY and float(np.percentile(shifted, 25)) >= _ALIKE:
        return True
    if len(still) < _FEWEST:
        return False
    worst, middle = np.percentile(still, (25, 50)).tolist()
    return bool(middle >= _SAME_PLACE and worst >= _SAME_PLACE_WORST)


class Details:
    """The details of pictures by path, the last few kept.

    Attributes:
        read: Files that were read.
        read_bytes: Their size.

    Args:
        keep: How many are kept; 64 kB each.
    """

    def __init__(self, keep: int = 256) -> None:
        self._keep = keep
        self._known: OrderedDict[str, Detail | None] = OrderedDict()
        self.read = self.read_bytes = 0

    def agree(self, one: str, other: str, *, mirrored: bool = False) -> bool:
        """Whether two files show the same, one of them mirrored or not; no when one cannot be read any more."""
        first, second = self._of(one), self._of(other)
        if first is None or second is None:
            return False
        return details_agree(np.ascontiguousarray(first[:, ::-1]) if mirrored else first, second)

    def _of(self, path: str) -> Detail | None:
        if path in self._known:
            self._known.move_to_end(path)
            return self._known[path]
        self.read += 1
        try:
            self.read_bytes += Path(path).stat().st_size
            detail: Detail | None = detail_of(read_grey(path, DETAIL_SIDE))
        except (SnellenError, OSError):
            detail = None
        self._known[path] = detail
        if len(self._known) > self._keep:
            self._known.popitem(last=False)
        return detail
