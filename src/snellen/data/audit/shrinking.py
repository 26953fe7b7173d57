"""An image file as small upright pixels: decoded at a reduced size where the format can, otherwise shrunk at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from snellen.data.converting import to_rgb, upright
from snellen.data.opening import OpenImage, exif_orientation, load_pixels, open_image

__all__ = ["LONGEST_SIDE", "MAX_PIXELS", "Shrunk", "decode_shrunk", "read_grey"]

LONGEST_SIDE: Final = 512
"""Pictures are measured at this side at most."""

MAX_PIXELS: Final = 178_956_970
"""Larger pictures are not decoded: Pillow's `Image.open` refuses them, too, and takes them for decompression bombs."""

_PLAIN = {"RGB", "L", "RGBA", "LA"}


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The pixels of a picture, not larger than `LONGEST_SIDE` or what was asked for.

    Args:
        image: Mode `RGB`, or `L` for a file without colours; not turned by `remaining`. It may be closed with the file.
        remaining: EXIF orientation that still has to be applied.
        transparent: Share of pixels that the alpha channel hides.
    """

    image: Image.Image
    remaining: int
    transparent: float


def decode_shrunk(opened: OpenImage, side: int = LONGEST_SIDE) -> Shrunk:
    """Decode an opened picture and shrink it; every byte of the pixels is decoded, so that damage shows.

    Args:
        opened: Its header is read, its pixels are not.
        side: The longer side of the result at most.
    """
    image = opened.image
    if image.format == "JPEG":
        # The decoder leaves out the high frequencies; it still reads the whole stream.
        image.draft(None, _within(image.size, side))
    load_pixels(opened)
    remaining = exif_orientation(image, [])  # Pillow turns TIFF files upright itself while loading
    transparent = _hidden(image, side) if image.has_transparency_data else 0.0
    if image.mode in _PLAIN and "transparency" not in image.info and not _deep(image):
        small = _resize(image, side)
        small = small if small.mode in {"RGB", "L"} else Image.fromarray(to_rgb(small, []))
    else:
        small = _resize(Image.fromarray(to_rgb(image, [])), side)
    return Shrunk(small, remaining, transparent)


def read_grey(path: str, side: int) -> npt.NDArray[np.uint8]:
    """The upright brightness of a picture, stretched or squeezed to `side` x `side`.

    Raises:
        DataError: It cannot be decoded.
    """
    with open_image(path) as opened:
        shrunk = decode_shrunk(opened, 2 * side)
        grey = shrunk.image.convert("L")
    larger = min(grey.size) < side
    square = grey.resize((side, side), Image.Resampling.BILINEAR if larger else Image.Resampling.BOX)
    return upright(np.asarray(square), shrunk.remaining)


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _resize(image: Image.Image, side: int) -> Image.Image:
    size = _within(image.size, side)
    if size == image.size:
        return image
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _deep(image: Image.Image) -> bool:
    return image.mode[0] in "IF"


def _hidden(image: Image.Image, side: int) -> float:
    alpha = image.getchannel("A") if image.mode in {"RGBA", "LA", "PA"} else image.convert("RGBA").getchannel("A")
    counts = _resize(alpha, side).histogram()
    return sum(counts[:128]) / max(1, sum(counts))
