"""Mask files: whatever marks a region in an image, array or palette, read as true and false without a silent guess."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from snellen.data.converting import scale_to_byte, upright
from snellen.data.opening import OpenImage, count_frames, exif_orientation, load_pixels, megapixels, open_image
from snellen.errors import DataError

__all__ = ["MaskFile", "load_array", "read_mask"]

_MAX_PIXELS = 300_000_000
_LOSSY = {"JPEG", "MPO", "WEBP", "AVIF", "JPEG2000"}


@dataclass(frozen=True, slots=True)
class MaskFile:
    """A mask.

    Args:
        mask: Shape `(height, width)`, true where marked.
        notes: How the values were understood wherever that is not obvious, one sentence each.
        values: The different values found, ascending; of an image, grey values 0 to 255.
    """

    mask: npt.NDArray[np.bool_]
    notes: tuple[str, ...]
    values: tuple[int, ...]


def read_mask(path: str | Path, *, threshold: int = 128, size: tuple[int, int] | None = None) -> MaskFile:
    """Read a mask from an image (PNG, TIFF, GIF, JPEG, BMP ...) or from a NumPy array (`.npy`).

    Of an image, the largest colour channel counts, so that red on black is a mask as much as white on black; it is
    true from `threshold` on. Special cases, each noted:

    - values that all lie below `threshold` are region labels (0 and 1, or 0 to 37), true where not 0; of a lossy
      format such as JPEG they are noise, and the mask is empty;
    - grey values between black and white, which JPEG and smoothing leave, are counted;
    - of a transparent image the colours count, unless all are the same: then the transparency does;
    - of a coloured palette everything but index 0 is marked; a grey palette is read as grey values;
    - of a 3-dimensional array `(regions, height, width)` the union is taken.

    Args:
        path: The file.
        threshold: Smallest grey value, 1 to 255, that is marked.
        size: `(height, width)` that the mask must have; masks are never resized.

    Raises:
        DataError: The file is missing (slug `missing-file`), cannot be read (slug `corrupt-image`), holds Python
            objects or has another size.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "regions.npy"
        >>> np.save(path, np.array([[[1, 0, 0]], [[0, 0, 1]]], dtype=np.uint8))
        >>> read_mask(path)
        MaskFile(mask=array([[ True, False,  True]]), notes=('union of 2 regions',), values=(0, 1))
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        found = _read_array(path, size)
    else:
        with open_image(path) as opened:
            found = _read_picture(opened, threshold)
    if size is not None and found.mask.shape != size:
        height, width = found.mask.shape
        raise DataError(
            f"{path} is {width} x {height} pixels, its image is {size[1]} x {size[0]}",
            hint="masks are not resized silently: export the mask at the size of its image",
        )
    return found


def _read_picture(opened: OpenImage, threshold: int) -> MaskFile:
    image, notes = opened.image, opened.notes
    width, height = image.size
    if width * height > _MAX_PIXELS:
        raise DataError(f"{opened.path} has {megapixels(width, height)}, the limit for masks is {_MAX_PIXELS / 1e6:g}")
    frames, orientation = count_frames(opened), exif_orientation(image, notes)
    if frames > 1:
        notes.append(f"first of {frames} frames")
    load_pixels(opened)
    remaining = exif_orientation(image, [])  # Pillow turns TIFF files upright itself while loading
    grey = _grey(image, notes)
    counts = np.bincount(grey.reshape(-1), minlength=256)
    mask = grey >= _cut(counts, threshold, lossy=image.format in _LOSSY, notes=notes)
    if max(orientation, remaining) != 1:
        notes.append(f"EXIF orientation {max(orientation, remaining)} applied")
        mask = upright(mask.view(np.uint8), remaining).view(np.bool_)
    return MaskFile(mask, tuple(notes), tuple(np.flatnonzero(counts).tolist()))


def _grey(image: Image.Image, notes: list[str]) -> npt.NDArray[np.uint8]:
    if image.mode[0] in "IF":
        values = np.asarray(image)
        labels = values.dtype.kind in "iu" and values.min() >= 0 and values.max() <= 255
        grey, note = scale_to_byte(values)
        if not labels:
            notes.append(note)
    elif image.mode in {"P", "PA"}:
        grey = _palette_grey(image, notes)
    elif image.mode in {"LA", "La", "RGBA", "RGBa"}:
        grey = _colour_or_alpha(np.asarray(image.convert("RGBA")), notes)
    elif image.mode in {"1", "L"}:
        grey = np.asarray(image.convert("L"))
    else:
        pixels = np.asarray(image.convert("RGB"))
        grey = np.max(pixels, axis=2)
        if not np.array_equal(grey, np.min(pixels, axis=2)):
            notes.append("coloured mask: the largest channel counts")
    return grey


def _colour_or_alpha(pixels: npt.NDArray[np.uint8], notes: list[str]) -> npt.NDArray[np.uint8]:
    colour: npt.NDArray[np.uint8] = np.max(pixels[:, :, :3], axis=2)
    alpha = np.ascontiguousarray(pixels[:, :, 3])
    if colour.min() == colour.max() and alpha.min() != alpha.max():
        notes.append("all colours the same: the transparency is read as the mask")
        return alpha
    if alpha.min() < 255:
        notes.append("transparency ignored: the colours are read as the mask")
    return colour


def _palette_grey(image: Image.Image, notes: list[str]) -> npt.NDArray[np.uint8]:
    indices = np.asarray(image if image.mode == "P" else image.getchannel(0))
    palette = np.zeros((256, 3), dtype=np.uint8)
    colours = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    palette[: len(colours)] = colours
    used = palette[np.flatnonzero(np.bincount(indices.reshape(-1), minlength=256))]
    if (used == used[:, :1]).all():
        return np.ascontiguousarray(palette[:, 0][indices])
    notes.append("coloured palette: everything but index 0 is marked")
    return np.where(indices > 0, np.uint8(255), np.uint8(0))


def _cut(counts: npt.NDArray[np.int64], threshold: int, *, lossy: bool, notes: list[str]) -> int:
    """The grey value from which on a pixel is marked."""
    present = np.flatnonzero(counts)
    highest = int(present[-1])
    if 0 < highest < threshold:
        if lossy:
            notes.append(f"no grey value reaches {threshold} (highest is {highest}): empty mask")
            return threshold
        notes.append(f"values 0 to {highest} taken as region labels: true where not 0")
        return 1
    between = int(counts[1:255].sum())
    if between:
        notes.append(f"{between} of {int(counts.sum())} pixels are grey, neither black nor white: cut at {threshold}")
    return threshold


def _read_array(path: Path, size: tuple[int, int] | None) -> MaskFile:
    values = load_array(path)
    if values.ndim == 3 and values.shape[2] == 1 and (size is None or values.shape[:2] == size):
        values = values[:, :, 0]
    if values.ndim not in {2, 3} or values.size == 0 or values.dtype.kind not in "biuf":
        raise DataError(
            f"{path} has shape {values.shape} and type {values.dtype}, expected booleans or numbers of shape "
            "(height, width) or (regions, height, width)"
        )
    if int(np.prod(values.shape[-2:])) > _MAX_PIXELS:
        raise DataError(f"{path} has {megapixels(*values.shape[-2:])}, the limit for masks is {_MAX_PIXELS / 1e6:g}")
    notes = []
    regions = values if values.ndim == 3 else values[None]
    if values.ndim == 3 and len(regions) > 1:
        notes.append(f"union of {len(regions)} regions")
    mask = np.zeros(regions.shape[1:], dtype=np.bool_)
    found: set[int] = set()
    for region in regions:
        found.update(_few_values(region))
        mask |= region >= 0.5 if region.dtype.kind == "f" else region > 0
    if found - {0, 1, 255}:
        notes.append(f"values {min(found)} to {max(found)} taken as region labels: true above 0")
    return MaskFile(mask, tuple(notes), tuple(sorted(found)))


def _few_values(region: npt.NDArray[Any]) -> list[int]:
    values = np.unique(region)
    whole = np.unique(np.rint(values[np.isfinite(values)]).astype(np.int64))
    return [int(value) for value in whole[:256]]


def load_array(path: str | Path) -> npt.NDArray[Any]:
    """A NumPy array from a file, mapped into memory and not yet read.

    Raises:
        DataError: It is missing (slug `missing-file`), or cannot be read or holds Python objects (`corrupt-image`).
    """
    try:
        # Mapped, not read: the header says how large the array is before any of it is in memory.
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist", slug="missing-file") from error
    except Exception as error:  # np.load raises whatever the header's text leads to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        message = "holds Python objects (pickle)" if "allow_pickle" in str(error) else f"cannot be read: {reason}"
        raise DataError(
            f"{path} {message}, expected a plain array", hint="save it with np.save(path, mask)", slug="corrupt-image"
        ) from error
