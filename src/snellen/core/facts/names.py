"""Names of files in a data folder that make trouble whatever the files hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["BadName", "FolderNames", "NameTrouble"]

NameTrouble = Literal[
    "looks-like-image",
    "left-behind",
    "unfinished-download",
    "packed",
    "unportable",
    "too-long",
    "not-ascii",
    "same-but-case",
]
"""What is wrong with a name: it belongs to no data, or it does not survive the way to another machine."""


@dataclass(frozen=True, slots=True)
class BadName:
    """One file or folder.

    Args:
        path: Where it lies.
        trouble: What is wrong with its name.
        why: In words.
    """

    path: str
    trouble: NameTrouble
    why: str


@dataclass(frozen=True, slots=True)
class FolderNames:
    """The names in a data folder, hidden ones included.

    Args:
        key: Key path of the folder, such as `data.train`.
        path: From the root.
        entries: How many files and folders were listed.
        found: The first names that make trouble.
        counts: How many there are of each kind, those that `found` leaves out included.
    """

    key: str
    path: str
    entries: int
    found: tuple[BadName, ...] = ()
    counts: tuple[tuple[NameTrouble, int], ...] = ()

    def count(self, *troubles: NameTrouble) -> int:
        """How many names have one of these troubles.

        Example:
            >>> FolderNames("data.train", "train", 9, counts=(("packed", 2),)).count("packed", "too-long")
            2
        """
        return sum(count for trouble, count in self.counts if trouble in troubles)
