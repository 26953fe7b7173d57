"""A forgery drawn onto its image: outlines of source and copy, lines between matched points, score and truth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["COLOURS", "Pair", "draw_overlay"]

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Box = tuple[int, int, int, int]

Pair = tuple[Box, Box, npt.NDArray[np.floating]]
"""Box of the source, box of its copy (both `x0, y0, x1, y1`, half-open), and matched points `(n, 4)`: x, y, x, y."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "marked": (240, 228, 66),
    "source": (86, 180, 233),
    "copy": (230, 80, 0),
    "match": (255, 255, 255),
    "truth": (0, 200, 130),
}
"""RGB of each part; chosen so that colour-blind readers can tell them apart (after Okabe and Ito, 2008)."""

_LONGEST = 1600
_SHORTEST = 320
_MOST_LINES = 60


def draw_overlay(
    image: Pixels,
    *,
    mask: Mask,
    pairs: Sequence[Pair] = (),
    score: float | None = None,
    truth: Mask | None = None,
    longest_side: int = _LONGEST,
) -> Pixels:
    """Draw what a detector found.

    Outlines of the mask are blue inside the box of a source, orange inside that of a copy and yellow elsewhere; the
    true outline is a thin green line. At most 60 evenly chosen matches of each pair are drawn.

    Args:
        image: RGB, shape `(height, width, 3)`.
        mask: Marked pixels, shape `(height, width)`.
        pairs: Sources with their copies, see `Pair`.
        score: Image score, written into the top left corner where there is room.
        truth: Altered pixels, shape `(height, width)`.
        longest_side: Larger images are shrunk to it; images of less than 320 pixels are enlarged by a whole factor.

    Returns:
        RGB, a new array; its sides are those of the image times one factor, at least 1 pixel.

    Raises:
        ValueError: A mask has another shape than the image.

    Example:
        >>> image = np.zeros((40, 60, 3), dtype=np.uint8)
        >>> mask = np.zeros((40, 60), dtype=bool)
        >>> mask[10:20, 10:20] = True
        >>> draw_overlay(image, mask=mask, score=0.7).shape
        (240, 360, 3)
    """
    for name, given in (("mask", mask), ("truth", truth)):
        if given is not None and given.shape != image.shape[:2]:
            raise ValueError(f"{name} has shape {given.shape}, the image {image.shape[:2]}")
    factor, canvas = _scaled(image, longest_side)
    size = (canvas.shape[1], canvas.shape[0])
    line = max(1, round(max(size) / 500))
    if truth is not None:
        _draw_outline(canvas, _scaled_mask(truth, size), _plain(canvas, "truth"), width=line)
    for source, copy, matches in pairs:
        _draw_matches(canvas, matches, factor, width=max(1, line - 1))
        for box, name in ((source, "source"), (copy, "copy")):
            corners = [round((edge - 0.5) * factor) for edge in box]
            cv2.rectangle(canvas, (corners[0], corners[1]), (corners[2], corners[3]), COLOURS[name], 1)
    _draw_outline(canvas, _scaled_mask(mask, size), _colour_by_box(canvas, pairs, factor), width=line + 1)
    if score is not None:
        _write(canvas, f"score {score:.2f}" + ("" if mask.any() else ", nothing found"))
    return canvas


def _scaled(image: Pixels, longest_side: int) -> tuple[float, Pixels]:
    height, width = image.shape[:2]
    longest = max(height, width)
    factor = float(math.ceil(min(_SHORTEST, longest_side) / longest)) if longest < _SHORTEST else 1.0
    factor = min(factor, longest_side / longest)
    if factor == 1:
        return 1.0, image.copy()
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    return factor, np.asarray(cv2.resize(image, size, interpolation=method), dtype=np.uint8)


def _scaled_mask(mask: Mask, size: tuple[int, int]) -> Pixels:
    # Shrunk by area with any pixel kept, so that a tiny region does not vanish from a huge picture.
    grey = mask.astype(np.uint8) * np.uint8(255)
    if size == (mask.shape[1], mask.shape[0]):
        return grey
    method = cv2.INTER_AREA if size[0] < mask.shape[1] else cv2.INTER_NEAREST
    shrunk = np.asarray(cv2.resize(grey, size, interpolation=method), dtype=np.uint8)
    return np.where(shrunk > 0, np.uint8(255), np.uint8(0))


def _plain(canvas: Pixels, name: str) -> Pixels:
    return np.broadcast_to(np.array(COLOURS[name], dtype=np.uint8), canvas.shape)


def _colour_by_box(canvas: Pixels, pairs: Sequence[Pair], factor: float) -> Pixels:
    colours = _plain(canvas, "marked").copy()
    for name, which in (("source", 0), ("copy", 1)):
        for pair in pairs:
            x0, y0, x1, y1 = pair[which]
            reach = 2 + max(canvas.shape) // 400  # lines are thicker than the mask
            top, left = max(0, round(y0 * factor) - reach), max(0, round(x0 * factor) - reach)
            colours[top : round(y1 * factor) + reach, left : round(x1 * factor) + reach] = COLOURS[name]
    return colours


def _draw_outline(canvas: Pixels, mask: Pixels, colours: Pixels, *, width: int) -> None:
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    drawn = np.zeros(mask.shape, dtype=np.uint8)
    cv2.drawContours(drawn, outlines, -1, (255,), width)
    canvas[drawn > 0] = colours[drawn > 0]


def _draw_matches(canvas: Pixels, matches: npt.NDArray[np.floating], factor: float, *, width: int) -> None:
    if not len(matches):
        return
    chosen = np.unique(np.linspace(0, len(matches) - 1, min(len(matches), _MOST_LINES)).astype(int))
    ends = np.rint((np.asarray(matches, dtype=np.float64)[chosen] + 0.5) * factor - 0.5)
    over = canvas.copy()
    # Clipped far outside: a stray match must not overflow OpenCV's 16-bit fixed-point coordinates.
    for x0, y0, x1, y1 in np.clip(ends, -20_000, 20_000).astype(int).tolist():
        cv2.line(over, (x0, y0), (x1, y1), COLOURS["match"], width, cv2.LINE_AA)
        cv2.circle(over, (x0, y0), width + 1, COLOURS["source"], cv2.FILLED, cv2.LINE_AA)
        cv2.circle(over, (x1, y1), width + 1, COLOURS["copy"], cv2.FILLED, cv2.LINE_AA)
    cv2.addWeighted(over, 0.6, canvas, 0.4, 0, dst=canvas)


def _write(canvas: Pixels, text: str) -> None:
    size = max(0.5, max(canvas.shape) / 1600)
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    if width + 12 > canvas.shape[1] or height + base + 12 > canvas.shape[0]:
        return
    canvas[: height + base + 10, : width + 12] //= 4
    place = (6, height + 6)
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), 1, cv2.LINE_AA)
