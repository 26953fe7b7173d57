"""Any image mode to 8-bit RGB, strip by strip, so that no second full-size copy is ever needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageCms

__all__ = ["ORIENTATIONS", "composite_on_white", "scale_to_byte", "to_rgb", "upright"]

_STRIP_PIXELS = 4_000_000

ORIENTATIONS: dict[int, str] = {
    1: "upright",
    2: "mirrored",
    3: "rotated by 180 degrees",
    4: "flipped upside down",
    5: "transposed",
    6: "rotated by 90 degrees clockwise",
    7: "transposed and rotated by 180 degrees",
    8: "rotated by 90 degrees anticlockwise",
}
"""What has to be done to an image of each EXIF orientation."""

_NAMES = {"1": "1-bit", "P": "palette", "LAB": "CIELAB", "CMYK": "CMYK", "YCbCr": "YCbCr", "HSV": "HSV"}


def to_rgb(image: Image.Image, notes: list[str]) -> npt.NDArray[np.uint8]:
    """Convert a loaded image to RGB.

    Transparent images are laid on white; CMYK is converted without its colour profile, and the inverted inks that
    Adobe programs write are told from the plain ones of others by the Adobe marker; numbers of more than 8 bits are
    scaled as `scale_to_byte` says.

    Args:
        image: The image; its pixels must be loaded or loadable.
        notes: Every change that was needed is added here.

    Returns:
        Shape `(height, width, 3)`, writable.
    """
    if image.mode[0] in "IF":
        # Copied by Pillow once, 2 or 4 bytes a pixel; strips would need the extremes of all strips first.
        grey, note = scale_to_byte(np.asarray(image))
        notes.append(note)
        if _white_is_zero(image):
            notes.append("white-is-zero values inverted")
            np.subtract(255, grey, out=grey)
        return np.repeat(grey[:, :, None], 3, axis=2)
    convert = _converter(image, notes)
    width, height = image.size
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    top = 0
    for strip in _strips(image):
        pixels[top : top + strip.height] = convert(strip)
        top += strip.height
    return pixels


def scale_to_byte(values: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint8], str]:
    """Scale numbers of any range to 0..255, linearly and without clipping.

    Integers that are not negative keep their zero; white is the smallest of 2^8 - 1, 2^10 - 1, 2^12 - 1, 2^14 - 1 and
    2^16 - 1 that no value exceeds, because 10-, 12- and 14-bit cameras store their numbers in 16 bits. Floats within
    0..1 are multiplied by 255, those within 0..255 taken as they are. All others are scaled from their minimum to
    their maximum; NaN and infinities count as the minimum.

    Args:
        values: Shape `(height, width)`.

    Returns:
        The bytes, and what was done in words.

    Example:
        >>> scale_to_byte(np.array([[0, 2048, 4095]], dtype=np.uint16))
        (array([[  0, 128, 255]], dtype=uint8), 'values of 12 bits scaled to 8')
    """
    finite = values if values.dtype.kind in "iu" else values[np.isfinite(values)]
    low, high = (finite.min().item(), finite.max().item()) if finite.size else (0, 0)
    low, white, note = _range(low, high, floating=values.dtype.kind == "f")
    if finite.size < values.size:
        note += f"; {values.size - finite.size} values that are NaN or infinite set to the minimum"
    result = np.empty(values.shape, dtype=np.uint8)
    rows = max(1, _STRIP_PIXELS // max(values.shape[1], 1))
    for top in range(0, values.shape[0], rows):
        strip = values[top : top + rows].astype(np.float64)
        strip[~np.isfinite(strip)] = low
        result[top : top + rows] = np.rint((strip - low) * (255 / (white - low)))
    return result, note


def composite_on_white(rgba: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Lay a transparent image on white; shape `(height, width, 4)` to `(height, width, 3)`.

    Example:
        >>> composite_on_white(np.array([[[0, 0, 0, 255], [0, 0, 0, 0], [255, 0, 0, 51]]], dtype=np.uint8)).tolist()
        [[[0, 0, 0], [255, 255, 255], [255, 204, 204]]]
    """
    alpha = rgba[:, :, 3:].astype(np.uint16)
    mixed = rgba[:, :, :3] * alpha + 255 * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


def upright(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Turn an image of the given EXIF orientation upright.

    Example:
        >>> upright(np.array([[1, 2], [3, 4]], dtype=np.uint8), 6).tolist()
        [[3, 1], [4, 2]]
    """
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _converter(image: Image.Image, notes: list[str]) -> Callable[[Image.Image], npt.NDArray[np.uint8]]:
    name = _NAMES.get(image.mode)
    if image.has_transparency_data:
        return _transparency(image, notes)
    if name is not None:
        notes.append(f"{name} {'expanded' if image.mode in {'1', 'P'} else 'converted'} to RGB")
    if image.mode == "CMYK" and image.format in {"JPEG", "MPO"} and "adobe" not in image.info:
        # Pillow takes every four-channel JPEG for Adobe's, whose inks are stored inverted.
        notes.append("CMYK without Adobe marker: inks taken as stored")
        return lambda strip: np.asarray(ImageChops.invert(strip).convert("RGB"))
    if image.mode == "LAB":
        to_srgb = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
        return lambda strip: np.asarray(ImageCms.applyTransform(strip, to_srgb))
    return lambda strip: np.asarray(strip.convert("RGB"))


def _transparency(image: Image.Image, notes: list[str]) -> Callable[[Image.Image], npt.NDArray[np.uint8]]:
    extremes = [_rgba(strip).getchannel("A").getextrema() for strip in _strips(image)]
    lowest, highest = min(low for low, _ in extremes), max(high for _, high in extremes)
    palette = "palette expanded, " if image.mode[0] == "P" else ""
    if lowest == 255:
        notes.append(palette + "transparency channel dropped: all opaque")
    elif highest == 0:
        # Programs that know no transparency leave the fourth byte zero; an all-white picture is nobody's wish.
        notes.append(palette + "transparency channel dropped: all zero")
    else:
        notes.append(palette + "transparency laid on white")
        return lambda strip: composite_on_white(np.asarray(_rgba(strip)))
    return lambda strip: np.asarray(_rgba(strip))[:, :, :3]


def _strips(image: Image.Image) -> Iterator[Image.Image]:
    width, height = image.size
    rows = max(1, _STRIP_PIXELS // max(width, 1))
    for top in range(0, height, rows):
        yield image.crop((0, top, width, min(top + rows, height)))


def _rgba(strip: Image.Image) -> Image.Image:
    return strip.convert("LA").convert("RGBA") if strip.mode == "La" else strip.convert("RGBA")


def _white_is_zero(image: Image.Image) -> bool:
    # Pillow inverts this photometric interpretation of TIFF up to 8 bits only.
    return getattr(image, "tag_v2", {}).get(262) == 0


def _range(low: float, high: float, *, floating: bool) -> tuple[float, float, str]:
    if low < 0 or high > 65535 or (floating and high > 255):
        return low, high if high > low else low + 1, f"values {low:.6g} to {high:.6g} scaled to 0 to 255"
    if floating:
        return (
            0,
            (1 if high <= 1 else 255),
            "floating-point values " + ("0 to 1 scaled to 0 to 255" if high <= 1 else "rounded"),
        )
    bits = next(bits for bits in (8, 10, 12, 14, 16) if high < 2**bits)
    return 0, 2**bits - 1, f"values of {bits} bits " + ("taken as they are" if bits == 8 else "scaled to 8")
