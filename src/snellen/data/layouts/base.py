"""What every layout is: a way to recognise a folder, and a way to read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from snellen.core.facts.data import LayoutName, ListingProblem, Sample
from snellen.data.layouts.tree import Tree

__all__ = ["Contents", "Layout", "Listing", "Match", "not_there", "plain_images"]


@dataclass(frozen=True, slots=True)
class Match:
    """How well a folder fits a layout.

    Args:
        sure: 0 to 100: 90 where names and contents of files say so, 50 where another reading is as good.
        why: What it was recognised by, to be put behind a colon.
    """

    sure: int
    why: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What a layout reads from a tree.

    Args:
        samples: What there is to learn from.
        classes: Names in the order of their numbers; `""` at a number that has no name.
        classes_from: What declares them.
        problems: What does not fit.
        used: Files beside those of the samples that were read, such as annotations.
    """

    samples: Sequence[Sample] = ()
    classes: tuple[str, ...] = ()
    classes_from: str = ""
    problems: tuple[ListingProblem, ...] = ()
    used: frozenset[str] = field(default=frozenset())


@dataclass(frozen=True, slots=True)
class Layout:
    """One way in which data lies in folders.

    Args:
        name: As a run file says it.
        recognise: How well a tree fits, `None` for not at all. Opens few files at most.
        read: What a tree holds, read this way; a tree that does not fit gives no samples and a problem.
    """

    name: LayoutName
    recognise: Callable[[Tree], Match | None]
    read: Callable[[Tree], Contents]


@dataclass(frozen=True, slots=True)
class Listing:
    """What a data folder holds, told from names and annotations; no image has been opened.

    Args:
        layout: Name of the layout it was read as.
        why: What that was recognised by, and what else would have fitted.
        samples: What there is to learn from.
        classes: Declared names of the classes in the order of their numbers; `""` at a number that has no name.
        classes_from: What declares them: a file, the folders, or a key path.
        problems: What does not fit.
        others: Number of files that are not used, by suffix, most frequent first.
    """

    layout: LayoutName
    why: str
    samples: Sequence[Sample] = ()
    classes: tuple[str, ...] = ()
    classes_from: str = ""
    problems: tuple[ListingProblem, ...] = ()
    others: tuple[tuple[str, int], ...] = ()


def plain_images(tree: Tree) -> list[Sample]:
    """Every image of a tree as a sample about which nothing is known."""
    return [Sample(tree.path(folder.rel, name)) for folder, name in tree.images()]


def not_there(tree: Tree, expected: str) -> Contents:
    """The contents of a tree that does not fit the layout it was asked to be read as."""
    problem = ListingProblem("missing-folder", f"{tree.name} holds no {expected}", (tree.root,), 1, 1)
    return Contents(problems=(problem,))
