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


def _recognise(tree: Tree) -> Match | None:
    labels = _labels(tree)
    filled = [label for label, count in labels.items() if count]
    if len(labels) < 2 or not filled or len(tree.top.images) > sum(labels.values()):
        return None
    table = find_table(tree)
    if table is not None and table.labels == ():
        return None  # a list of the same files names no class: the folders are where they come from
    sure = 60 if sum(labels.values()) >= 2 * len(filled) else 45
    kind = "nested folders" if any("/" in label for label in labels) else "folders"
    few = ", ".join(shown(label) for label in list(labels)[:_FEW_CLASSES])
    return Match(
        sure,
        f"{len(labels)} {kind} of images, each named after a class: {few}"
        + (" ..." if len(labels) > _FEW_CLASSES else ""),
    )


def _labels(tree: Tree) -> Counter[str]:
    """Number of images of every class, those of empty folders included."""
    depths = {_depth(folder.rel) for folder in tree.walk() if folder.images and folder.rel} - {0}
    nested = len(depths) == 1 and min(depths) > 1
    labels: Counter[str] = Counter()
    for folder in tree.walk():
        if not _depth(folder.rel):
            continue
        label = _label(folder.rel, nested=nested)
        if folder.images or not folder.folders:
            labels[label] += len(folder.images)
    return labels


def _inside(rel: str) -> list[str]:
    parts = rel.split("/") if rel else []
    return parts[1:] if parts and split_name(parts[0]) else parts


def _depth(rel: str) -> int:
    return len(_inside(rel))


def _label(rel: str, *, nested: bool) -> str:
    return "/".join(_inside(rel)) if nested else _inside(rel)[0]


def _read(tree: Tree) -> Contents:
    labels = _labels(tree)
    nested = any("/" in label for label in labels)
    samples, loose = [], []
    for folder, name in tree.images():
        path = tree.path(folder.rel, name)
        if _depth(folder.rel):
            samples.append(Sample(path, label=_label(folder.rel, nested=nested)))
        else:
            loose.append(path)
    empty = [
        tree.path(folder.rel)
        for folder in tree.walk()
        if _depth(folder.rel)
        and not folder.images
        and not folder.folders
        and not labels[_label(folder.rel, nested=nested)]
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
