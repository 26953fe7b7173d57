"""Pictures as networks' own preprocessing takes them: upright, in the mode of the file, with a hash of the content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from snellen.data.converting import ORIENTATIONS, to_rgb, upright
from snellen.data.opening import exif_orientation, load_pixels, megapixels, open_image
from snellen.errors import DataError

__all__ = ["MAX_PIXELS", "Picture", "content_digest", "read_picture"]

MAX_PIXELS: Final = 300_000_000
"""Larger pictures are refused before they are decoded."""

_KEPT = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture.

    Args:
        image: Upright; of a mode that Pillow converts to RGB as the official preprocessing expects: `1`, `L`, `LA`,
            `P`, `PA`, `RGB` or `RGBA`.
        digest: Hash of the file's bytes.
        notes: What had to be changed.
    """

    image: Image.Image
    digest: str
    notes: tuple[str, ...] = ()


def content_digest(content: bytes) -> str:
    """The hash that names a file's content: BLAKE2b of 16 bytes, in hexadecimal.

    Example:
        >>> len(content_digest(b"picture"))
        32
    """
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def read_picture(path: str | Path, *, content: bytes | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture; palette, grey and transparent ones stay what they are.

    CMYK, 16-bit, float and other modes are converted to RGB as `snellen.data.reading.read_image` does.

    Args:
        path: The file, or the name of `content`.
        content: Its bytes, when they are at hand.
        max_pixels: Larger ones are refused.

    Raises:
        DataError: As `snellen.data.reading.read_image`.
    """
    if content is None:
        try:
            content = Path(path).read_bytes()
        except IsADirectoryError as error:
            raise DataError(f"{path} is a folder, expected an image file", slug="missing-file") from error
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}", slug="missing-file") from error
    with open_image(path, content=content) as opened:
        image, notes = opened.image, opened.notes
        width, height = image.size
        if width * height > max_pixels:
            raise DataError(
                f"{path} has {megapixels(width, height)} ({width} x {height}), the limit is {max_pixels / 1e6:g}",
                hint="shrink or cut the picture",
                slug="decompression-bomb",
            )
        load_pixels(opened)
        orientation = exif_orientation(image, notes)
        if image.mode in _KEPT:
            picture: Image.Image = image.copy()
            if orientation != 1:
                picture = picture.transpose(_TURNS[orientation])
        else:
            pixels = to_rgb(image, notes)
            picture = Image.fromarray(upright(pixels, orientation) if orientation != 1 else pixels)
    if orientation != 1:
        notes.append(f"EXIF orientation {orientation} applied: {ORIENTATIONS[orientation]}")
    return Picture(picture, content_digest(content), tuple(notes))


_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture of each EXIF orientation upright."""
