"""Images in folders about which nothing else is known."""

from __future__ import annotations

from snellen.data.layouts.base import Contents, Layout, Match, plain_images
from snellen.data.layouts.groups import with_sources
from snellen.data.layouts.tree import Tree

__all__ = ["LAYOUT"]


def _recognise(tree: Tree) -> Match | None:
    folders = sum(bool(folder.images) for folder in tree.walk())
    if not folders:
        return Match(1, "it holds no image")
    return Match(1, f"images in {folders} folder{'s' if folders > 1 else ''}, nothing that tells more about them")


def _read(tree: Tree) -> Contents:
    return Contents(with_sources(plain_images(tree)))


LAYOUT = Layout("images", _recognise, _read)
"""Images, flat or nested."""
