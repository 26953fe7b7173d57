"""Boxes and polygons in YOLO's text files, one for an image: rows `class cx cy w h` or `class x1 y1 x2 y2 ...`."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Final

from snellen.core.facts.data import Box, ListingProblem, Sample
from snellen.data.layouts.base import Contents, Layout, Match, not_there
from snellen.data.layouts.class_names import CLASS_FILE, find_class_names
from snellen.data.layouts.groups import with_sources
from snellen.data.layouts.pairing import pair
from snellen.data.layouts.problems import counted, shown
from snellen.data.layouts.sides import Side, find_sides, sides_in_one_folder
from snellen.data.layouts.tree import Tree, suffix_of
from snellen.errors import DataError

__all__ = ["LAYOUT", "MAX_BYTES", "read_yolo"]

MAX_BYTES: Final = 16 * 1024 * 1024
"""A larger text is no label file of one image."""

_FOLDERS = ("labels", "label", "labels_detection", "annotations", "txt", "labels_instance_polygons")
_SNIFFED = 20
_NOT_LABELS = re.compile(r"(?:readme|train|val|test|notes|licen[cs]e|requirements).*\.txt", re.IGNORECASE)


def read_yolo(path: str) -> tuple[tuple[Box, ...], int]:
    r"""Boxes of one label file, and how many rows are neither box nor polygon; a polygon gives the box around it.

    Raises:
        DataError: It cannot be read, or is too large.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "a.txt")
        >>> _ = path.write_text("3 0.5 0.5 0.2 0.1\n7 0 0 1 0 1 0.5\n1 x y\n")
        >>> boxes, bad = read_yolo(str(path))
        >>> [(box.label, box.values, box.line) for box in boxes], bad
        ([('3', (0.5, 0.5, 0.2, 0.1), 1), ('7', (0.5, 0.25, 1.0, 0.5), 2)], 1)
    """
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{shown(path)}: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise DataError(f"{shown(path)}: larger than {MAX_BYTES // 1024**2} MiB")
    boxes, bad = [], 0
    for number, line in enumerate(raw.decode("utf-8-sig", "replace").splitlines(), start=1):
        cells = line.split()
        if not cells:
            continue
        values = _values(cells)
        if values is None:
            bad += 1
        else:
            boxes.append(Box(cells[0], values, "relative-cxcywh", path, number))
    return tuple(boxes), bad


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
    samples: list[Sample] = []
    problems: list[ListingProblem] = []
    unreadable: list[str] = []
    bad: list[str] = []
    reason = ""
    for side in sides:
        pairs = pair(side.images, side.marks, mark="label file", where=shown(side.where))
        problems += pairs.problems
        for image, marks in pairs.found:
            if not marks:
                samples.append(Sample(image, boxes=None))
                continue
            try:
                boxes, wrong = read_yolo(marks[0])
            except DataError as error:
                unreadable.append(marks[0])
                reason = reason or error.message.rpartition(": ")[2]
                samples.append(Sample(image, boxes=None))
                continue
            bad += [marks[0]] * bool(wrong)
            samples.append(Sample(image, boxes=boxes))
    problems += [
        *counted("annotation-unreadable", unreadable, len(samples), f"label files cannot be read ({reason})"),
        *counted("row-unreadable", bad, len(samples), "label files {has} a row that is neither a box nor a polygon"),
    ]
    polygons = any("polygon" in side.where.casefold() for side in sides)
    classes, classes_from = find_class_names(tree, about="instance" if polygons else "detect|object")
    used = frozenset((classes_from, *(path for side in sides for _, path in side.marks)))
    return Contents(with_sources(samples), classes, classes_from, tuple(problems), used)


LAYOUT = Layout("yolo-boxes", _recognise, _read)
"""Detection and instance segmentation, YOLO."""
