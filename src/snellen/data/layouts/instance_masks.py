"""One folder for an image, with `images/` holding it and `masks/` holding a mask for every object in it."""

from __future__ import annotations

from snellen.core.facts.data import Sample
from snellen.data.layouts.base import Contents, Layout, Match, not_there
from snellen.data.layouts.problems import counted
from snellen.data.layouts.sides import IMAGE_FOLDERS
from snellen.data.layouts.tree import Folder, Tree

__all__ = ["LAYOUT"]

_MASK_FOLDERS = ("masks", "mask", "instances")


def _items(tree: Tree) -> list[tuple[Folder, str, str | None]]:
    """Folders that hold `images` with one image, their place, and that of their masks."""
    found = []
    for folder in tree.walk():
        images = folder.child(IMAGE_FOLDERS)
        if folder.rel and images is not None and len(tree.folders[images].images) <= 1:
            found.append((folder, images, folder.child(_MASK_FOLDERS)))
    return found


def _recognise(tree: Tree) -> Match | None:
    items = _items(tree)
    masked = [masks for _, _, masks in items if masks is not None]
    others = sum(len(tree.folders[masks].images) for masks in masked)
    if len(masked) < 2 or 2 * len(masked) < len(items) or others < len(masked):
        return None
    return Match(92, f"{len(items)} folders with one image in images, {others} masks in the masks folders beside them")


def _read(tree: Tree) -> Contents:
    items = _items(tree)
    if not items:
        return not_there(tree, "folders with one image in images and its masks in masks")
    samples, without_image, without_mask = [], [], []
    for folder, images, masks in items:
        names = tree.folders[images].images
        found = tuple(tree.path(masks, name) for name in tree.folders[masks].images) if masks is not None else ()
        if not names:
            without_image.append(tree.path(folder.rel))
            continue
        path = tree.path(images, names[0])
        samples.append(Sample(path, masks=found))
        if not found:
            without_mask.append(path)
    problems = (
        *counted("mask-without-image", without_image, len(items), "folders {has} no image"),
        *counted("image-without-mask", without_mask, len(samples), "images {has} no mask at all"),
    )
    return Contents(samples, problems=problems)


LAYOUT = Layout("instance-masks", _recognise, _read)
"""Instance segmentation, one mask for an object."""
