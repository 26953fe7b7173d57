"""Paths and folders that a run file names."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FolderFacts", "PathFacts"]


@dataclass(frozen=True, slots=True)
class PathFacts:
    """A path of the run file.

    Args:
        key: Key path, such as `data.train`.
        given: As written.
        path: From the root.
        exists: Whether there is something.
        other_case: The same path as the disk spells it, when only upper and lower case differ.
        nearest: The name beside it that is spelled most like it.
        siblings: What else stands there, a few names.
        parent_exists: Whether the folder that should hold it is there.
        problem: Why it cannot be looked at: `permission denied`, or a dead mount; `""` when it can.
    """

    key: str
    given: str
    path: str
    exists: bool
    other_case: str | None = None
    nearest: str | None = None
    siblings: tuple[str, ...] = ()
    parent_exists: bool = True
    problem: str = ""


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """A data folder, or a table of images, that exists.

    Args:
        key: Key path, such as `data.train`.
        path: From the root.
        images: Number of images below it; of a table, around it.
        others: Number of other files by suffix.
        problem: Why it cannot be read, `""` when it can.
    """

    key: str
    path: str
    images: int
    others: tuple[tuple[str, int], ...] = ()
    problem: str = ""
