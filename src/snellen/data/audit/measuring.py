"""One image or mask file to one record: what it is, whether it can be decoded, and what its pixels look like.

Nothing that a file holds raises here; what is wrong with it is the record's `problem`.
"""

from __future__ import annotations

import hashlib
import math
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops

from snellen.core.facts.data import ImageRecord, MaskRecord, Pixels
from snellen.data.audit.fingerprints import fingerprint_of, shrink, signature_of
from snellen.data.audit.shrinking import MAX_PIXELS, Shrunk, decode_shrunk
from snellen.data.converting import to_rgb, upright
from snellen.data.masks import load_array
from snellen.data.opening import (
    OpenImage,
    count_frames,
    exif_orientation,
    load_pixels,
    megapixels,
    open_image,
    stored_size,
)
from snellen.errors import SnellenError

__all__ = ["CHANGED", "MAX_MASK_PIXELS", "content_digest", "measure_image", "measure_mask"]

MAX_MASK_PIXELS: Final = 100_000_000
"""Larger masks are not decoded."""

CHANGED: Final = "changed while it was read"
"""The problem of a file that somebody writes to."""

_VALUES = 256
_LEVELS = np.arange(256, dtype=np.float64)
_BITS = {"1": 1, "I": 32, "F": 32, "I;16": 16, "I;16B": 16, "I;16L": 16, "I;16N": 16}


def content_digest(path: str) -> str:
    """Hash of a file's bytes, `""` when it cannot be read; equal for equal files only."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return ""


def measure_image(
    path: str,
    *,
    pixels: bool = True,
    digest: bool = True,
    recall: Callable[[str], ImageRecord | None] = lambda _digest: None,
) -> ImageRecord:
    """Open an image file, and measure its pixels.

    Args:
        path: The file.
        pixels: Decode them; without it only the header is read.
        digest: Hash the content.
        recall: What is known of a file of that digest; such a file is not decoded again.

    Returns:
        What was found; a file that cannot be read, or is larger than `MAX_PIXELS`, has a `problem`.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "page.jpg"
        >>> _ = path.write_text("<html><title>404 Not Found</title></html>")
        >>> measure_image(str(path)).problem
        'is an HTML page, perhaps the answer of a failed download, expected an image'
    """
    before = _state(path)
    known: dict[str, Any] = {"bytes": before[0] if before else 0}
    known["digest"] = content_digest(path) if before is not None and digest else ""
    record = recall(known["digest"]) if known["digest"] else None
    if record is None:
        try:
            with open_image(path) as opened:
                known |= _header(opened)
                width, height = opened.image.size
                if width * height > MAX_PIXELS:
                    known["problem"] = _too_large(width, height, MAX_PIXELS)
                elif pixels:
                    known["pixels"] = _pixels_of(decode_shrunk(opened))
        except SnellenError as error:
            known["problem"] = _reason(error, path)
        except Exception as error:  # noqa: BLE001 - one odd file must not end the audit
            known["problem"] = f"cannot be measured: {type(error).__name__}: {error}"
        record = ImageRecord(path, **known)
    if before != _state(path):
        return replace(record, problem=CHANGED, digest="", pixels=None)
    return record


def measure_mask(path: str, *, recall: Callable[[str], MaskRecord | None] = lambda _digest: None) -> MaskRecord:
    """Decode a mask file and count its values.

    Args:
        path: An image, or a NumPy array (`.npy`) of shape `(height, width)` or `(regions, height, width)`; of the
            latter the union counts.
        recall: What is known of a file of that digest; such a file is not decoded again.

    Returns:
        What was found; a file that cannot be read has a `problem`.
    """
    before = _state(path)
    known: dict[str, Any] = {"digest": content_digest(path) if before is not None else ""}
    record = recall(known["digest"]) if known["digest"] else None
    if record is None:
        try:
            if path.lower().endswith(".npy"):
                known |= _array(path)
            else:
                with open_image(path) as opened:
                    known |= _picture(opened)
        except SnellenError as error:
            known["problem"] = _reason(error, path)
        except Exception as error:  # noqa: BLE001 - one odd file must not end the audit
            known["problem"] = f"cannot be measured: {type(error).__name__}: {error}"
        record = MaskRecord(path, **known)
    return replace(record, problem=CHANGED, digest="") if before != _state(path) else record


def _state(path: str) -> tuple[int, int, int] | None:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    # To open a pipe would wait for somebody who writes into it.
    return (found.st_size, found.st_mtime_ns, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _reason(error: SnellenError, path: str) -> str:
    """The message without the path, which stands beside it in the record, and without the list of formats."""
    reason = error.message.removeprefix(path).lstrip(": ")
    return reason.partition(" (JPEG, PNG")[0]


def _too_large(width: int, height: int, limit: int) -> str:
    return f"has {megapixels(width, height)} ({width} x {height}), the limit is {limit / 1e6:.0f}: not decoded"


def _header(opened: OpenImage) -> dict[str, Any]:
    image = opened.image
    orientation = exif_orientation(image, opened.notes)
    height, width = stored_size(image, orientation)
    deep = any("16" in str(tile.args) for tile in image.tile) and image.mode in {"RGB", "RGBA", "RGBX", "CMYK"}
    return {
        "format": image.format or "",
        "mode": image.mode,
        "bits": 16 if deep else _BITS.get(image.mode, 8),
        "height": height,
        "width": width,
        "orientation": orientation,
        "frames": count_frames(opened),
    }


# -- pixels ----------------------------------------------------------------------------------------------------------


def _pixels_of(shrunk: Shrunk) -> Pixels:
    image = shrunk.image
    grey = image if image.mode == "L" else image.convert("L")
    counts = np.array(grey.histogram(), dtype=np.float64)
    total = counts.sum()
    mean = float(counts @ _LEVELS / total)
    cumulated = np.cumsum(counts) / total
    shares = counts[counts > 0] / total
    small = upright(shrink(grey).astype(np.uint8), shrunk.remaining).astype(np.float32)
    return Pixels(
        mean=round(mean / 255, 5),
        deviation=round(math.sqrt(max(0.0, counts @ _LEVELS**2 / total - mean**2)) / 255, 5),
        low=int(np.searchsorted(cumulated, 0.01)) / 255,
        high=int(np.searchsorted(cumulated, 0.99)) / 255,
        sharpness=round(_sharpness(grey), 5),
        colourful=round(_colourful(image), 5),
        entropy=round(abs(float(-(shares * np.log2(shares)).sum())), 4),
        transparent=round(shrunk.transparent, 4),
        fingerprint=fingerprint_of(small),
        signature=signature_of(small),
        digest=hashlib.blake2b(image.tobytes(), digest_size=12, person=image.mode.encode()).hexdigest(),
    )


def _sharpness(grey: Image.Image) -> float:
    cells = np.asarray(grey).astype(np.int16)
    if min(cells.shape) < 3:
        return 0.0
    middle = cells[1:-1, 1:-1]
    laplacian = cells[:-2, 1:-1] + cells[2:, 1:-1] + cells[1:-1, :-2] + cells[1:-1, 2:] - 4 * middle
    # In 64 bits: squares of 32,000 pixels overflow 32.
    total = laplacian.size
    squares = np.einsum("ij,ij->", laplacian, laplacian, dtype=np.float64)
    return math.sqrt(max(0.0, float(squares) / total - float(laplacian.mean()) ** 2)) / 255


def _colourful(image: Image.Image) -> float:
    if image.mode == "L":
        return 0.0
    red, green, blue = image.split()
    lightest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    darkest = ImageChops.darker(ImageChops.darker(red, green), blue)
    counts = np.array(ImageChops.subtract(lightest, darkest).histogram(), dtype=np.float64)
    return float(counts @ _LEVELS / counts.sum()) / 255


# -- masks -----------------------------------------------------------------------------------------------------------


def _picture(opened: OpenImage) -> dict[str, Any]:
    image = opened.image
    width, height = image.size
    orientation = exif_orientation(image, opened.notes)
    rows, columns = stored_size(image, orientation)
    known: dict[str, Any] = {"format": image.format or "", "mode": image.mode, "height": rows, "width": columns}
    if width * height > MAX_MASK_PIXELS:
        return known | {"problem": _too_large(width, height, MAX_MASK_PIXELS)}
    load_pixels(opened)
    values, grey, colour = _values_of(image)
    picture = Image.fromarray(to_rgb(image, [])).convert("L") if image.mode[0] in "IF" else image.convert("L")
    return known | _counted(values, grey) | {"colour": colour, "fingerprint": fingerprint_of(shrink(picture))}


def _values_of(image: Image.Image) -> tuple[npt.NDArray[Any], npt.NDArray[Any], bool]:
    """The value of each pixel, a brightness in which a smoothed border is a ramp, and whether it is coloured."""
    if image.mode in {"1", "L", "P"} or image.mode[0] in "IF":
        values = np.asarray(image.convert("L") if image.mode == "1" else image)
        # The order of a palette's indices means nothing.
        grey = np.asarray(image.convert("RGB").convert("L")) if image.mode == "P" else values
        return values, grey, False
    if image.mode in {"LA", "La", "PA"}:
        values = np.asarray(image.getchannel(0))
        return values, values, False
    rgb = np.asarray(image.convert("RGB"))
    if np.array_equal(rgb[:, :, 0], rgb[:, :, 1]) and np.array_equal(rgb[:, :, 1], rgb[:, :, 2]):
        return rgb[:, :, 0], rgb[:, :, 0], False
    code = rgb[:, :, 0].astype(np.int32) << 16 | rgb[:, :, 1].astype(np.int32) << 8 | rgb[:, :, 2]
    return code, rgb.sum(axis=2, dtype=np.int16), True


def _array(path: str) -> dict[str, Any]:
    values = load_array(path)
    known: dict[str, Any] = {"format": "NPY", "mode": str(values.dtype)}
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim not in {2, 3} or values.size == 0 or values.dtype.kind not in "biuf":
        return known | {
            "problem": f"has shape {values.shape} and type {values.dtype}, expected numbers of 2 dimensions"
        }
    height, width = values.shape[-2:]
    known |= {"height": int(height), "width": int(width)}
    if values.size > MAX_MASK_PIXELS:
        return known | {"problem": _too_large(width, height, MAX_MASK_PIXELS)}
    flat = np.asarray(values if values.ndim == 2 else values.max(axis=0))
    if flat.dtype.kind == "f":
        flat = np.nan_to_num(flat)
    flat = flat.astype(np.uint8) if flat.dtype.kind == "b" else flat
    return known | _counted(flat, flat)


def _counted(values: npt.NDArray[Any], grey: npt.NDArray[Any]) -> dict[str, Any]:
    if values.dtype.kind == "u" and values.dtype.itemsize == 1:
        counts = np.bincount(values.reshape(-1), minlength=256)
        different = np.flatnonzero(counts)
        counts = counts[different]
    else:
        different, counts = np.unique(values, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:_VALUES]
    # Fractions cannot be told from each other as whole numbers: 0.5 stays what it rounds to.
    pairs = tuple((round(float(different[place])), int(counts[place])) for place in most)
    return {"values": pairs, "distinct": len(different), "ramps": round(_ramps(grey), 4)}


def _ramps(grey: npt.NDArray[Any]) -> float:
    between, borders = 0, 0
    for one, middle, other in (
        (grey[:, :-2], grey[:, 1:-1], grey[:, 2:]),
        (grey[:-2], grey[1:-1], grey[2:]),
    ):
        borders += int(np.count_nonzero(one != other))
        between += int(np.count_nonzero(((one < middle) & (middle < other)) | ((one > middle) & (middle > other))))
    return between / borders if borders else 0.0
