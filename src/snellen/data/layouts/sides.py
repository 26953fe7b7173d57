"""Folders that belong together: images on one side, masks or annotations on the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from snellen.data.layouts.pairing import Named
from snellen.data.layouts.tree import Folder, Tree, join, stem_of, walk_tree
from snellen.errors import DataError

__all__ = ["IMAGE_FOLDERS", "Side", "find_sides", "sides_in_one_folder"]

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages", "leftimg8bit", "photos", "pictures")
"""Names of folders of images that have another folder beside them."""


@dataclass(frozen=True, slots=True)
class Side:
    """A folder of images and the folder that goes with it.

    Args:
        images: The images.
        marks: What goes with them.
        where: Name of the folder of marks.
    """

    images: tuple[Named, ...]
    marks: tuple[Named, ...]
    where: str


@dataclass(frozen=True, slots=True)
class _Wanted:
    names: tuple[str, ...]
    endings: tuple[str, ...]
    is_mark: Callable[[str], bool]


def find_sides(
    tree: Tree, names: Sequence[str], is_mark: Callable[[str], bool], *, endings: Sequence[str] = ()
) -> tuple[Side, ...]:
    """Find every pair of a folder of images and a folder of marks in a tree, or beside it.

    Known are `images/` and `masks/` in one folder, at any depth; images with a folder `masks/` among them; `train/` and
    `trainannot/`; and, when the tree itself is one of images (`data/images/train`), its counterpart outside
    (`data/labels/train`).

    Args:
        tree: The folder.
        names: Names of folders of marks, the likeliest first, in lower case.
        is_mark: Whether a file can be a mark by its name.
        endings: What the name of a folder of images is lengthened by to name that of its marks.
    """
    wanted = _Wanted(tuple(names), tuple(endings), is_mark)
    found = []
    taken: set[str] = set()
    for folder in tree.walk():
        if not any(folder.rel == rel or folder.rel.startswith(f"{rel}/") for rel in taken):
            for images, marks, deep in _below(tree, folder, wanted):
                found.append(_side(tree, images, tree, marks, wanted, deep=deep))
                taken.update((images, marks) if images else (marks,))
    if not found:
        found = [side for side in [_outside(tree, wanted)] if side is not None]
    return tuple(side for side in found if side.images and side.marks)


def sides_in_one_folder(tree: Tree, is_mark: Callable[[str], bool]) -> tuple[Side, ...]:
    """Images and what goes with them side by side; nothing when one of them is missing.

    Args:
        tree: The folder.
        is_mark: Whether a file of this name goes with images.
    """
    images: list[Named] = []
    marks: list[Named] = []
    for folder in tree.walk():
        images += [(join(folder.rel, stem_of(name)), tree.path(folder.rel, name)) for name in folder.images]
        marks += [
            (join(folder.rel, stem_of(name)), tree.path(folder.rel, name)) for name in folder.files if is_mark(name)
        ]
    return (Side(tuple(images), tuple(marks), "the same folder"),) if images and marks else ()


def _below(tree: Tree, folder: Folder, wanted: _Wanted) -> Iterator[tuple[str, str, bool]]:
    marks = [
        join(folder.rel, name)
        for wish in wanted.names
        for name in folder.folders
        if name.casefold() == wish and _has_marks(tree, join(folder.rel, name), wanted)
    ]
    images = folder.child(IMAGE_FOLDERS)
    if marks and images is not None and images != marks[0]:
        yield images, marks[0], True
    elif marks and folder.images:
        yield folder.rel, marks[0], False
    folded = {name.casefold(): name for name in folder.folders}
    for name in folder.folders:
        for ending in wanted.endings:
            other = folded.get(f"{name}{ending}".casefold())
            if other is not None and _has_marks(tree, join(folder.rel, other), wanted):
                yield join(folder.rel, name), join(folder.rel, other), True
                break


def _outside(tree: Tree, wanted: _Wanted) -> Side | None:
    if tree.only:
        return None
    for place in _counterparts(os.path.abspath(tree.root), wanted):  # noqa: PTH100 - plain text as the tree's paths
        try:
            marks = walk_tree(place)
        except DataError:
            continue
        if _has_marks(marks, "", wanted):
            return _side(tree, "", marks, "", wanted, deep=True)
    return None


def _counterparts(root: str, wanted: _Wanted) -> Iterator[str]:
    """Folders outside that may hold the marks: `x/images/train` has `x/labels/train`, `x/train` has `x/trainannot`."""
    place, rest = root, ""
    for _ in range(2):
        parent, _, name = place.rpartition("/")
        if not parent:
            return
        try:
            beside = {other.casefold(): other for other in os.listdir(parent)}  # noqa: PTH208 - as above
        except OSError:
            return
        wishes = [f"{name}{ending}".casefold() for ending in wanted.endings]
        if name.casefold() in IMAGE_FOLDERS:
            wishes += wanted.names
        yield from (f"{parent}/{beside[wish]}{rest}" for wish in wishes if wish in beside and beside[wish] != name)
        place, rest = parent, f"/{name}{rest}"


def _has_marks(tree: Tree, rel: str, wanted: _Wanted) -> bool:
    return next(_marks(tree, rel, wanted), None) is not None


def _marks(tree: Tree, rel: str, wanted: _Wanted) -> Iterator[Named]:
    for folder in tree.walk(rel):
        for name in (*folder.images, *folder.files):
            if wanted.is_mark(name):
                yield _name_below(rel, folder, name), tree.path(folder.rel, name)


def _side(tree: Tree, images: str, other: Tree, marks: str, wanted: _Wanted, *, deep: bool) -> Side:
    folders = tree.walk(images) if deep else iter([tree.folders[images]])
    found = tuple(
        (_name_below(images, folder, name), tree.path(folder.rel, name)) for folder in folders for name in folder.images
    )
    where = other.folders[marks].name or other.name
    return Side(found, tuple(_marks(other, marks, wanted)), where)


def _name_below(rel: str, folder: Folder, name: str) -> str:
    below = folder.rel[len(rel) :].lstrip("/") if rel else folder.rel
    return join(below, stem_of(name))
