"""One folder per class, the folder's name being the class; classes may lie in folders of their own (alphabets)."""

from __future__ import annotations

from collections import Counter

from snellen.core.facts.data import Sample
from snellen.data.layouts.base import Contents, Layout, Match, plain_images
from snellen.data.layouts.groups import with_sources
from snellen.data.layouts.problems import counted, shown
from snellen.data.layouts.splits import split_name
from snellen.data.layouts.tables import find_table
from snellen.data.layouts.tree import Tree

__all__ = ["LAYOUT"]

_FEW_CLASSES = 8
_NEARLY_ALL = 0.95
"""Share of the images at one depth from which on the rest lies astray."""


def _recognise(tree: Tree) -> Match | None:
    depth = _class_depth(tree)
    labels = _labels(tree, depth)
    filled = [label for label, count in labels.items() if count]
    if len(labels) < 2 or not filled or len(tree.top.images) > sum(labels.values()):
        return None
    table = find_table(tree)
    if table is not None and table.labels == ():
        return None  # a list of the same files names no class: the folders are where they come from
    sure = 60 if sum(labels.values()) >= 2 * len(filled) else 45
    kind = "nested folders" if depth > 1 else "folders"
    few = ", ".join(shown(label) for label in list(labels)[:_FEW_CLASSES])
    return Match(
        sure,
        f"{len(labels)} {kind} of images, each named after a class: {few}"
        + (" ..." if len(labels) > _FEW_CLASSES else ""),
    )


def _class_depth(tree: Tree) -> int:
    """How deep the folders of classes lie: where nearly all images are, if not every class has folders of its own."""
    images: Counter[int] = Counter()
    for folder in tree.walk():
        if folder.images and _inside(folder.rel):
            images[len(_inside(folder.rel))] += len(folder.images)
    if not images:
        return 1
    depth, most = images.most_common(1)[0]
    return depth if most >= _NEARLY_ALL * images.total() else 1


def _labels(tree: Tree, depth: int) -> Counter[str]:
    """Number of images of every class, those of empty folders included."""
    labels: Counter[str] = Counter()
    for folder in tree.walk():
        label = _label(folder.rel, depth)
        if label and (folder.images or not folder.folders):
            labels[label] += len(folder.images)
    return labels


def _inside(rel: str) -> list[str]:
    parts = rel.split("/") if rel else []
    return parts[1:] if parts and split_name(parts[0]) else parts


def _label(rel: str, depth: int) -> str:
    """The class of a folder's images; `""` above the folders of classes."""
    parts = _inside(rel)
    return "/".join(parts[:depth]) if len(parts) >= depth else ""


def _read(tree: Tree) -> Contents:
    depth = _class_depth(tree)
    labels = _labels(tree, depth)
    samples, loose = [], []
    for folder, name in tree.images():
        path, label = tree.path(folder.rel, name), _label(folder.rel, depth)
        if label:
            samples.append(Sample(path, label=label))
        else:
            loose.append(path)
    empty = [
        tree.path(folder.rel)
        for folder in tree.walk()
        if not folder.folders
        and tree.is_empty(folder.rel)
        and (label := _label(folder.rel, depth) or "/".join(_inside(folder.rel)))
        and not labels[label]
    ]
    if not samples:
        return Contents(plain_images(tree))
    problems = (
        *counted("empty-folder", empty, len(labels), "class folders {is} without any image"),
        *counted("stray-file", loose, len(samples) + len(loose), "images {is} in no class folder and left out"),
    )
    return Contents(with_sources(samples), tuple(sorted(labels)), f"the folders in {tree.name}", problems)


LAYOUT = Layout("class-folders", _recognise, _read)
"""Classification, one folder per class."""
