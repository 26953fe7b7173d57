"""Small pictures for a page: images with their boxes, masks beside them, and the reason where a file cannot be shown.

Size and number are bounded, so that a page about a hundred thousand images still opens: each picture is a JPEG of a few
kilobytes, and once the budget is spent the names alone are shown.
"""

from __future__ import annotations

import base64
import html
import io
import stat
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from snellen.core.facts.data import Box, FolderAudit, Sample
from snellen.core.file_kinds import is_image
from snellen.report.text import harmless

__all__ = ["Thumbnails"]

SIDE: Final = 200
"""Longest side of a picture, in pixels."""
MOST_PIXELS: Final = 80_000_000
"""Larger images are not decoded for a page."""
_MOST_BOXES: Final = 60
_MOST_MASKS: Final = 2
_QUALITY: Final = 72
_COLOURS: Final = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")


class Thumbnails:
    """Makes figures of files until its budget is spent.

    Args:
        audits: What the files are: their boxes, masks and problems.
        pictures: How many pictures a page may hold.
        budget: How many bytes all of them may take.
    """

    def __init__(self, audits: Iterable[FolderAudit] = (), *, pictures: int = 300, budget: int = 6_000_000) -> None:
        self._samples: dict[str, Sample] = {}
        self._shown_by: dict[str, str] = {}
        self._problems: dict[str, str] = {}
        for audit in audits:
            for sample in audit.samples:
                self._samples.setdefault(sample.image, sample)
                for path in (*sample.masks, *dict.fromkeys(box.path for box in sample.boxes or ())):
                    # A table of all annotations names no image.
                    self._shown_by[path] = "" if path in self._shown_by else sample.image
            records: Iterable[Mapping[str, object]] = (audit.images, audit.masks)
            for group in records:
                for path, record in group.items():
                    problem = getattr(record, "problem", "")
                    if problem:
                        self._problems[path] = problem
        self._left = pictures
        self._budget = budget

    def image_of(self, path: str) -> str:
        """The image that shows what a file is about: itself, or that of a mask or an annotation; `""` for others."""
        shown = self._shown_by.get(path, "")
        return shown if shown or not is_image(path) else path

    def figure(self, path: str, caption: str) -> str:
        """A file with its masks beside it, and what is to be said of it; `""` when the budget is spent."""
        if self._left <= 0 or self._budget <= 0:
            return ""
        sample = self._samples.get(path)
        boxes = (sample.boxes or ()) if sample is not None else ()
        masks = sample.masks[:_MOST_MASKS] if sample is not None else ()
        cells = [self._picture(path, boxes), *(self._picture(mask, (), mask=True) for mask in masks)]
        return (
            f'<figure class="shot"><div class="pair">{"".join(cells)}</div>'
            f"<figcaption>{html.escape(harmless(caption))}</figcaption></figure>"
        )

    def _picture(self, path: str, boxes: Iterable[Box], *, mask: bool = False) -> str:
        problem = self._problems.get(path, "")
        content = b""
        if not problem:
            try:
                content = _small(Path(path), tuple(boxes)[:_MOST_BOXES], mask=mask)
            except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError) as error:
                problem = f"cannot be shown: {error}" if str(error) else f"cannot be shown: {type(error).__name__}"
        if problem:
            return f'<div class="hole"><b>no picture</b>{html.escape(harmless(problem)[:240])}</div>'
        self._left -= 1
        self._budget -= len(content)
        name = html.escape(harmless(Path(path).name))
        return f'<img src="data:image/jpeg;base64,{base64.b64encode(content).decode()}" alt="{name}" loading="lazy">'


def _small(path: Path, boxes: Iterable[Box], *, mask: bool) -> bytes:
    # A pipe named like an image would block whoever opens it.
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is no regular file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise ValueError(f"{width} x {height} pixels are too many for a page")
            if not mask:
                image.draft("RGB", (2 * SIDE, 2 * SIDE))
            shown = _shown_mask(image) if mask else _shown_image(image)
        scale = shown.width / width, shown.height / height
        upright = _drawn(shown, boxes, scale) if boxes else shown
        content = io.BytesIO()
        upright.save(content, "JPEG", quality=_QUALITY)
    return content.getvalue()


def _shown_image(image: Image.Image) -> Image.Image:
    image.load()
    if image.mode.startswith(("I", "F")):
        # Sixteen bits and floats are stretched to what a screen shows.
        values = np.asarray(image.convert("F"))
        low, high = float(values.min()), float(values.max())
        image = Image.fromarray(((values - low) * (255.0 / (high - low or 1.0))).astype(np.uint8))
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "#888888"), image.convert("RGBA"))
    small = ImageOps.exif_transpose(image).convert("RGB")
    small.thumbnail((SIDE, SIDE))
    return small


def _shown_mask(image: Image.Image) -> Image.Image:
    image.load()
    if image.mode in {"P", "RGB", "RGBA", "CMYK"}:
        mask = image.convert("RGB")
    else:
        # Masks hold 0 and 1 as often as 0 and 255; stretched, both can be seen.
        mask = ImageOps.autocontrast(image.convert("L")).convert("RGB")
    mask.thumbnail((SIDE, SIDE), Image.Resampling.NEAREST)
    return mask


def _drawn(image: Image.Image, boxes: Iterable[Box], scale: tuple[float, float]) -> Image.Image:
    pen = ImageDraw.Draw(image)
    width, height = image.width / scale[0], image.height / scale[1]
    labels: dict[str, str] = {}
    for box in boxes:
        left, top, right, bottom = _corners(box, width, height)
        colour = labels.setdefault(box.label, _COLOURS[len(labels) % len(_COLOURS)])
        # What lies outside is drawn on the border, where it can be seen.
        x = sorted(min(max(value * scale[0], 0), image.width - 1) for value in (left, right))
        y = sorted(min(max(value * scale[1], 0), image.height - 1) for value in (top, bottom))
        pen.rectangle((x[0], y[0], x[1], y[1]), outline=colour, width=2)
    return image


def _corners(box: Box, width: float, height: float) -> tuple[float, float, float, float]:
    a, b, c, d = (value if abs(value) < 1e7 else 0.0 for value in box.values)
    if box.convention == "xyxy":
        return a, b, c, d
    if box.convention == "xywh":
        return a, b, a + c, b + d
    return (a - c / 2) * width, (b - d / 2) * height, (a + c / 2) * width, (b + d / 2) * height
