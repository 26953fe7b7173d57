"""A compound figure made ready for the search: its pictures alike in contrast, everything else gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from snellen.models.forgery.detection import BoolMask, ImageArray
from snellen.models.forgery.keypoint.correlation import Box, Residual, residual_of
from snellen.models.forgery.keypoint.measuring import Candidate
from snellen.models.forgery.keypoint.panels import Panel

__all__ = ["Sheet", "lay_out"]

# Panels with a shorter side than this are looked at in twice the size: SIFT wants room around its keypoints.
_SMALL = 128
_MEAN, _SPREAD, _MOST_GAIN = 128.0, 48.0, 4.0
# Letters, arrows and bars are drawn in white or black onto pictures that are mostly neither.
_WHITE, _BLACK = 250, 5
_LIGHT, _DARK = 190, 64
_HALO = 3
_INSET = 3
_MOST_POINTS = 2000
# Grey levels, and share of the contrast, by which two pictures may differ beyond brightness and contrast.
_OTHER_COLOUR, _OTHER_CONTRAST = 8.0, 0.3


@dataclass(frozen=True, slots=True)
class Sheet:
    """The pictures of a figure in their places.

    Args:
        grey: Contrast made alike, what is drawn onto the pictures painted over, one grey elsewhere.
        residual: Fine detail of the pictures, nothing elsewhere.
        content: Where the pictures are, less what is drawn onto them.
        number: Of the picture at each pixel, 0 for none.
        blank: The image as given with all but the content in one colour.
        factor: Size of the sheet over that of the image.
    """

    grey: npt.NDArray[np.uint8]
    residual: Residual
    content: BoolMask
    number: npt.NDArray[np.int32]
    blank: ImageArray
    factor: int

    def judged(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates, those between two pictures measured as such.

        Brightness and contrast are set picture by picture, so their difference says nothing there. But channels of one
        field of view beside their overlay are in each other's places on purpose, and differ in more than contrast.
        """
        return [found for candidate in candidates if (found := self._judged(candidate)) is not None]

    def _judged(self, candidate: Candidate) -> Candidate | None:
        rows, columns = np.nonzero(candidate.source.mask)
        points = np.stack([columns + candidate.source.box[0], rows + candidate.source.box[1]]).astype(np.float32)
        points = points[:, :: max(1, points.shape[1] // _MOST_POINTS)]
        moved = (candidate.matrix[:, :2] @ points + candidate.matrix[:, 2:]).astype(np.float32)
        numbers = self.number.astype(np.float32)
        if np.median(_at(numbers, points)) == np.median(_at(numbers, moved)):
            return candidate
        colours = np.asarray(cv2.blur(self.blank, (5, 5)), np.uint8)
        first, second = (_at(colours, ends / np.float32(self.factor)) for ends in (points, moved))
        if np.sqrt((_unexplained(first, second) ** 2).mean()) > _OTHER_COLOUR + _OTHER_CONTRAST * second.std():
            return None
        first, second = (_at(self.residual.smooth, ends) for ends in (points, moved))
        return replace(candidate, shade=float(np.median(np.abs(_unexplained(first, second)))))


def lay_out(image: ImageArray, panels: Sequence[Panel], *, max_pixels: int) -> Sheet:
    """Prepare a figure.

    Args:
        image: RGB, shape `(height, width, 3)`.
        panels: Its pictures.
        max_pixels: Small pictures are enlarged up to this size of the figure.
    """
    short = min(min(panel.box[2] - panel.box[0], panel.box[3] - panel.box[1]) for panel in panels)
    factor = 2 if short < _SMALL and 4 * image.shape[0] * image.shape[1] <= max_pixels else 1
    shape = (factor * image.shape[0], factor * image.shape[1])
    grey = np.full(shape, round(_MEAN), np.uint8)
    smooth, values = np.full(shape, _MEAN, np.float32), np.zeros(shape, np.float32)
    energy, content = np.zeros(shape, np.float32), np.zeros(shape, np.bool_)
    number = np.zeros(shape, np.int32)
    blank = np.full_like(image, round(_MEAN))
    for index, panel in enumerate(panels, start=1):
        picture = _cut(image, panel.box)
        drawn = _drawn(picture)
        x0, y0, x1, y1 = panel.box
        blank[y0:y1, x0:x1][~drawn] = picture[~drawn]
        plain, kept = _evened(picture, drawn, factor)
        place = (slice(factor * y0, factor * y1), slice(factor * x0, factor * x1))
        residual = residual_of(plain)
        grey[place], smooth[place], number[place], content[place] = plain, residual.smooth, index, kept
        values[place], energy[place] = residual.values * kept, residual.energy * kept
    return Sheet(grey, Residual(values, energy, smooth), content, number, blank, factor)


def _cut(image: ImageArray, box: Box) -> ImageArray:
    return np.ascontiguousarray(image[box[1] : box[3], box[0] : box[2]])


def _drawn(picture: ImageArray) -> BoolMask:
    """Pixels of letters, arrows and scale bars, with the halo that smoothing and compression leave around them."""
    middle = float(np.median(picture))
    drawn = np.zeros(picture.shape[:2], np.bool_)
    if middle < _LIGHT:
        drawn |= (picture >= _WHITE).all(2)
    if middle > _DARK:
        drawn |= (picture <= _BLACK).all(2)
    size = 2 * _HALO + 1
    return cv2.dilate(drawn.astype(np.uint8), np.ones((size, size), np.uint8)) > 0


def _evened(picture: ImageArray, drawn: BoolMask, factor: int) -> tuple[npt.NDArray[np.uint8], BoolMask]:
    """The picture in grey with the common contrast, and where it can be trusted."""
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
    if drawn.any() and not drawn.all():
        grey = np.asarray(cv2.inpaint(grey, drawn.astype(np.uint8), _HALO, cv2.INPAINT_TELEA), np.uint8)
    gain = min(_SPREAD / max(float(grey.std()), 1e-3), _MOST_GAIN)
    even = np.clip((grey.astype(np.float32) - float(grey.mean())) * gain + _MEAN, 0, 255)
    kept = ~drawn
    kept[:_INSET], kept[-_INSET:], kept[:, :_INSET], kept[:, -_INSET:] = False, False, False, False
    if factor > 1:
        size = (factor * picture.shape[1], factor * picture.shape[0])
        even = np.clip(cv2.resize(even, size, interpolation=cv2.INTER_CUBIC), 0, 255)
        kept = cv2.resize(kept.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    return np.rint(even).astype(np.uint8), kept


def _at(plane: npt.NDArray[np.float32] | ImageArray, points: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Values at points, columns x and y in rows; shape `(n, channels)`."""
    sampled = cv2.remap(plane, points[0][:, None], points[1][:, None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(sampled, np.float64).reshape(points.shape[1], -1)


def _unexplained(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What is left of the second values after the best gain and offset, common to all channels."""
    centred = first - first.mean()
    gain = float((centred * second).sum() / max(float((centred**2).sum()), 1e-9))
    return np.asarray(second - second.mean() - gain * centred, np.float64)
