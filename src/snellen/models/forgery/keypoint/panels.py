"""The panels of a compound figure, found by the gutters between them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from snellen.models.forgery.detection import BoolMask, ImageArray
from snellen.models.forgery.keypoint.correlation import Box

__all__ = ["Panel", "find_panels"]

# Grey levels within which a pixel is ground: compression leaves ripples around whatever stands on it.
_TOLERANCE = 10
# A gutter is a run of so many rows or columns of which this share is ground; the rest may be lettering.
_GUTTER = 2
_GROUND = 0.94
_SMALLEST = 32
_DEEPEST = 8
# Share of each edge of a picture that is not ground; a drawing or an object cut out touches its box here and there.
_EDGE = 0.6


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of a compound figure.

    Args:
        box: `(x0, y0, x1, y1)`, half-open.
    """

    box: Box

    def scaled(self, scale: tuple[float, float]) -> Panel:
        """The panel in the same figure resized by `scale` (x, y), without the pixels that share in the gutter."""
        if scale == (1.0, 1.0):
            return self
        x0, y0 = math.ceil(self.box[0] * scale[0]), math.ceil(self.box[1] * scale[1])
        x1, y1 = math.floor(self.box[2] * scale[0]), math.floor(self.box[3] * scale[1])
        return Panel((x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)))


def find_panels(image: ImageArray) -> tuple[Panel, ...]:
    """Cut a figure along its gutters, again and again, rows and columns in turn.

    Args:
        image: RGB, shape `(height, width, 3)`.

    Returns:
        Pictures of at least 32 x 32 pixels that fill their boxes, from the top left on; plots, drawings and lettering
        do not. Empty where there are fewer than two, so a photograph has no panels.

    Example:
        >>> figure = np.full((100, 200, 3), 255, np.uint8)
        >>> generator = np.random.default_rng(0)
        >>> figure[10:90, 10:90] = generator.integers(0, 200, (80, 80, 3))
        >>> figure[10:90, 110:190] = generator.integers(0, 200, (80, 80, 3))
        >>> [panel.box for panel in find_panels(figure)]
        [(10, 10, 90, 90), (110, 10, 190, 90)]
    """
    best: tuple[Panel, ...] = ()
    for level in _grounds(image):
        low, high = np.full(3, level - _TOLERANCE, np.float64), np.full(3, level + _TOLERANCE, np.float64)
        ground = cv2.inRange(image, low, high) > 0
        panels = tuple(_leaves(ground, (0, 0, image.shape[1], image.shape[0]), _DEEPEST))
        if len(panels) > max(1, len(best)):
            best = panels
    return best


def _grounds(image: ImageArray) -> tuple[int, ...]:
    """Grey levels that the gutters may have: white, black, and what most of the border is."""
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    grey = border[border.max(1) - border.min(1) <= 2 * _TOLERANCE][:, 1]
    if 2 * len(grey) < len(border):
        return 255, 0
    level = int(np.median(grey))
    return (255, 0) if min(level, 255 - level) <= _TOLERANCE else (level, 255, 0)


def _leaves(ground: BoolMask, box: Box, depth: int) -> Iterator[Panel]:
    """The pictures among the parts of `box` that no gutter cuts."""
    x0, y0, x1, y1 = box
    inside = ground[y0:y1, x0:x1]
    rows = _spans(inside.mean(1) >= _GROUND)
    columns = _spans(inside.mean(0) >= _GROUND)
    if rows == [(0, y1 - y0)] and columns == [(0, x1 - x0)]:
        if _fills_its_box(inside):
            yield Panel(box)
        return
    if depth == 0:
        return
    for top, bottom in rows:
        for left, right in columns:
            if min(bottom - top, right - left) >= _SMALLEST:
                yield from _leaves(ground, (x0 + left, y0 + top, x0 + right, y0 + bottom), depth - 1)


def _spans(gutter: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """What lies between gutters; a gutter narrower than a few pixels is none, except at the border."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], gutter, [True]]).astype(np.int8)))
    spans: list[tuple[int, int]] = []
    for start, end in edges.reshape(-1, 2).tolist():
        if spans and start - spans[-1][1] < _GUTTER:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def _fills_its_box(ground: BoolMask) -> bool:
    """Whether a part is a picture: it reaches its box's edges all along, and little of it is ground."""
    edges = (ground[:2].mean(), ground[-2:].mean(), ground[:, :2].mean(), ground[:, -2:].mean())
    return bool(1.0 - max(edges) >= _EDGE and ground.mean() < 0.5)
