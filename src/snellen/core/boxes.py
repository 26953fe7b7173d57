"""Boxes of annotations: what is wrong with one, and in which other reading of the four numbers it would be right."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from snellen.core.facts.data import Box, FolderAudit, ImageRecord

__all__ = ["READINGS", "PlacedBox", "corners", "fault", "impossible", "other_reading", "placed_boxes"]

READINGS: Final = {
    "xyxy": "x1, y1, x2, y2 in pixels",
    "xywh": "x, y, width, height in pixels",
    "cxcywh": "centre x, centre y, width, height in pixels",
    "yxyx": "y1, x1, y2, x2 in pixels",
    "yxhw": "y, x, height, width in pixels",
    "relative-cxcywh": "centre x, centre y, width, height as shares of the image",
    "relative-cycxhw": "centre y, centre x, height, width as shares of the image",
    "relative-xyxy": "x1, y1, x2, y2 as shares of the image",
    "relative-xywh": "x, y, width, height as shares of the image",
}
"""Ways to read four numbers, for people."""

_SLACK = 0.01
"""How far a box may reach over the edge, as a share of the side: annotators round, and VOC counts pixels from 1."""


@dataclass(frozen=True, slots=True)
class PlacedBox:
    """A box and the image that it lies in."""

    box: Box
    image: ImageRecord

    @property
    def size(self) -> tuple[int, int]:
        """`(height, width)` of the image."""
        return self.image.upright_size


def placed_boxes(folder: FolderAudit) -> Iterator[PlacedBox]:
    """All boxes of images whose size is known."""
    for sample in folder.samples:
        image = folder.images.get(sample.image)
        if image is not None and image.height and image.width:
            yield from (PlacedBox(box, image) for box in sample.boxes or ())


def corners(values: Sequence[float], reading: str, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The corners x1, y1, x2, y2 in pixels.

    Example:
        >>> corners((0.5, 0.5, 0.5, 1.0), "relative-cxcywh", (100, 200))
        (50.0, 0.0, 150.0, 100.0)
    """
    a, b, c, d = values
    height, width = size
    form = reading.removeprefix("relative-")
    if form in ("yxyx", "yxhw", "cycxhw"):
        a, b, c, d = b, a, d, c
    if reading.startswith("relative-"):
        a, b, c, d = a * width, b * height, c * width, d * height
    if form in ("xyxy", "yxyx"):
        return a, b, c, d
    if form in ("cxcywh", "cycxhw"):
        return a - c / 2, b - d / 2, a + c / 2, b + d / 2
    return a, b, a + c, b + d


def fault(values: Sequence[float], reading: str, size: tuple[int, int]) -> str:
    """What is wrong with a box in this reading, `""` when it lies in the image and has an area.

    Example:
        >>> fault((10, 10, 5, 20), "xyxy", (100, 100)), fault((10, 10, 5, 20), "xywh", (100, 100))
        ('ends before it begins', '')
    """
    if not all(math.isfinite(value) for value in values):
        return "is not finite"
    x1, y1, x2, y2 = corners(values, reading, size)
    height, width = size
    if x2 < x1 or y2 < y1:
        return "ends before it begins"
    if x2 == x1 or y2 == y1:
        return "has no area"
    over_x, over_y = max(1.5, _SLACK * width), max(1.5, _SLACK * height)
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        return "lies outside of the image"
    if x1 < -over_x or y1 < -over_y:
        return "has negative coordinates" if min(values[:2]) < 0 else "reaches over the edge"
    return "reaches over the edge" if x2 > width + over_x or y2 > height + over_y else ""


def impossible(one: PlacedBox) -> str:
    """What is wrong with a box as its format states it, `""` for nothing.

    Example:
        >>> image = ImageRecord("a.jpg", 9, height=480, width=640)
        >>> impossible(PlacedBox(Box("cat", (0.1, 0.2, 0.5, 0.75), "xyxy", "a.xml"), image))
        'is smaller than a pixel'
    """
    stated = one.box.convention
    if not stated.startswith("relative-") and all(0 <= value <= 1 for value in one.box.values):
        # Such numbers are shares of the image in any format.
        return "is smaller than a pixel"
    return fault(one.box.values, stated, one.size)


def other_reading(boxes: Iterable[PlacedBox]) -> tuple[str, int, int] | None:
    """The reading that explains boxes which are wrong in the one that their format states.

    Boxes of one convention that are read in another go wrong often, never all: so at least 5% and three of them must
    be wrong as stated, and the other reading must be right for all but 1%.

    Returns:
        The reading, how many are wrong as stated, and of how many; `None` when nothing else fits.
    """
    placed = list(boxes)
    stated = [one for one in placed if impossible(one)]
    if len(stated) < max(3, 0.05 * len(placed)):
        return None
    # The likeliest first: a convention is mixed up more often than the axes are.
    readings = [name for name in READINGS if name != placed[0].box.convention]
    wrong = {name: sum(_unlikely(one, name) for one in placed) for name in readings}
    best = min(readings, key=lambda name: (wrong[name], readings.index(name)))
    allowed = max(0.01 * len(placed), 1 if len(placed) >= 20 else 0)
    return (best, len(stated), len(placed)) if wrong[best] <= allowed else None


def _unlikely(one: PlacedBox, reading: str) -> bool:
    """Whether a box is wrong in a reading, or smaller than a pixel: shares read as pixels are."""
    if fault(one.box.values, reading, one.size):
        return True
    x1, y1, x2, y2 = corners(one.box.values, reading, one.size)
    return x2 - x1 < 1 or y2 - y1 < 1
