"""Images with a mask of the same name each: in folders side by side, or in one folder under a lengthened name."""

from __future__ import annotations

from snellen.core.facts.data import ListingProblem, Sample
from snellen.data.layouts.base import Contents, Layout, Match, not_there
from snellen.data.layouts.class_names import find_class_names
from snellen.data.layouts.groups import with_sources
from snellen.data.layouts.pairing import MARK_END, Named, pair
from snellen.data.layouts.problems import shown
from snellen.data.layouts.sides import Side, find_sides
from snellen.data.layouts.tree import Tree, join, stem_of, suffix_of
from snellen.data.listing import IMAGE_SUFFIXES

__all__ = ["LAYOUT", "MASK_FOLDERS", "is_mask"]

MASK_FOLDERS = (
    *("masks", "mask", "semantic_masks", "segmentationclass", "segmentation", "segmentations", "seg", "groundtruth"),
    *("ground_truth", "gt", "gtfine", "annotations", "annotation", "annots", "annot", "labels", "label", "labelids"),
    *("manual", "1st_manual"),
)
"""Names of folders of masks, the likeliest first."""

_ENDINGS = ("annot", "_annot", "_masks", "_mask", "masks", "-masks", "_gt", "_labels", "_seg", "_annotations")


def is_mask(name: str) -> bool:
    """Whether a file can be a mask by its name: an image, or a NumPy array; not the other outputs of Cityscapes."""
    suffix = suffix_of(name)
    return (suffix in IMAGE_SUFFIXES or suffix == ".npy") and not name.lower().endswith(
        ("_gtfine_color.png", "_gtfine_instanceids.png")
    )


def _sides(tree: Tree) -> tuple[Side, ...]:
    return find_sides(tree, MASK_FOLDERS, is_mask, endings=_ENDINGS) or _mixed(tree)


def _mixed(tree: Tree) -> tuple[Side, ...]:
    """Images and masks in one folder, `a.jpg` and `a_mask.png`."""
    found = []
    for folder in tree.walk():
        if not any(MARK_END.search(stem_of(name)) for name in (*folder.images, *folder.files)):
            continue
        stems = {stem_of(name) for name in folder.images}
        images: list[Named] = []
        masks: list[Named] = []
        for name in (*folder.images, *(name for name in folder.files if suffix_of(name) == ".npy")):
            stem = stem_of(name)
            plain = MARK_END.sub("", stem)
            is_marked = plain != stem and (plain in stems or f"{plain}_sat" in stems or f"{plain}_image" in stems)
            (masks if is_marked else images).append((join(folder.rel, stem), tree.path(folder.rel, name)))
        if masks and 2 * len(masks) >= len(images):
            found.append(Side(tuple(images), tuple(masks), "the same folder"))
    return tuple(found)


def _recognise(tree: Tree) -> Match | None:
    sides = _sides(tree)
    images = sum(len(side.images) for side in sides)
    paired = sum(pair(side.images, side.marks).paired for side in sides)
    if not paired or 3 * paired < images:
        return None
    where = ", ".join(dict.fromkeys(shown(side.where) for side in sides[:4]))
    return Match(75, f"{paired} of {images} images have a mask of their name in {where}")


def _read(tree: Tree) -> Contents:
    sides = _sides(tree)
    if not sides:
        return not_there(tree, f"folder of masks beside one of images, such as images and {MASK_FOLDERS[0]}")
    samples: list[Sample] = []
    problems: list[ListingProblem] = []
    for side in sides:
        pairs = pair(side.images, side.marks, where=shown(side.where))
        samples += [Sample(image, masks=masks) for image, masks in pairs.found]
        problems += pairs.problems
    classes, classes_from = find_class_names(tree, about=r"semantic|^_segm")
    return Contents(with_sources(samples), classes, classes_from, tuple(problems), frozenset((classes_from,)))


LAYOUT = Layout("image-masks", _recognise, _read)
"""Semantic segmentation, one mask for an image."""
