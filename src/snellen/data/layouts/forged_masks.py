"""Forgery data: forged images, a mask for each that shows what was altered, and images known to be untouched."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from snellen.core.facts.data import ListingProblem, Sample
from snellen.data.layouts.base import Contents, Layout, Match, not_there
from snellen.data.layouts.pairing import Named, pair
from snellen.data.layouts.problems import shown
from snellen.data.layouts.tree import Tree, stem_of, suffix_of, walk_tree
from snellen.data.listing import name_some, nearest_folder
from snellen.data.splitting import scene_of
from snellen.errors import DataError

__all__ = ["LAYOUT", "discover"]

_FORGED = ("forged", "tampered", "forgeries", "fake", "manipulated", "train_images/forged")
_MASKS = ("masks", "mask", "groundtruth", "ground_truth", "gt", "masks_forged", "masks_derived", "train_masks")
_AUTHENTIC = ("authentic", "original", "originals", "pristine", "real", "train_images/authentic")


def discover(root: str | Path) -> Contents:
    """Find out what a folder of forgery data holds.

    Names of folders may be in any case, and files are paired by stem, whatever their suffix (`forged/7.jpg` and
    `masks/7.png`, `7_mask.png` or `7.npy`):

        root/{forged|tampered|...}  root/{masks|groundtruth|gt|...}  root/{authentic|original|...}
        root/*.png                  a flat folder, about which nothing else is known

    Args:
        root: The folder.

    Raises:
        DataError: It does not exist (slug `missing-file`) or holds no image (slug `empty-dataset`); the hint is the
            nearest folder that does.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("forged/a.jpg", "forged/b.jpg", "masks/a.png", "authentic/c.jpg"):
        ...     (root / name).parent.mkdir(exist_ok=True)
        ...     (root / name).touch()
        >>> folder = discover(root)
        >>> [sample.role for sample in folder.samples], folder.problems[0].message
        (['forged', 'forged', 'authentic'], '1 of 2 forged images has no mask in masks: b.jpg')
    """
    tree = walk_tree(root)
    contents = _read(tree)
    if not contents.samples:
        raise _nothing(tree)
    return contents


def _places(tree: Tree) -> tuple[str | None, str | None, str | None]:
    forged, masks, authentic = (_subfolder(tree, names) for names in (_FORGED, _MASKS, _AUTHENTIC))
    return forged, masks, authentic


def _subfolder(tree: Tree, names: Sequence[str]) -> str | None:
    for name in names:
        place: str | None = ""
        for part in name.split("/"):
            place = tree.folders[place].child((part,)) if place is not None else None
        if place is not None:
            return place
    return None


def _recognise(tree: Tree) -> Match | None:
    forged, masks, authentic = _places(tree)
    if forged is None or (masks is None and authentic is None):
        return None
    names = [tree.folders[place].name for place in (forged, masks, authentic) if place is not None]
    # Without masks the folders may as well be two classes.
    return Match(95 if masks is not None else 65, f"the folders {', '.join(map(shown, names))}")


def _read(tree: Tree) -> Contents:
    forged, masks, authentic = _places(tree)
    if forged is None and authentic is None:
        flat = [Sample(tree.path("", name)) for name in tree.top.images]
        return Contents(flat) if flat else not_there(tree, f"folder {_FORGED[0]} or {_AUTHENTIC[0]}")
    images = _files(tree, forged)
    untouched = _files(tree, authentic)
    marked = _files(tree, masks, arrays=True)
    where = shown(tree.folders[masks].name) if masks is not None else "masks"
    pairs = pair(_named(images), _named(marked), image="forged image", where=where)
    samples = [_sample(path, "forged", found[:1]) for path, found in pairs.found]
    problems = (*_empty(tree, forged, images), *_empty(tree, authentic, untouched), *pairs.problems)
    return Contents([*samples, *(_sample(path, "authentic") for path in untouched)], problems=problems)


def _sample(path: str, role: str, masks: tuple[str, ...] = ()) -> Sample:
    # A bare number names no scene: every set counts from 1.
    scene = scene_of(path)
    return Sample(path, role, group="" if re.fullmatch(r"[\d_-]*", scene) else scene, masks=masks)


def _files(tree: Tree, rel: str | None, *, arrays: bool = False) -> list[str]:
    if rel is None:
        return []
    folder = tree.folders[rel]
    found = [tree.path(rel, name) for name in folder.images]
    return found + [tree.path(rel, name) for name in folder.files if arrays and suffix_of(name) == ".npy"]


def _named(paths: Sequence[str]) -> list[Named]:
    return [(stem_of(path.rpartition("/")[2]), path) for path in paths]


def _empty(tree: Tree, rel: str | None, found: Sequence[str]) -> tuple[ListingProblem, ...]:
    if rel is None or found or rel in tree.closed:
        return ()
    place = tree.path(rel)
    return (ListingProblem("empty-folder", f"the folder {shown(place)} holds no image", (place,), 1, 1),)


def _nothing(tree: Tree) -> DataError:
    counts = Counter(suffix_of(name) or "without suffix" for name in tree.top.files)
    passed = ", ".join(f"{count} {suffix}" for suffix, count in counts.items())
    below = [shown(name) for name in tree.top.folders]
    hint = "expected images in it, or folders forged, masks and authentic"
    if below:
        likely = next(
            filter(None, (nearest_folder(Path(tree.root), name) for name in ("forged", "authentic", "train"))), None
        )
        hint += f"; it holds the folder{'s' if len(below) > 1 else ''} {name_some(below)}"
        hint += f": did you mean {likely}?" if likely else ""
    return DataError(
        f"no image in {tree.root}" + (f" ({passed} passed over)" if passed else ""), hint=hint, slug="empty-dataset"
    )


LAYOUT = Layout("forged-masks", _recognise, _read)
"""Forgery localisation."""
