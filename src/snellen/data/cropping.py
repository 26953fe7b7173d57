"""Boxes cut out of pictures into a folder for each class: what few-shot recognition and classification start from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from snellen.core.boxes import corners, fault
from snellen.core.classes_of import label_of_number
from snellen.core.facts.data import Sample
from snellen.data.pictures import read_picture
from snellen.data.writing import make_folder, write_png
from snellen.errors import RunFolderError, SnellenError

__all__ = ["CropReport", "crop_boxes"]

_FORBIDDEN: Final = '/\\:*?"<>|'


@dataclass(slots=True)
class CropReport:
    """What was cut.

    Args:
        counts: Crops by class.
        problems: A sentence for each picture or box that was left out.
    """

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def crop_boxes(
    samples: Iterable[Sample],
    out: Path,
    *,
    classes: Sequence[str] = (),
    margin: float = 0.1,
    smallest: int = 8,
    square: bool = True,
) -> CropReport:
    """Cut every box out of its picture: `out/CLASS/PICTURE_crop_NUMBER.png`.

    The names keep the crops of one picture together, so that none of them is compared with another one.

    Args:
        samples: Pictures with their boxes.
        out: The folder.
        classes: Names of classes that are given by number.
        margin: What is added on each side, as a share of the box.
        smallest: Boxes with a shorter side are left out, in pixels.
        square: Widen the shorter side, so that nothing is stretched later; cut off at the picture's edge.

    Raises:
        RunFolderError: The folder cannot be written.
    """
    report = CropReport()
    names: Counter[str] = Counter()
    for sample in samples:
        if not sample.boxes:
            continue
        stem = Path(sample.image).stem
        names[stem] += 1
        # Pictures of one name in several folders.
        stem = stem if names[stem] == 1 else f"{stem}.{names[stem]}"
        try:
            picture = read_picture(sample.image).image.convert("RGB")
        except RunFolderError:
            raise
        except (SnellenError, OSError, ValueError) as error:
            report.problems.append(f"{sample.image}: {error if not isinstance(error, SnellenError) else error.message}")
            continue
        size = (picture.height, picture.width)
        for number, box in enumerate(sample.boxes):
            wrong = fault(box.values, box.convention, size)
            x1, y1, x2, y2 = (0.0,) * 4 if wrong else corners(box.values, box.convention, size)
            if not wrong and min(x2 - x1, y2 - y1) < smallest:
                wrong = f"is smaller than {smallest} pixels"
            if wrong:
                line = f", line {box.line}" if box.line else ""
                report.problems.append(f"{box.path}{line}: the box {number} of {box.label} {wrong}")
                continue
            label = _folder(label_of_number(box.label, tuple(classes)))
            crop = _cut(picture, (x1, y1, x2, y2), margin, square=square)
            write_png(make_folder(out / label) / f"{stem}_crop_{number}.png", np.asarray(crop))
            report.counts[label] += 1
    return report


def _cut(picture: Image.Image, box: tuple[float, float, float, float], margin: float, *, square: bool) -> Image.Image:
    x1, y1, x2, y2 = box
    width, height = (x2 - x1) * (1 + 2 * margin), (y2 - y1) * (1 + 2 * margin)
    if square:
        width = height = max(width, height)
    left, top = (x1 + x2 - width) / 2, (y1 + y2 - height) / 2
    area = (
        max(0, round(left)),
        max(0, round(top)),
        min(picture.width, max(round(left + width), round(left) + 1)),
        min(picture.height, max(round(top + height), round(top) + 1)),
    )
    return picture.crop(area)


def _folder(label: str) -> str:
    name = "".join("_" if letter in _FORBIDDEN or ord(letter) < 32 else letter for letter in label).strip(" .")
    return name or "unnamed"
