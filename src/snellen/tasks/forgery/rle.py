"""Run-length encoding of masks as competitions want it: counted from 1, down the columns or along the rows."""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from snellen.errors import DataError

__all__ = ["PixelOrder", "RunStyle", "decode_rle", "encode_rle", "format_runs", "mask_to_runs", "parse_runs"]

PixelOrder = Literal["columns", "rows"]
"""How pixels are numbered: down the first column, then the next (column-major), or along the first row (row-major)."""

RunStyle = Literal["json", "spaces"]
"""How runs are written: `[123, 4, 200, 3]` or `123 4 200 3`."""

Runs = npt.NDArray[np.int64]
"""Shape `(runs, 2)`: number of the first pixel, counted from 1, and length."""

_JSON = re.compile(r"\[\s*(?:-?\d+\s*(?:,\s*-?\d+\s*)*)?\]")
_LARGEST = 2**53
_SPACES = re.compile(r"-?\d+(?:\s+-?\d+)*")


def encode_rle(mask: npt.NDArray[Any], *, order: PixelOrder = "columns", style: RunStyle = "json") -> str:
    """Encode one mask.

    Args:
        mask: Shape `(height, width)`; anything but 0 is marked.
        order: Numbering of the pixels.
        style: How the runs are written.

    Returns:
        Runs in ascending order as `start, length` pairs; an empty mask gives `[]` or an empty text.

    Example:
        >>> mask = np.array([[0, 1, 1], [0, 1, 0]])
        >>> encode_rle(mask), encode_rle(mask, order="rows", style="spaces")
        ('[3, 3]', '2 2 5 1')
    """
    return format_runs(mask_to_runs(mask, order=order), style=style)


def decode_rle(text: str, size: tuple[int, int], *, order: PixelOrder = "columns") -> npt.NDArray[np.bool_]:
    """Decode one mask; the inverse of `encode_rle` in either style.

    Args:
        text: Runs in either style; an empty text is an empty mask.
        size: `(height, width)` of the image.
        order: Numbering of the pixels.

    Raises:
        DataError: The text is not a list of runs, or a run leaves the image.

    Example:
        >>> decode_rle("[3, 3]", (2, 3)).astype(int).tolist()
        [[0, 1, 1], [0, 1, 0]]
    """
    runs = parse_runs(text if text.strip() else "[]")
    height, width = size
    starts, ends = runs[:, 0] - 1, runs[:, 0] - 1 + runs[:, 1]
    if len(runs) and (starts.min() < 0 or runs[:, 1].min() < 1 or ends.max() > height * width):
        raise DataError(f"runs must lie in pixels 1 to {height * width} of a {width} x {height} image: {text[:60]}")
    steps = np.zeros(height * width + 1, dtype=np.int32)
    np.add.at(steps, starts, 1)
    np.subtract.at(steps, ends, 1)
    flat = np.cumsum(steps[:-1], dtype=np.int32) > 0
    return np.ascontiguousarray(flat.reshape(width, height).T) if order == "columns" else flat.reshape(height, width)


def mask_to_runs(mask: npt.NDArray[Any], *, order: PixelOrder = "columns") -> Runs:
    """Runs of one mask, shape `(runs, 2)`: first pixel counted from 1, length."""
    if mask.ndim != 2:
        raise DataError(f"a mask has shape (height, width), got {mask.shape}")
    flat = (mask.T if order == "columns" else mask).reshape(-1) != 0
    edges = np.flatnonzero(np.diff(flat, prepend=False, append=False))
    starts, ends = edges[::2], edges[1::2]
    return np.stack([starts + 1, ends - starts], axis=1).astype(np.int64)


def format_runs(runs: Runs, *, style: RunStyle = "json") -> str:
    """Runs as text."""
    numbers = map(str, runs.reshape(-1).tolist())
    return f"[{', '.join(numbers)}]" if style == "json" else " ".join(numbers)


def parse_runs(text: str) -> Runs:
    """Text in either style as runs; numbers are not checked against an image.

    Raises:
        DataError: It is no list of whole numbers, their number is odd, or one is too large for any image.

    Example:
        >>> parse_runs("[3, 3, 9, 1]").tolist(), parse_runs("3 3").tolist()
        ([[3, 3], [9, 1]], [[3, 3]])
    """
    text = text.strip()
    if not (_JSON if text.startswith("[") else _SPACES).fullmatch(text):
        shown = text if len(text) <= 60 else text[:57] + "..."
        raise DataError(f"expected whole numbers such as [123, 4, 200, 3] or 123 4 200 3, got {shown}")
    try:
        numbers = np.array(text.strip("[]").replace(",", " ").split(), dtype=np.int64)
    except (OverflowError, ValueError):
        numbers = np.array([_LARGEST + 1])
    if numbers.size and np.abs(numbers).max() > _LARGEST:
        raise DataError("a number is too large for any image")
    if numbers.size % 2:
        raise DataError(f"{numbers.size} numbers, an odd count: every run is a start and a length")
    return numbers.reshape(-1, 2)
