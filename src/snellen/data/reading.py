"""Image and mask files as arrays; everything unusual about a file is either mended and noted, or a clear error."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snellen.data.converting import ORIENTATIONS, to_rgb, upright
from snellen.data.masks import MaskFile, read_mask
from snellen.data.opening import (
    OpenImage,
    count_frames,
    exif_orientation,
    load_pixels,
    megapixels,
    open_image,
    stored_size,
)
from snellen.errors import DataError

__all__ = ["ImageFile", "ImageHeader", "MaskFile", "mask_size", "probe_image", "read_image", "read_mask"]


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A decoded image.

    Args:
        pixels: RGB, upright, shape `(height, width, 3)`, values 0 to 255.
        notes: What had to be changed or looked odd, one sentence each; empty for a plain RGB file.
        original_mode: Pillow's name of the mode in the file, such as `RGB`, `CMYK` or `I;16`.
        original_size: `(height, width)` as stored, before the EXIF orientation is applied.
    """

    pixels: npt.NDArray[np.uint8]
    notes: tuple[str, ...]
    original_mode: str
    original_size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What an image file says about itself before its pixels are decoded.

    Args:
        size: `(height, width)` as stored.
        mode: Pillow's name of the mode, such as `RGB`.
        format: Pillow's name of the format, such as `JPEG`.
        frames: Number of frames or pages.
        orientation: EXIF orientation, 1 to 8; taken as 1 if it stands behind the pixels of a PNG.
    """

    size: tuple[int, int]
    mode: str
    format: str
    frames: int
    orientation: int

    @property
    def upright_size(self) -> tuple[int, int]:
        """`(height, width)` of the pixels that `read_image` returns."""
        return self.size if self.orientation < 5 else (self.size[1], self.size[0])


def read_image(path: str | Path, *, max_pixels: int = 300_000_000) -> ImageFile:
    """Read an image of any common format as upright 8-bit RGB.

    The size is read from the header first, so memory stays within about 9 bytes for each pixel of `max_pixels`. Of
    animations and multi-page files the first frame is taken. Grey values of more than 8 bits are scaled as
    `snellen.data.converting.scale_to_byte` says; of 16-bit RGB the upper 8 bits are kept. Transparent pixels are laid
    on white. Colour profiles are not applied. Warnings of Pillow are
    not printed but noted (libtiff alone writes to the error stream itself); several threads may read at once.

    Args:
        path: The file.
        max_pixels: Larger images are refused before they are decoded.

    Raises:
        DataError: The file is missing (slug `missing-file`); it is empty, truncated, broken, no image or of a format
            that cannot be decoded (slug `corrupt-image`); it has more than `max_pixels` pixels.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> path = Path(tempfile.mkdtemp()) / "ink.jpg"
        >>> Image.new("CMYK", (4, 3), (0, 255, 255, 0)).save(path)
        >>> image = read_image(path)
        >>> image.pixels.shape, image.original_mode, image.notes
        ((3, 4, 3), 'CMYK', ('CMYK converted to RGB',))
    """
    with open_image(path) as opened:
        image, notes = opened.image, opened.notes
        _refuse_giant(opened, max_pixels)
        mode, frames = image.mode, count_frames(opened)
        if frames > 1:
            notes.append(f"first of {frames} frames")
        orientation = exif_orientation(image, notes)
        size = stored_size(image, orientation)
        if any(";16" in str(tile.args) for tile in image.tile) and mode in {"RGB", "RGBA", "RGBX", "CMYK"}:
            notes.append("16 bits per channel cut to 8")
        load_pixels(opened)
        # Pillow turns TIFF files upright itself while loading; of PNG, EXIF data may stand behind the pixels.
        remaining = exif_orientation(image, [])
        orientation = max(orientation, remaining)
        pixels = to_rgb(image, notes)
    if orientation != 1:
        notes.append(f"EXIF orientation {orientation} applied: {ORIENTATIONS[orientation]}")
    if remaining != 1:
        pixels = upright(pixels, remaining)
    return ImageFile(pixels, tuple(notes), mode, size)


def probe_image(path: str | Path) -> ImageHeader:
    """Read the header of an image file, not its pixels.

    Raises:
        DataError: As `read_image`; whether the pixels can be decoded is not known yet.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> path = Path(tempfile.mkdtemp()) / "grey.png"
        >>> Image.new("L", (4, 3)).save(path)
        >>> probe_image(path)
        ImageHeader(size=(3, 4), mode='L', format='PNG', frames=1, orientation=1)
    """
    with open_image(path) as opened:
        orientation = exif_orientation(opened.image, opened.notes)
        return ImageHeader(
            stored_size(opened.image, orientation),
            opened.image.mode,
            opened.image.format or "?",
            count_frames(opened),
            orientation,
        )


def _refuse_giant(opened: OpenImage, max_pixels: int) -> None:
    width, height = opened.image.size
    if width * height > max_pixels:
        raise DataError(
            f"{opened.path} has {megapixels(width, height)} ({width} x {height}), the limit is {max_pixels / 1e6:g}",
            hint="shrink or cut the picture, or raise max_pixels",
        )


def mask_size(path: str | Path) -> tuple[int, int]:
    """`(height, width)` of a mask, an image or a NumPy array, from its header alone.

    Raises:
        DataError: It cannot be read, or the array is no mask by its shape.
    """
    path = Path(path)
    if path.suffix.lower() != ".npy":
        return probe_image(path).upright_size
    try:
        shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
    except Exception as error:  # np.load raises whatever the header's text leads to
        raise DataError(f"{path} cannot be read: {error}", slug="corrupt-image") from error
    if len(shape) == 3 and shape[2] == 1:
        shape = shape[:2]
    if len(shape) < 2:
        raise DataError(f"{path} has shape {shape}, expected (height, width) or (regions, height, width)")
    return int(shape[-2]), int(shape[-1])
