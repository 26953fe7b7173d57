"""What a copy-move detector returns, whichever method found it.

Coordinates are pixels of the image as given to the detector, `x` to the right and `y` down, the centre of the top
left pixel at `(0, 0)`. Boxes are half-open: `x1` and `y1` are one past the last pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from snellen.errors import DataError

__all__ = [
    "Area",
    "BoolMask",
    "Detection",
    "ForgeryDetector",
    "ImageArray",
    "RegionPair",
    "TransformKind",
    "check_image_array",
]

ImageArray = npt.NDArray[np.uint8]
"""RGB image, shape `(height, width, 3)`, values 0 to 255."""

BoolMask = npt.NDArray[np.bool_]
"""Mask, shape `(height, width)`, true where altered."""

TransformKind = Literal["translation", "rotation", "similarity", "affine", "flip"]


@dataclass(frozen=True, slots=True)
class Area:
    """A part of an image: a box and the mask inside it.

    Args:
        box: `(x0, y0, x1, y1)`, half-open.
        mask: Shape `(y1 - y0, x1 - x0)`.
    """

    box: tuple[int, int, int, int]
    mask: BoolMask

    @property
    def pixels(self) -> int:
        """Number of pixels in the area."""
        return int(self.mask.sum())


@dataclass(frozen=True, slots=True)
class RegionPair:
    """One area and its copy.

    Which of the two came first cannot always be told from the pixels; `source` and `copy` name the direction of
    `transform`, not a verdict on who copied whom.

    Args:
        source: The area that `transform` starts from.
        copy: The area that it leads to.
        transform: Affine matrix of shape `(2, 3)`: `copy_xy = transform @ (x, y, 1)`.
        kind: The simplest family of transforms that the matrix belongs to.
        score: How well source and copy agree after warping, 0 to 1.
        matches: Matched points, shape `(n, 4)`, columns `x_source, y_source, x_copy, y_copy`.
    """

    source: Area
    copy: Area
    transform: npt.NDArray[np.float64]
    kind: TransformKind
    score: float
    matches: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Detection:
    """Everything found in one image.

    Args:
        image_size: `(height, width)`.
        mask: Altered pixels, source and copy alike; shape `image_size`.
        score: Image score, 0 (nothing found) to 1.
        regions: The pairs of areas, best first; empty when the detector works without correspondences.
        heatmap: Probability per pixel, shape `image_size`, or `None` for a detector that decides per region.
        milliseconds: Time by stage.
    """

    image_size: tuple[int, int]
    mask: BoolMask
    score: float
    regions: tuple[RegionPair, ...] = ()
    heatmap: npt.NDArray[np.float32] | None = None
    milliseconds: Mapping[str, float] = field(default_factory=dict)


class ForgeryDetector(Protocol):
    """The interface that `keypoint`, `net` and their fusion share."""

    name: str

    def detect(self, image: ImageArray) -> Detection:
        """Find copied areas in one RGB image of any size, shape `(height, width, 3)`."""
        ...


def check_image_array(image: object) -> None:
    """Refuse anything but a non-empty RGB array of bytes.

    Raises:
        DataError: Names what was given.
    """
    given = f"{image.dtype} array of shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError(
            f"given {given}, expected an RGB image as uint8 array (height, width, 3)",
            hint="snellen.data.reading.read_image(path).pixels gives one",
        )
    if image.size == 0:
        raise DataError(f"given {given}, expected at least one pixel")
