"""Boxes and polygons in YOLO's text files, one for an image: rows `class cx cy w h` or `class x1 y1 x2 y2 ...`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from snellen.core.facts.data import Box, ListingKind, Sample
from snellen.data.layouts.annotated import Failed, marks_of, read_annotated, read_bounded
from snellen.data.layouts.base import Contents, Layout, Match, not_there
from snellen.data.layouts.class_names import CLASS_FILE, find_class_names
from snellen.data.layouts.groups import with_sources
from snellen.data.layouts.pairing import pair
from snellen.data.layouts.problems import shown
from snellen.data.layouts.sides import Side, find_sides, sides_in_one_folder
from snellen.data.layouts.tree import Tree, suffix_of
from snellen.errors import DataError

__all__ = ["LAYOUT", "read_yolo"]

_FOLDERS = ("labels", "label", "labels_detection", "annotations", "txt", "labels_instance_polygons")
_SNIFFED = 20
_KINDS: Mapping[ListingKind, str] = {"row-unreadable": "{has} a row that is neither a box nor a polygon"}
_NOT_LABELS = re.compile(r"(?:readme|train|val|test|notes|licen[cs]e|requirements).*\.txt", re.IGNORECASE)


def read_yolo(path: str) -> tuple[tuple[Box, ...], int]:
    r"""Boxes of one label file, and how many rows are neither box nor polygon; a polygon gives the box around it.

    Raises:
        DataError: It cannot be read, or is too large.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp(), "a.txt")
        >>> _ = path.write_text("3 0.5 0.5 0.2 0.1\n7 0 0 1 0 1 0.5\n1 x y\n")
        >>> boxes, bad = read_yolo(str(path))
        >>> [(box.label, box.values, box.line) for box in boxes], bad
        ([('3', (0.5, 0.5, 0.2, 0.1), 1), ('7', (0.5, 0.25, 1.0, 0.5), 2)], 1)
    """
    raw = read_bounded(path)
    boxes, bad = [], 0
    for number, line in enumerate(raw.decode("utf-8-sig", "replace").splitlines(), start=1):
        cells = line.split()
        if not cells:
            continue
        values = _values(cells)
        if values is None:
            bad += 1
        else:
            boxes.append(Box(_label(cells[0]), values, "relative-cxcywh", path, number))
    return tuple(boxes), bad


def _label(cell: str) -> str:
    """The number of a class as it is usually written: programs that save arrays of floats write `15.0`."""
    number = float(cell)
    return str(int(number)) if "." in cell and number.is_integer() else cell


def _values(cells: list[str]) -> tuple[float, float, float, float] | None:
    try:
        float(cells[0])
        numbers = [float(cell) for cell in cells[1:]]
    except ValueError:
        return None
    if not all(map(math.isfinite, numbers)):
        return None
    if len(numbers) == 4:
        return numbers[0], numbers[1], numbers[2], numbers[3]
    if len(numbers) < 6 or len(numbers) % 2:
        return None
    left, right = min(numbers[::2]), max(numbers[::2])
    top, bottom = min(numbers[1::2]), max(numbers[1::2])
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def _is_label(name: str) -> bool:
    return suffix_of(name) == ".txt" and not CLASS_FILE.fullmatch(name) and not _NOT_LABELS.fullmatch(name)


def _sides(tree: Tree) -> tuple[Side, ...]:
    return find_sides(tree, _FOLDERS, _is_label, endings=("_labels",)) or sides_in_one_folder(tree, _is_label)


def _recognise(tree: Tree) -> Match | None:
    sides = _sides(tree)
    images = sum(len(side.images) for side in sides)
    paired = 0
    boxes = rows = 0
    for side in sides:
        pairs = pair(side.images, side.marks)
        paired += pairs.paired
        for marks in [marks for _, marks in pairs.found if marks][:_SNIFFED]:
            try:
                found, bad = read_yolo(marks[0])
            except DataError:
                continue
            boxes += len(found)
            rows += len(found) + bad
    if not paired or not boxes or 2 * boxes < rows:
        return None
    return Match(88, f"{paired} of {images} images have a text file of boxes in {shown(sides[0].where)}")


def _read(tree: Tree) -> Contents:
    sides = _sides(tree)
    if not sides:
        return not_there(tree, "text files of boxes beside the images, such as images and labels")
    samples, problems = read_annotated(sides, "label file", _sample, _KINDS)
    polygons = any("polygon" in side.where.casefold() for side in sides)
    classes, classes_from = find_class_names(tree, about="instance" if polygons else "detect|object")
    used = frozenset((classes_from, *marks_of(sides)))
    return Contents(with_sources(samples), classes, classes_from, tuple(problems), used)


def _sample(image: str, path: str, failed: Failed) -> Sample:
    boxes, wrong = read_yolo(path)
    if wrong:
        failed.append(("row-unreadable", path))
    return Sample(image, boxes=boxes)


LAYOUT = Layout("yolo-boxes", _recognise, _read)
"""Detection and instance segmentation, YOLO."""
