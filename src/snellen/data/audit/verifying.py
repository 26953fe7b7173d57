"""Whether two pictures show the same, decided by their details: textures, edges and letters, place by place.

Fingerprints of pictures that have only their coarse forms in common come close: two retinas, two drawn letters, two
skies. Here the pictures are read again at 128 x 128, freed of everything coarse, evened out in contrast, and compared
in 16 parts; each part may lie up to 4 pixels elsewhere, as in the next frame of a video.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from snellen.data.audit.fingerprints import likeness
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
_WIDE = 0.5
"""Correlation of details with themselves, `_SHIFT` pixels on, from which they are no details but coarse forms, and a
part is found near its place in any picture of such forms. Measured: digits of 8 x 8 and blown up to 28 to 128 pixels
0.63 to 0.80, CIFAR 0.13 to 0.42, photographs, microscopy, retinas, drawn letters and frames of videos at most 0.29."""
_SAME_PLACE = 0.9
_SAME_PLACE_WORST = 0.75
_SAME_WIDE = 0.97
"""The same for coarse forms: two sixes reach 0.96, copies saved again at good quality 0.97."""
_STEPS = 24.0
"""Steps in which details are kept, of which nearly all are within 2.1: correlations change by less than 0.001."""

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
    places = _parts(one)
    centred = places - places.mean(axis=1, keepdims=True)
    full = np.flatnonzero((centred * centred).mean(axis=1) >= _PLAIN**2)
    if len(full) < _FEWEST:
        return False
    # Most copies lie in place; only the others are looked for around it, which costs most of the time.
    still = likeness(places[full], _parts(other)[full]).tolist()
    wide = _is_wide(one)
    if _quantile(still, 2) >= (_SAME_WIDE if wide else _SAME_PLACE) and _quantile(still, 1) >= _SAME_PLACE_WORST:
        return True
    return len(full) >= _MANY and not wide and _found_nearby(one, other, full.tolist())


def _is_wide(detail: Detail) -> bool:
    centred = detail - detail.mean()
    variance = float((centred * centred).mean())
    across = float((centred[:, _SHIFT:] * centred[:, :-_SHIFT]).mean())
    down = float((centred[_SHIFT:] * centred[:-_SHIFT]).mean())
    return across + down >= 2 * _WIDE * variance


def _parts(detail: npt.NDArray[Any]) -> Detail:
    height, width = detail.shape[0] // _PARTS, detail.shape[1] // _PARTS
    cells = detail[: height * _PARTS, : width * _PARTS].reshape(_PARTS, height, _PARTS, width)
    return cells.swapaxes(1, 2).reshape(_PARTS * _PARTS, height * width)


def _found_nearby(one: Detail, other: Detail, parts: Sequence[int]) -> bool:
    padded = cv2.copyMakeBorder(other, _SHIFT, _SHIFT, _SHIFT, _SHIFT, cv2.BORDER_CONSTANT, value=0)
    height, width = one.shape[0] // _PARTS, one.shape[1] // _PARTS
    # With one miss more than may lie below the quarter, the rest need not be looked at.
    misses = (len(parts) - 1) // 4 + 2
    found: list[float] = []
    tried = set[int]()
    for part in parts:
        top, left = part // _PARTS * height, part % _PARTS * width
        around = padded[top : top + height + 2 * _SHIFT, left : left + width + 2 * _SHIFT]
        place = one[top : top + height, left : left + width]
        alike = cv2.matchTemplate(around, place, cv2.TM_CCOEFF_NORMED)
        found.append(float(alike.max()))
        misses -= found[-1] < _ALIKE
        if not misses:
            return False
        # Mostly all parts lie where one does that was found; to compare them there costs less than to look for each.
        shift = int(alike.argmax())
        if found[-1] >= _ALIKE and shift not in tried:
            tried.add(shift)
            if _quantile(_at(one, padded, shift, parts), 1) >= _ALIKE:
                return True
    return _quantile(found, 1) >= _ALIKE


def _at(one: Detail, padded: npt.NDArray[Any], shift: int, parts: Sequence[int]) -> list[float]:
    top, left = divmod(shift, 2 * _SHIFT + 1)
    moved = padded[top : top + one.shape[0], left : left + one.shape[1]]
    alike: list[float] = likeness(_parts(one)[parts], _parts(moved)[parts]).tolist()
    return alike


def _quantile(values: Sequence[float], quarters: int) -> float:
    # In place of numpy's, which takes as long as all the rest for sixteen values.
    ordered = sorted(values)
    place, rest = divmod(quarters * (len(ordered) - 1), 4)
    return ordered[place] + (ordered[min(place + 1, len(ordered) - 1)] - ordered[place]) * rest / 4


class Details:
    """The details of pictures by path, the last few kept.

    Attributes:
        read: Files that were read.
        read_bytes: Their size.

    Args:
        keep: How many are kept; 16 kB each.
    """

    # In a crowd of pictures that look alike each is compared with several, which come in no order: most of the time
    # would go into reading them again.
    def __init__(self, keep: int = 4_096) -> None:
        self._keep = keep
        self._known: OrderedDict[str, npt.NDArray[np.int8] | None] = OrderedDict()
        self.read = self.read_bytes = 0

    def agree(self, one: str, other: str, *, mirrored: bool = False) -> bool:
        """Whether two files show the same, one of them mirrored or not; no when one cannot be read any more."""
        first, second = self._of(one), self._of(other)
        if first is None or second is None:
            return False
        return details_agree(np.ascontiguousarray(first[:, ::-1]) if mirrored else first, second)

    def _of(self, path: str) -> Detail | None:
        if path not in self._known:
            self._known[path] = self._read(path)
            if len(self._known) > self._keep:
                self._known.popitem(last=False)
        self._known.move_to_end(path)
        steps = self._known[path]
        return None if steps is None else steps * np.float32(1 / _STEPS)

    def _read(self, path: str) -> npt.NDArray[np.int8] | None:
        self.read += 1
        try:
            self.read_bytes += Path(path).stat().st_size
            detail = detail_of(read_grey(path, DETAIL_SIDE))
        except (SnellenError, OSError):
            return None
        steps: npt.NDArray[np.int8] = np.clip(np.rint(detail * _STEPS), -127, 127).astype(np.int8)
        return steps
