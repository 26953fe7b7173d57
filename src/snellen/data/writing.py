"""Pictures and records written whole or not at all: beside the file, synced to disk, renamed over it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from snellen.core.files import write_bytes, write_json, write_text, writing
from snellen.errors import RunFolderError

__all__ = ["make_folder", "write_bytes", "write_json", "write_png", "write_text"]


def make_folder(path: str | Path) -> Path:
    """Make a folder with its parents; one that exists will do.

    Raises:
        RunFolderError: A file stands in the way, or the place is not writable.

    Example:
        >>> import tempfile
        >>> make_folder(Path(tempfile.mkdtemp()) / "predictions" / "masks").is_dir()
        True
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise RunFolderError(f"{path} is a file, expected a folder to write into", hint="name another folder")
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def write_png(path: str | Path, pixels: npt.NDArray[Any], *, compression: int = 4) -> None:
    """Write an image or a mask as PNG; the folder must exist.

    Args:
        path: The file; whatever its suffix, the content is PNG.
        pixels: RGB `(height, width, 3)` or grey `(height, width)` of type uint8, or a boolean mask, which is written
            as 0 and 255.
        compression: 0 (none) to 9 (smallest).

    Raises:
        RunFolderError: The disk is full or the folder cannot be written; the old file, if any, is untouched.
        ValueError: The array has another shape or type.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "mask.png"
        >>> write_png(path, np.array([[True, False]]))
        >>> np.asarray(Image.open(path)).tolist()
        [[255, 0]]
    """
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype != np.uint8 or pixels.size == 0 or not (pixels.ndim == 2 or pixels.shape[2:] == (3,)):
        raise ValueError(f"expected uint8 or bool of shape (H, W) or (H, W, 3), got {pixels.dtype} {pixels.shape}")
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG", compress_level=compression)
    write_bytes(path, buffer.getbuffer())
