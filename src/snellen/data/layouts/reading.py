"""Reading a data folder as the layout it has: recognised by what lies in it, or as a run file says."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final, Literal, get_args

from snellen.core.facts.data import LayoutName
from snellen.data.layouts import (
    class_csv,
    class_folders,
    coco_json,
    forged_masks,
    frame_pairs,
    frames,
    image_masks,
    images,
    instance_masks,
    support_query,
    voc_boxes,
    yolo_boxes,
)
from snellen.data.layouts.base import Contents, Layout, Listing, Match
from snellen.data.layouts.class_names import read_class_names
from snellen.data.layouts.problems import shown
from snellen.data.layouts.tree import Tree, suffix_of, walk_tree
from snellen.errors import DataError

__all__ = ["LAYOUTS", "read_layout", "reading_once"]

_CATALOGUE: Final = (
    class_folders.LAYOUT,
    class_csv.LAYOUT,
    image_masks.LAYOUT,
    instance_masks.LAYOUT,
    forged_masks.LAYOUT,
    voc_boxes.LAYOUT,
    yolo_boxes.LAYOUT,
    coco_json.LAYOUT,
    frame_pairs.LAYOUT,
    frames.LAYOUT,
    support_query.LAYOUT,
    images.LAYOUT,
)

LAYOUTS: Final[dict[LayoutName, Layout]] = {layout.name: layout for layout in _CATALOGUE}
"""All layouts by name."""

_ALONE = {".csv", ".tsv", ".json"}
_Read = tuple[Tree, Layout, str, Contents]
_KEPT: ContextVar[dict[tuple[str, str], _Read] | None] = ContextVar("snellen_listings", default=None)
"""What was read inside of `reading_once`, by folder and name of the layout."""

_CLOSE = 15
"""Other readings are named when they are less than this behind: then the names alone do not decide."""


def read_layout(
    folder: str | Path,
    *,
    key: str,
    name: LayoutName | Literal["auto"] = "auto",
    classes: Sequence[str] | Path = (),
) -> Listing:
    """List a data folder: what there is to learn from, the classes, and everything that does not fit.

    Names are read, and annotations; no image is opened. A folder that several layouts fit is read as the likeliest, and
    `why` names the others.

    Args:
        folder: The folder; or a table (`.csv`, `.tsv`) or COCO file (`.json`) that lists the images around it.
        key: Key path that names it, such as `data.train`, for the messages.
        name: Which layout, or `auto`.
        classes: Names of the classes in the order of their numbers, or a file that holds them; they win over what the
            folder declares.

    Raises:
        DataError: The folder does not exist (slug `missing-file`) or may not be read, no layout has this name, or the
            file of classes cannot be read.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for path in ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg", "dog/notes.md"):
        ...     (root / path).parent.mkdir(exist_ok=True)
        ...     (root / path).touch()
        >>> listing = read_layout(root, key="data.train")
        >>> listing.layout, listing.classes, len(listing.samples), listing.others
        ('class-folders', ('cat', 'dog'), 4, (('.md', 1),))
    """
    if name != "auto" and name not in LAYOUTS:
        raise DataError(f"no layout is called {name!r}", hint=f"choose one of auto, {', '.join(get_args(LayoutName))}")
    tree, layout, why, contents = _read(Path(folder), name)
    declared, declared_from = contents.classes, contents.classes_from
    if isinstance(classes, Path):
        declared, declared_from = read_class_names(classes), str(classes)
    elif classes:
        declared, declared_from = tuple(classes), f"{key.rpartition('.')[0] or key}.classes"
    problems = (*tree.problems, *contents.problems)
    return Listing(layout.name, why, contents.samples, declared, declared_from, problems, _others(tree, contents))


@contextmanager
def reading_once() -> Iterator[None]:
    """Inside, a folder is read the first time it is asked for, however many ask: it is taken to stay as it is.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> (root / "a.jpg").touch()
        >>> with reading_once():
        ...     first = read_layout(root, key="data.train")
        ...     (root / "b.jpg").touch()
        ...     again = read_layout(root, key="data.train")
        >>> [len(listing.samples) for listing in (first, again, read_layout(root, key="data.train"))]
        [1, 1, 2]
    """
    if _KEPT.get() is not None:
        yield
        return
    token = _KEPT.set({})
    try:
        yield
    finally:
        _KEPT.reset(token)


def _read(folder: Path, name: LayoutName | Literal["auto"]) -> _Read:
    kept, key = _KEPT.get(), (os.fspath(folder), name)
    if kept is not None and key in kept:
        return kept[key]
    tree = _tree_of(folder)
    if name == "auto":
        layout, why = _recognised(tree)
    else:
        match = LAYOUTS[name].recognise(tree)
        layout, why = LAYOUTS[name], f"the run file says so; {match.why}" if match else "the run file says so"
    read = tree, layout, why, layout.read(tree)
    if kept is not None:
        kept[key] = read
    return read


def _tree_of(place: Path) -> Tree:
    try:
        is_file = place.is_file()
    except (OSError, ValueError) as error:
        raise DataError(f"{shown(str(place))} cannot be read: {error}", slug="missing-file") from error
    if is_file and suffix_of(place.name) in _ALONE:
        return walk_tree(place.parent, only=place.name)
    return walk_tree(place)


def _recognised(tree: Tree) -> tuple[Layout, str]:
    # Of one file, only what such a file tells can be meant.
    candidates = (class_csv.LAYOUT, coco_json.LAYOUT) if tree.only else _CATALOGUE
    found: list[tuple[Match, Layout]] = []
    for layout in candidates:
        match = layout.recognise(tree)
        if match is not None:
            found.append((match, layout))
    if not found:
        raise DataError(
            f"{shown(tree.path('', tree.only))} is neither a table of images and classes nor a COCO file",
            hint="expected a column such as image and one such as label, or the keys images, annotations, categories",
        )
    found.sort(key=lambda one: -one[0].sure)
    best, layout = found[0]
    others = [f"{other.name} ({match.why})" for match, other in found[1:] if match.sure > best.sure - _CLOSE]
    also = f"; could also be read as {', '.join(others)}" if others else ""
    return layout, best.why + also


def _others(tree: Tree, contents: Contents) -> tuple[tuple[str, int], ...]:
    used = set(contents.used)
    for sample in contents.samples:
        used.update((sample.image, *sample.masks))
        if sample.partner is not None:
            used.add(sample.partner)
    left = Counter(tree.suffixes)
    prefix = tree.path("").rstrip("/") + "/"
    left.subtract(suffix_of(path.rpartition("/")[2]) or "no suffix" for path in used if path.startswith(prefix))
    return tuple((suffix, count) for suffix, count in left.most_common() if count > 0)
