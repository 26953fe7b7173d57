"""Boxes in Pascal VOC files: one XML for an image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from snellen.core.facts.data import Box, ListingKind, Sample
from snellen.data.layouts.annotated import Failed, marks_of, read_annotated, read_bounded
from snellen.data.layouts.base import Contents, Layout, Match, not_there
from snellen.data.layouts.class_names import find_class_names
from snellen.data.layouts.groups import with_sources
from snellen.data.layouts.pairing import pair
from snellen.data.layouts.problems import shown
from snellen.data.layouts.sides import Side, find_sides, sides_in_one_folder
from snellen.data.layouts.tree import Tree, stem_of, suffix_of
from snellen.errors import DataError

__all__ = ["LAYOUT", "read_voc"]

_FOLDERS = ("annotations", "annotation", "annots", "xml", "xmls", "labels")
_MAX_DEPTH = 30
_MAX_OBJECTS = 100_000
_SNIFFED = 5
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_KINDS: Mapping[ListingKind, str] = {
    "row-unreadable": "{has} an object without four finite corners",
    "other-name": "{names} another image inside than the file's own name does",
}


@dataclass(slots=True)
class _Voc:
    filename: str = ""
    size: dict[str, str] = field(default_factory=dict)
    boxes: list[Box] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)


def read_voc(path: str) -> _Voc:
    """Read one annotation; objects whose box is no four numbers are noted in `bad`.

    Raises:
        DataError: It cannot be read, is too large, is no XML, declares entities, or is about something else.
    """
    raw = read_bounded(path)
    reader = _Reader(path)
    try:
        reader.parser.Parse(raw, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise DataError(f"{shown(path)}: no readable XML: {error}") from error
    if reader.top != "annotation":
        raise DataError(f"{shown(path)}: its outermost element is {reader.top!r}, expected 'annotation'")
    return reader.voc


class _Reader:
    """Follows the elements that matter; nothing outside of the file is ever asked for."""

    def __init__(self, path: str) -> None:
        self.voc = _Voc()
        self.top = ""
        self._path = path
        self._stack: list[str] = []
        self._text = ""
        self._object: dict[str, str] = {}
        self._line = 0
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._refuse

    def _refuse(self, *_: object) -> None:
        # Declarations of entities are how a small file becomes gigabytes, or asks for files outside.
        raise ValueError("it declares a document type, which an annotation does not need")

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        self.top = self.top or name
        self._stack.append(name)
        self._text = ""
        if len(self._stack) > _MAX_DEPTH or len(self.voc.boxes) > _MAX_OBJECTS:
            raise ValueError("it is nested too deeply or holds too many objects")
        if self._stack[1:] == ["object"]:
            self._object, self._line = {}, self.parser.CurrentLineNumber

    def _characters(self, text: str) -> None:
        self._text += text

    def _end(self, _name: str) -> None:
        match self._stack[1:]:
            case ["filename"]:
                self.voc.filename = self._text.strip()
            case ["size", part]:
                self.voc.size[part] = self._text.strip()
            case ["object", "name"]:
                self._object["name"] = self._text
            case ["object", "bndbox", part]:
                self._object[part] = self._text.strip()
            case ["object"]:
                self._finish_object()
        self._stack.pop()
        self._text = ""

    def _finish_object(self) -> None:
        try:
            x1, y1, x2, y2 = (float(self._object[corner]) for corner in _CORNERS)
        except (KeyError, ValueError):
            self.voc.bad.append(f"line {self._line}")
            return
        if not all(map(math.isfinite, (x1, y1, x2, y2))):
            self.voc.bad.append(f"line {self._line}")
            return
        self.voc.boxes.append(Box(self._object.get("name", ""), (x1, y1, x2, y2), "xyxy", self._path, self._line))


def _is_xml(name: str) -> bool:
    return suffix_of(name) == ".xml"


def _sides(tree: Tree) -> tuple[Side, ...]:
    return find_sides(tree, _FOLDERS, _is_xml, endings=("_annotations", "_xml")) or sides_in_one_folder(tree, _is_xml)


def _recognise(tree: Tree) -> Match | None:
    sides = _sides(tree)
    found = [path for side in sides for _, path in side.marks[:_SNIFFED]]
    if not any(_readable(path) for path in found[: 4 * _SNIFFED]):
        return None
    images = sum(len(side.images) for side in sides)
    paired = sum(pair(side.images, side.marks).paired for side in sides)
    if not paired:
        return None
    return Match(90, f"{paired} of {images} images have a Pascal VOC file of their name in {shown(sides[0].where)}")


def _readable(path: str) -> bool:
    try:
        read_voc(path)
    except DataError:
        return False
    return True


def _read(tree: Tree) -> Contents:
    sides = _sides(tree)
    if not sides:
        return not_there(tree, "Pascal VOC files beside the images, such as images and annotations")
    samples, problems = read_annotated(sides, "Pascal VOC file", _sample, _KINDS)
    classes, classes_from = find_class_names(tree, about="detect|object")
    used = frozenset((classes_from, *marks_of(sides)))
    return Contents(with_sources(samples), classes, classes_from, tuple(problems), used)


def _sample(image: str, path: str, failed: Failed) -> Sample:
    voc = read_voc(path)
    if voc.bad:
        failed.append(("row-unreadable", path))
    said = stem_of(voc.filename.replace("\\", "/").rpartition("/")[2])
    if said and said != stem_of(image.rpartition("/")[2]):
        failed.append(("other-name", path))
    return Sample(image, boxes=tuple(voc.boxes), stated_size=_stated(voc.size))


def _stated(size: dict[str, str]) -> tuple[int, int] | None:
    try:
        height, width = int(float(size["height"])), int(float(size["width"]))
    except (KeyError, ValueError, OverflowError):
        return None
    return height, width


LAYOUT = Layout("voc-boxes", _recognise, _read)
"""Detection, Pascal VOC."""
