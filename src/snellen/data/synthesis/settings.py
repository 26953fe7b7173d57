"""What synthetic copy-move forgeries may look like, and what one of them is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from snellen.errors import DataError

__all__ = [
    "CopiedRegion",
    "CopyMoveSettings",
    "PostProcessing",
    "RegionShape",
    "SyntheticForgery",
    "SyntheticKind",
]

RegionShape = Literal["segment", "blob", "polygon", "box", "ellipse"]
"""Outline of a copied region; a segment follows the edges of the photo, as a person cutting out an object does."""

SyntheticKind = Literal["translation", "rotation", "similarity", "affine", "flip"]
"""The simplest family of transforms that a copy belongs to."""

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class CopyMoveSettings:
    """Ranges from which every forgery is drawn; probabilities are 0 to 1.

    Args:
        longest_side: Photos are shrunk to this many pixels first.
        crop: Share of each side that is kept, cut out at a random place.
        area: Share of the image that one region covers.
        copies: Smallest and largest number of copies of the one source; more are rarer.
        shapes: Outlines to choose from.
        transformed: Probability that a copy is rotated, scaled, flipped or sheared instead of only moved.
        rotation: Largest rotation in degrees, either way.
        scale: Range of scales, drawn evenly in the logarithm.
        flip: Probability of a mirror image among transformed copies.
        shear: Largest shear among transformed copies; two in ten have one.
        feather: Range of the blur of the outline, in pixels.
        retouched: Probability of a change of blur, brightness or contrast of a copy.
        blur: Largest blur of a copy, in pixels.
        brightness: Largest change in grey levels.
        contrast: Largest change as a share.
        processed: Probability of each of the following changes of the whole image, forged or not.
        resize: Range of scales of the whole image.
        noise: Largest standard deviation of added noise, in grey levels.
        quality: Range of JPEG qualities.

    Raises:
        DataError: A range is empty or outside what makes sense.
    """

    longest_side: int = 1024
    crop: Range = (0.7, 1.0)
    area: Range = (0.01, 0.1)
    copies: tuple[int, int] = (1, 3)
    shapes: tuple[RegionShape, ...] = get_args(RegionShape)
    transformed: float = 0.6
    rotation: float = 180.0
    scale: Range = (0.7, 1.4)
    flip: float = 0.25
    shear: float = 0.2
    feather: Range = (0.0, 1.5)
    retouched: float = 0.4
    blur: float = 1.0
    brightness: float = 15.0
    contrast: float = 0.15
    processed: float = 0.5
    resize: Range = (0.6, 1.0)
    noise: float = 5.0
    quality: tuple[int, int] = (60, 100)

    def __post_init__(self) -> None:
        limits = {"crop": (0.1, 1), "area": (0.001, 0.3), "scale": (0.2, 5), "feather": (0, 20), "resize": (0.1, 1)}
        limits |= {"quality": (1, 100), "copies": (1, 10)}
        for name, (lowest, highest) in limits.items():
            low, high = getattr(self, name)
            if not lowest <= low <= high <= highest:
                raise DataError(f"{name} is {low} to {high}, expected a range within {lowest} to {highest}")
        for name in ("transformed", "flip", "retouched", "processed", "contrast"):
            if not 0 <= getattr(self, name) <= 1:
                raise DataError(f"{name} is {getattr(self, name)}, expected 0 to 1")
        for name in ("rotation", "shear", "blur", "brightness", "noise"):
            if not getattr(self, name) >= 0:
                raise DataError(f"{name} is {getattr(self, name)}, expected 0 or more")
        unknown = set(self.shapes) - set(get_args(RegionShape))
        if unknown or not self.shapes or self.longest_side < 64:
            raise DataError(
                f"shapes are {self.shapes} and longest_side is {self.longest_side}; expected some of "
                f"{', '.join(get_args(RegionShape))} and at least 64"
            )


@dataclass(frozen=True, slots=True)
class CopiedRegion:
    """One copy of the source.

    Args:
        transform: Affine matrix `(2, 3)` in pixels of the finished image: `copy_xy = transform @ (x, y, 1)`.
        kind: The simplest family of transforms that it belongs to.
        rotation: In degrees.
        scale: Without the resize of the whole image.
        flipped: Whether the copy is a mirror image.
        shear: Share by which it is sheared.
        blur: Standard deviation in pixels.
        contrast: Factor.
        brightness: Grey levels added.
        feather: Blur of the outline in pixels.
    """

    transform: npt.NDArray[np.float64]
    kind: SyntheticKind
    rotation: float
    scale: float
    flipped: bool
    shear: float
    blur: float
    contrast: float
    brightness: float
    feather: float


@dataclass(frozen=True, slots=True)
class PostProcessing:
    """What was done to the whole image: `resize` 1, `noise` 0 and `quality` `None` stand for nothing."""

    resize: float
    noise: float
    quality: int | None


@dataclass(frozen=True, slots=True)
class SyntheticForgery:
    """A synthetic image with its truth.

    Args:
        image: RGB, shape `(height, width, 3)`, values 0 to 255.
        source: Where the copies come from, shape `(height, width)`; empty in an authentic image.
        target: Where they went; never overlaps `source`.
        copies: The copies; none in an authentic image.
        shape: Outline of the region, `None` in an authentic image.
        processing: What was done to the whole image afterwards.
        difficulty: 0 (a large region, moved and nothing else) to 1 (small, turned, retouched, compressed).
    """

    image: npt.NDArray[np.uint8]
    source: npt.NDArray[np.bool_]
    target: npt.NDArray[np.bool_]
    copies: tuple[CopiedRegion, ...]
    shape: RegionShape | None
    processing: PostProcessing
    difficulty: float

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """Source and target together, as copy-move data sets mark them."""
        return self.source | self.target
