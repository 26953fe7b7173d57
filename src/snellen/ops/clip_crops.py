"""One crop and one set of flips for everything that belongs to a clip: frames, sharp frames, voxel grids."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ClipView", "cut_clip", "draw_view"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class ClipView:
    """Where a clip is looked at, and how it is turned.

    Args:
        top: First row.
        left: First column.
        height: Rows.
        width: Columns.
        mirror: Exchange left and right.
        upend: Exchange top and bottom.
        transpose: Exchange rows and columns, after the crop.
        backwards: Let time run backwards; the bins of voxel grids, too.
    """

    top: int
    left: int
    height: int
    width: int
    mirror: bool = False
    upend: bool = False
    transpose: bool = False
    backwards: bool = False


def draw_view(
    size: tuple[int, int], crop: tuple[int, int], numbers: np.random.Generator, *, multiple: int = 1, turn: bool = True
) -> ClipView:
    """Draw a crop and flips.

    Args:
        size: Height and width of the frames.
        crop: Height and width wanted; of smaller frames all is taken.
        numbers: Random numbers.
        multiple: The corner lies on a multiple of this: that of frames to sensor, where the two differ.
        turn: Flip, transpose and reverse time at random; only squares are transposed.

    Example:
        >>> view = draw_view((10, 20), (4, 4), np.random.default_rng(0), multiple=2, turn=False)
        >>> view.top % 2, view.left % 2, view.height
        (0, 0, 4)
    """
    height, width = min(size[0], crop[0]), min(size[1], crop[1])
    top = int(numbers.integers((size[0] - height) // multiple + 1)) * multiple
    left = int(numbers.integers((size[1] - width) // multiple + 1)) * multiple
    mirror, upend, transpose, backwards = (bool(flip) for flip in numbers.integers(2, size=4)) if turn else (False,) * 4
    return ClipView(top, left, height, width, mirror, upend, transpose and height == width, backwards)


def cut_clip(arrays: Mapping[str, Array], size: tuple[int, int], view: ClipView) -> dict[str, Array]:
    """Cut and turn all arrays of a clip alike.

    Args:
        arrays: By name: frames `(T, H, W, 3)`, and voxel grids, `(T, bins, h, w)`, whose size may be a fraction or a
            multiple of that of the frames; what has a last axis of 3 is frames.
        size: Height and width of the frames, which `view` counts in.
        view: What to take.

    Raises:
        ValueError: The view does not fall on whole pixels of a grid.

    Example:
        >>> frames = np.arange(32).reshape(1, 4, 8, 1).repeat(3, axis=3)
        >>> grid = np.arange(8).reshape(1, 1, 2, 4)
        >>> cut = cut_clip({"blur": frames, "voxels": grid}, (4, 8), ClipView(2, 4, 2, 4, mirror=True))
        >>> cut["blur"][0, :, :, 0].tolist(), cut["voxels"].tolist()
        ([[23, 22, 21, 20], [31, 30, 29, 28]], [[[[7, 6]]]])
    """
    return {name: np.ascontiguousarray(_cut(array, size, view)) for name, array in arrays.items()}


def _cut(array: Array, size: tuple[int, int], view: ClipView) -> Array:
    frames = array.shape[-1] == 3
    rows, columns = (1, 2) if frames else (2, 3)
    top, height = _scaled((view.top, view.height), array.shape[rows], size[0])
    left, width = _scaled((view.left, view.width), array.shape[columns], size[1])
    if frames:
        array = array[:, top : top + height, left : left + width]
    else:
        array = array[:, :, top : top + height, left : left + width]
    flips = ((columns, view.mirror), (rows, view.upend), (0, view.backwards), (1, view.backwards and not frames))
    flipped = tuple(axis for axis, wanted in flips if wanted)
    array = np.flip(array, flipped) if flipped else array
    return array.swapaxes(rows, columns) if view.transpose else array


def _scaled(lengths: tuple[int, int], here: int, there: int) -> tuple[int, int]:
    start, left_start = divmod(lengths[0] * here, there)
    length, left_length = divmod(lengths[1] * here, there)
    if left_start or left_length:
        raise ValueError(
            f"{lengths[1]} pixels from {lengths[0]} of {there} are no whole pixels of a grid of {here}: take crops "
            f"whose corners and sides are multiples of {there // math.gcd(here, there)}"
        )
    return start, length
