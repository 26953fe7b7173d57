"""Boxes of all images in one JSON file, as COCO has them."""

from __future__ import annotations

import json
import math
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from snellen.core.facts.data import Box, ListingProblem, Sample
from snellen.data.layouts.base import Contents, Layout, Match, not_there
from snellen.data.layouts.groups import with_sources
from snellen.data.layouts.problems import counted, shown
from snellen.data.layouts.splits import split_name
from snellen.data.layouts.tables import Index
from snellen.data.layouts.tree import Tree, join, suffix_of
from snellen.errors import DataError

__all__ = ["LAYOUT", "MAX_BYTES"]

MAX_BYTES: Final = 256 * 1024 * 1024
"""A larger file is refused: as Python objects it would take some 15 times its size in memory."""

_FOLDERS = ("annotations", "annotation")
_PEEKED = 64 * 1024


@dataclass(slots=True)
class _Read:
    samples: list[Sample] = field(default_factory=list)
    images: int = 0
    rows: int = 0
    missing: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    classes: dict[int, str] = field(default_factory=dict)
    failures: list[ListingProblem] = field(default_factory=list)


def _files(tree: Tree) -> list[str]:
    """JSON files that look like COCO's by their name and first bytes: in the root, in `annotations`, or beside them."""
    places = ["", *(join("", name) for name in tree.top.folders if name.casefold() in _FOLDERS)]
    found = [tree.path(rel, name) for rel in places for name in tree.folders[rel].files if suffix_of(name) == ".json"]
    if tree.only:
        return [path for path in found if path == tree.path("", tree.only)]
    if not found:
        parent, _, name = os.path.abspath(tree.root).rpartition("/")  # noqa: PTH100 - plain text as the tree's paths
        split = split_name(name)
        for folder in (parent, *(f"{parent}/{word}" for word in _FOLDERS)):
            found += [
                f"{folder}/{other}"
                for other in _names_in(folder)
                if suffix_of(other) == ".json" and (name in other or (split is not None and split in other.casefold()))
            ]
    return [path for path in found if _looks_right(path)]


def _names_in(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - as above
    except OSError:
        return []


def _looks_right(path: str) -> bool:
    name = path.rpartition("/")[2].casefold()
    try:
        with Path(path).open("rb") as file:
            start = file.read(_PEEKED)
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _PEEKED))
            text = start + file.read()
    except OSError:
        return False
    if not start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return False
    keys = sum(key in text for key in (b'"images"', b'"annotations"', b'"categories"'))
    return keys >= 2 or (keys >= 1 and ("coco" in name or name.startswith("instances")))


def _recognise(tree: Tree) -> Match | None:
    files = _files(tree)
    if not files or not tree.holds_images(""):
        return None
    names = ", ".join(shown(path.rpartition("/")[2]) for path in files[:3])
    return Match(89, f"{names} lists images, boxes and classes as COCO does")


def _read(tree: Tree) -> Contents:
    files = _files(tree)
    if not files:
        return not_there(tree, "JSON file with images, annotations and categories, as COCO has them")
    read = _Read()
    index = Index(tree)
    for path in files:
        try:
            _collect(path, _load(path), index, read)
        except DataError as error:
            read.failures.append(ListingProblem("annotation-unreadable", error.message, (path,), 1, len(files)))
    listed = {sample.image for sample in read.samples}
    unlisted = [path for path in (tree.path(folder.rel, name) for folder, name in tree.images()) if path not in listed]
    problems = (
        *read.failures,
        *counted("missing-file", read.missing, read.images, "images that the JSON file lists {is} not there"),
        *counted("row-unreadable", read.bad, read.rows, "entries of the JSON file {is} no image or no box"),
        *counted("annotation-without-image", read.orphans, read.rows, "boxes {leads} to an image that is not listed"),
        *counted(
            "image-without-annotation", unlisted, len(listed) + len(unlisted), "images {is} not listed in the JSON file"
        ),
    )
    samples = [*read.samples, *(Sample(path, boxes=None) for path in unlisted)]
    names = tuple(read.classes[number] for number in sorted(read.classes))
    return Contents(with_sources(samples), names, files[0] if names else "", problems, frozenset(files))


def _load(path: str) -> Mapping[str, Any]:
    name = shown(path.rpartition("/")[2])
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise DataError(f"{name} is larger than {MAX_BYTES // 1024**2} MiB and was not read")
        data = json.loads(raw)
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is no readable JSON: {error}") from error
    if not isinstance(data, Mapping) or not isinstance(data.get("images"), list):
        raise DataError(f"{name} holds no list of images")
    return data


def _collect(path: str, data: Mapping[str, Any], index: Index, read: _Read) -> None:
    own: dict[int, str] = {}
    for entry in _entries(data.get("categories")):
        if isinstance(entry.get("id"), int) and isinstance(entry.get("name"), str):
            own[entry["id"]] = entry["name"]
    read.classes.update(own)
    boxes: defaultdict[object, list[Box]] = defaultdict(list)
    annotations = _entries(data.get("annotations"))
    read.rows += len(annotations) + len(data["images"])
    for number, entry in enumerate(annotations, start=1):
        box = _box(entry, own, path, number)
        image = entry.get("image_id")
        if box is None or not isinstance(image, (int, str)):
            read.bad.append(f"annotation {number}")
        else:
            boxes[image].append(box)
    for number, entry in enumerate(data["images"], start=1):
        said, known = (entry.get("file_name"), entry.get("id")) if isinstance(entry, Mapping) else (None, None)
        if not isinstance(said, str) or not isinstance(known, (int, str)):
            read.bad.append(f"image {number}")
            continue
        read.images += 1
        found = boxes.pop(known, [])
        image = index.find(said)
        if image is None:
            read.missing.append(said)
        else:
            read.samples.append(Sample(image, boxes=tuple(found), stated_size=_size(entry)))
    read.orphans += [f"image_id {image}" for image, found in boxes.items() for _ in found]


def _entries(value: object) -> list[Mapping[str, Any]]:
    return [entry if isinstance(entry, Mapping) else {} for entry in value] if isinstance(value, list) else []


def _box(entry: Mapping[str, Any], names: Mapping[int, str], path: str, number: int) -> Box | None:
    values, category = entry.get("bbox"), entry.get("category_id")
    if not isinstance(values, list) or len(values) != 4 or not isinstance(category, int):
        return None
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in values):
        return None
    x, y, width, height = map(float, values)
    return Box(names.get(category, str(category)), (x, y, width, height), "xywh", path, number)


def _size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = entry.get("height"), entry.get("width")
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


LAYOUT = Layout("coco-json", _recognise, _read)
"""Detection and instance segmentation, COCO."""
