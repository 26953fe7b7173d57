"""Image files opened without surprises: known formats, size before pixels, warnings as notes, one kind of error."""

from __future__ import annotations

import contextlib
import io
import stat
import struct
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import ExifTags, Image, ImageFile

from snellen.errors import DataError, SnellenError

__all__ = [
    "READABLE_FORMATS",
    "OpenImage",
    "count_frames",
    "exif_orientation",
    "load_pixels",
    "megapixels",
    "open_image",
    "stored_size",
]

READABLE_FORMATS = (
    "JPEG",
    "PNG",
    "TIFF",
    "GIF",
    "BMP",
    "DIB",
    "WEBP",
    "JPEG2000",
    "PPM",
    "ICO",
    "AVIF",
    "PCX",
    "SGI",
    "QOI",
)
"""Formats that are tried, by Pillow's names; TGA, which has no signature, is tried for `.tga` files only.

Left out on purpose: formats that start other programs (EPS), stubs without a decoder and vector graphics.
"""

# What people put into image folders that Pillow cannot decode; the offset, the bytes, the name.
_FOREIGN = (
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", "an EPS or PostScript file"),
    (0, b"8BPS", "a Photoshop (PSD) file"),
    (0, b"version https://git-lfs", "a Git LFS pointer; `git lfs pull` fetches the picture"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"<?xml", "an XML or SVG file"),
    (0, b"<!DOCTYPE", "an HTML page, perhaps the answer of a failed download"),
    (0, b"<html", "an HTML page, perhaps the answer of a failed download"),
    (0, b"v/1\x01", "an OpenEXR file"),
    (0, b"#?RADIANCE", "a Radiance HDR file"),
    (0, b"\xff\x0a", "a JPEG XL file"),
    (0, b"\x00\x00\x00\x0cJXL ", "a JPEG XL file"),
    (4, b"ftypheic", "a HEIC photo"),
    (4, b"ftypheix", "a HEIC photo"),
    (4, b"ftypmif1", "a HEIF photo"),
    (4, b"ftyp", "an MP4 or MOV video"),
    (0, b"\x1aE\xdf\xa3", "a WebM or Matroska video"),
    (0, b"FUJIFILMCCD-RAW", "a Fujifilm raw photo"),
    (128, b"DICM", "a DICOM file"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\xff\xd8", "a JPEG file whose start is broken"),
)

_lock = threading.Lock()
_local = threading.local()


class _Shared:
    """What the readers of one process share while any of them reads."""

    readers = 0
    show: Any = None
    entry: Any = None


@dataclass(slots=True)
class OpenImage:
    """An image file whose header is read and whose pixels are not.

    Args:
        image: Pillow's image, not yet loaded.
        path: Where it came from.
        file_bytes: Size of the file.
        notes: What the reader had to say so far; more is added while the image is used.
    """

    image: ImageFile.ImageFile
    path: Path
    file_bytes: int
    notes: list[str] = field(default_factory=list)


@contextlib.contextmanager
def open_image(path: str | Path, *, content: bytes | None = None) -> Iterator[OpenImage]:
    """Open an image, read its header, and turn whatever goes wrong inside the block into a `DataError`.

    Warnings of Pillow become notes; they are not printed, also when several threads read at once.

    Args:
        path: The file; with `content` the name that messages use.
        content: The bytes of the file, when they are at hand: of a member of an archive, or read once for a hash.

    Raises:
        DataError: The file is missing (slug `missing-file`), or it is empty, no image, of a format that cannot be
            read, or its content is broken (slug `corrupt-image`).
    """
    path = Path(path)
    with _stream(path, content) as stream, _pillow_warnings() as notes:
        size = ""  # known once the header is read
        try:
            image = _identify(stream, path)
            opened = OpenImage(image, path, path.stat().st_size if content is None else len(content), notes)
            size = f" ({image.format}, {image.size[0]} x {image.size[1]} pixels)"
            try:
                yield opened
            finally:
                image.close()
        except SnellenError:
            raise
        except MemoryError as error:
            raise DataError(f"{path}{size} does not fit into memory", hint="shrink the picture first") from error
        except Exception as error:  # decoders raise about every type there is on broken files
            raise DataError(
                f"{path}{size} cannot be decoded: {_reason(error)}",
                hint="copy or download the file again, or leave it out",
                slug="corrupt-image",
            ) from error


def exif_orientation(image: Image.Image, notes: list[str]) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or where it cannot be read, which is noted.

    Of a PNG whose pixels are not loaded, EXIF data that stands behind them is not seen.
    """
    if image.format == "PNG" and getattr(image, "tile", None) and "exif" not in image.info:
        return 1  # Pillow would decode the pixels to look behind them
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception as error:  # noqa: BLE001 - a broken EXIF block must not cost the picture
        notes.append(f"EXIF data unreadable, orientation not applied: {_reason(error)}")
        return 1
    if value in range(1, 9):
        return int(value)
    notes.append(f"EXIF orientation {value!r} is not one of 1 to 8, ignored")
    return 1


def load_pixels(opened: OpenImage) -> None:
    """Decode the pixels; what is wrong behind those of a PNG, such as the frames of an animation, becomes a note.

    Raises:
        DataError: No value of a floating-point image is a number: a black picture would be an invention.
    """
    try:
        opened.image.load()
    except SyntaxError as error:
        if opened.image.format != "PNG" or opened.image.tile:
            raise
        opened.notes.append(f"damaged behind the pixels: {_reason(error)}")
    if opened.image.mode == "F" and not np.isfinite(np.asarray(opened.image)).any():
        width, height = opened.image.size
        raise DataError(
            f"{opened.path} ({width} x {height}) shows nothing: all its values are NaN or infinite",
            hint="write it anew where it was computed, or leave it out",
            slug="corrupt-image",
        )


def stored_size(image: Image.Image, orientation: int) -> tuple[int, int]:
    """`(height, width)` in the file; Pillow swaps those of TIFF files that lie on their side before loading them."""
    width, height = image.size
    return (width, height) if image.format == "TIFF" and orientation >= 5 else (height, width)


def count_frames(opened: OpenImage) -> int:
    """Number of frames or pages; 2 stands for many in GIF files of over 64 MB, where counting takes long."""
    image = opened.image
    if not getattr(image, "is_animated", False):
        return 1
    if image.format == "GIF" and opened.file_bytes > 64_000_000:
        return 2
    return int(getattr(image, "n_frames", 1))


def megapixels(width: int, height: int) -> str:
    """Number of pixels for messages.

    Example:
        >>> megapixels(15000, 10000)
        '150.0 megapixels'
    """
    return f"{width * height / 1e6:.1f} megapixels"


@contextlib.contextmanager
def _stream(path: Path, content: bytes | None) -> Iterator[IO[bytes]]:
    if content is not None:
        if not content:
            raise _empty(path)
        yield io.BytesIO(content)
        return
    try:
        state = path.stat()
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist", hint=_nearest(path), slug="missing-file") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path!s} cannot be opened: {_reason(error)}", slug="missing-file") from error
    if not stat.S_ISREG(state.st_mode):
        kind = "a folder" if stat.S_ISDIR(state.st_mode) else "a device or pipe"
        raise DataError(f"{path} is {kind}, expected an image file", slug="missing-file")
    if state.st_size == 0:
        raise _empty(path)
    try:
        stream = path.open("rb")
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {_reason(error)}", slug="missing-file") from error
    with stream:
        yield stream


def _empty(path: Path) -> DataError:
    return DataError(f"{path} is empty (0 bytes)", hint="copy or download the file again", slug="corrupt-image")


def _identify(stream: IO[bytes], path: Path) -> ImageFile.ImageFile:
    Image.init()
    start = stream.read(160)
    formats = (
        (*READABLE_FORMATS, "TGA") if path.suffix.lower() in {".tga", ".icb", ".vda", ".vst"} else READABLE_FORMATS
    )
    failures = []
    for name in formats:
        # The registry instead of Image.open: its pixel limit is global and lower than ours. No file name is handed on,
        # because raw formats would then be memory-mapped and a file cut meanwhile would kill the process.
        factory, accept = Image.OPEN.get(name, (None, None))
        if factory is None or (accept is not None and accept(start[:16]) is not True):
            continue
        stream.seek(0)
        try:
            return factory(stream, "")
        except (SyntaxError, IndexError, TypeError, struct.error) as error:
            failures.append(f"{name}: {_reason(error)}")
    if failures:
        raise DataError(
            f"{path} has a header that cannot be read ({'; '.join(failures)})",
            hint="copy or download the file again, or convert it to PNG",
            slug="corrupt-image",
        )
    raise DataError(
        f"{path} is {_foreign(start)}, expected an image ({', '.join(READABLE_FORMATS)}, TGA)",
        hint="convert it to PNG, or leave it out",
        slug="corrupt-image",
    )


def _foreign(start: bytes) -> str:
    for offset, signature, name in _FOREIGN:
        if start[offset : offset + len(signature)].lower() == signature.lower():
            return name
    if not start.strip(b"\x00"):
        return "not an image: its first bytes are all zero"
    return f"not an image: it begins with {start[:12]!r}"


def _nearest(path: Path) -> str | None:
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist either"
    for entry in sorted(path.parent.iterdir())[:10_000]:
        if entry.name.lower() == path.name.lower() or entry.stem == path.stem:
            return f"there is {entry}"
    return None


def _reason(error: BaseException) -> str:
    text = str(error).strip().rstrip(".")
    return text.splitlines()[0] if text else type(error).__name__


@contextlib.contextmanager
def _pillow_warnings() -> Iterator[list[str]]:
    # `warnings.catch_warnings` would take other threads' warnings away while we read: only what Pillow's modules say is
    # let through to our hook, and the hook asks which thread is speaking.
    notes: list[str] = []
    outer = getattr(_local, "notes", None)
    with _lock:
        _Shared.readers += 1
        if _Shared.readers == 1:
            _Shared.show = warnings.showwarning
            warnings.filterwarnings("always", module=r"PIL\.")
            _Shared.entry = warnings.filters[0]
            warnings.showwarning = _show_warning
    _local.notes = notes
    try:
        yield notes
    finally:
        _local.notes = outer
        with _lock:
            _Shared.readers -= 1
            if _Shared.readers == 0:
                if warnings.showwarning is _show_warning:
                    warnings.showwarning = _Shared.show
                with contextlib.suppress(ValueError):
                    warnings.filters.remove(_Shared.entry)  # type: ignore[attr-defined]


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    notes = getattr(_local, "notes", None)
    if notes is None:
        _Shared.show(message, category, *place, **more)
    elif issubclass(category, Image.DecompressionBombWarning):
        return  # sizes are held against our own limit
    elif (text := str(message).strip()) not in notes:
        notes.append(text)
