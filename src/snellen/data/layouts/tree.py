"""One walk through a data folder, shared by all layouts: names only, bounded, whatever the disk does meanwhile."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from snellen.core.facts.data import ListingProblem
from snellen.data.layouts.problems import counted, shown
from snellen.data.listing import IMAGE_SUFFIXES, junk_reason, missing_path, natural_key
from snellen.errors import DataError

__all__ = ["MAX_DEPTH", "MAX_ENTRIES", "Folder", "Tree", "join", "stem_of", "suffix_of", "walk_tree"]

MAX_ENTRIES: Final = 2_000_000
"""Files and folders that are listed; the rest is said to be left out."""
MAX_DEPTH: Final = 40
"""Folders within folders that are followed."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The names in one folder, each kind in natural order.

    Args:
        rel: Its path from the root of the tree with `/` between, `""` for the root itself.
        folders: Folders in it that are part of the tree.
        images: Files with the suffix of an image.
        files: All other files.
    """

    rel: str
    folders: tuple[str, ...]
    images: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.rel.rpartition("/")[2]

    def child(self, names: Iterable[str]) -> str | None:
        """The path from the root of the first folder in it that has one of these names, in any case."""
        folded: dict[str, str] = {}
        for name in self.folders:
            folded.setdefault(name.casefold(), name)
        for name in names:
            found = name if name in self.folders else folded.get(name.casefold())
            if found is not None:
                return join(self.rel, found)
        return None


@dataclass(frozen=True, slots=True)
class Tree:
    """A data folder as it was found.

    Args:
        root: The folder.
        folders: Every folder by its path from the root.
        suffixes: Number of files by suffix, images included, hidden ones apart.
        problems: What could not be listed.
        only: Name of the one table or annotation file that was asked for, `""` when the whole folder was.
        closed: Folders that may not be read: nobody knows what they hold.
    """

    root: str
    folders: dict[str, Folder]
    suffixes: Counter[str]
    problems: tuple[ListingProblem, ...] = ()
    only: str = ""
    closed: frozenset[str] = frozenset()

    @property
    def top(self) -> Folder:
        """The root."""
        return self.folders[""]

    @property
    def name(self) -> str:
        """Name of the root folder, for messages."""
        return shown(os.path.basename(os.path.abspath(self.root)))  # noqa: PTH100, PTH119 - see `path`

    def path(self, rel: str, name: str = "") -> str:
        """The path of a file or folder, below the root as it was given."""
        # Plain text instead of `Path`: a million of these are made.
        folder = f"{self.root.rstrip('/')}/{rel}" if rel else self.root.rstrip("/")
        return f"{folder}/{name}" if name else folder or "/"

    def walk(self, rel: str = "") -> Iterator[Folder]:
        """A folder and all below it, in natural order."""
        waiting = [rel]
        while waiting:
            folder = self.folders[waiting.pop()]
            yield folder
            waiting.extend(join(folder.rel, name) for name in reversed(folder.folders))

    def images(self, rel: str = "") -> Iterator[tuple[Folder, str]]:
        """Every image below a folder, with the folder it lies in."""
        return ((folder, name) for folder in self.walk(rel) for name in folder.images)

    def holds_images(self, rel: str) -> bool:
        """Whether there is any image below a folder."""
        return next(self.images(rel), None) is not None

    def is_empty(self, rel: str) -> bool:
        """Whether there is no image below a folder, and nothing that may not be read."""
        return not self.holds_images(rel) and not any(folder.rel in self.closed for folder in self.walk(rel))


@dataclass(slots=True)
class _Walk:
    root: str
    folders: dict[str, tuple[list[str], list[str], list[str]]] = field(default_factory=dict)
    visited: set[tuple[int, int]] = field(default_factory=set)
    links: list[tuple[str, str]] = field(default_factory=list)
    suffixes: Counter[str] = field(default_factory=Counter)
    entries: int = 0
    closed: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    circular: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)


def join(rel: str, name: str) -> str:
    """Path of a name below a folder of the tree."""
    return f"{rel}/{name}" if rel else name


def suffix_of(name: str) -> str:
    """The suffix in lower case, with its dot; `""` without one.

    Example:
        >>> suffix_of("a.b.PNG"), suffix_of("notes")
        ('.png', '')
    """
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if dot and stem else ""


def stem_of(name: str) -> str:
    """The name without its last suffix."""
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name


def walk_tree(root: str | Path, *, only: str = "", max_entries: int = MAX_ENTRIES) -> Tree:
    """List a folder and everything below it.

    Nothing is opened. Links to folders are followed after everything else, unless they lead to a folder that is part of
    the tree already. Hidden files and what systems leave behind (`Thumbs.db`, `__MACOSX`) are passed over. What may not
    be read, has vanished or leads nowhere becomes a problem of the tree.

    Args:
        root: The folder.
        only: Passed on to the tree.
        max_entries: Files and folders at most.

    Raises:
        DataError: It does not exist (slug `missing-file`), is a file, or may not be read.
    """
    place = Path(root)
    try:
        if not place.is_dir():
            raise DataError(f"{root} is a file, expected a folder") if place.exists() else missing_path(place)
        with os.scandir(place):
            pass
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise DataError(f"the folder {shown(str(root))} cannot be read: {reason}", slug="missing-file") from error
    walk = _Walk(str(root))
    _follow(walk, "", max_entries)
    while walk.links:
        rel, name = walk.links.pop(0)
        inside = join(rel, name)
        if _remember(walk, inside):
            walk.folders[rel][0].append(name)
            _follow(walk, inside, max_entries)
        else:
            walk.circular.append(inside)
    folders = {
        rel: Folder(rel, *(tuple(sorted(names, key=natural_key)) for names in kinds))
        for rel, kinds in walk.folders.items()
    }
    return Tree(str(root), folders, walk.suffixes, _problems(walk, max_entries), only, frozenset(walk.closed))


def _follow(walk: _Walk, rel: str, max_entries: int) -> None:
    if not rel:
        _remember(walk, rel)
    waiting = [rel]
    while waiting:
        current = waiting.pop()
        walk.folders[current] = ([], [], [])
        if current.count("/") >= MAX_DEPTH or walk.entries >= max_entries:
            walk.unlisted.append(current)
            continue
        try:
            with os.scandir(_place(walk, current)) as entries:
                for entry in entries:
                    walk.entries += 1
                    if walk.entries > max_entries:
                        walk.unlisted.append(current)
                        break
                    if _sort_in(walk, current, entry):
                        waiting.append(join(current, entry.name))
        except OSError as error:
            walk.closed.append(current)
            walk.reasons[error.strerror or str(error)] += 1


def _sort_in(walk: _Walk, rel: str, entry: os.DirEntry[str]) -> bool:
    """Note one entry; whether it is a folder to go into."""
    name = entry.name
    if junk_reason(name) is not None:
        return False
    folders, images, files = walk.folders[rel]
    try:
        if entry.is_symlink() and entry.is_dir():
            walk.links.append((rel, name))
        elif entry.is_dir():
            if _remember(walk, join(rel, name)):
                folders.append(name)
                return True
            walk.circular.append(join(rel, name))
        elif entry.is_file():
            suffix = suffix_of(name)
            walk.suffixes[suffix or "no suffix"] += 1
            (images if suffix in IMAGE_SUFFIXES else files).append(name)
        elif entry.is_symlink() and not _leads_somewhere(entry):
            walk.broken.append(join(rel, name))
        else:
            walk.suffixes["no plain file"] += 1
            if suffix_of(name) in IMAGE_SUFFIXES:
                walk.special.append(join(rel, name))
    except OSError:
        walk.broken.append(join(rel, name))
    return False


def _leads_somewhere(link: os.DirEntry[str]) -> bool:
    try:
        link.stat()
    except OSError:
        return False
    return True


def _remember(walk: _Walk, rel: str) -> bool:
    """Whether the folder is seen for the first time; by device and number, since names may lead in circles."""
    try:
        info = os.stat(_place(walk, rel))  # noqa: PTH116 - as above
    except OSError:
        return True  # reading it will say why
    known = (info.st_dev, info.st_ino)
    if known in walk.visited:
        return False
    walk.visited.add(known)
    return True


def _place(walk: _Walk, rel: str) -> str:
    return os.path.join(walk.root, rel) if rel else walk.root  # noqa: PTH118 - as above


def _problems(walk: _Walk, max_entries: int) -> tuple[ListingProblem, ...]:
    def places(found: list[str]) -> list[str]:
        return [_place(walk, rel) for rel in found]

    reasons = ", ".join(walk.reasons)
    return (
        *counted("unreadable-folder", places(walk.closed), len(walk.folders), f"folders cannot be read ({reasons})"),
        *counted("broken-link", places(walk.broken), walk.entries, "entries {leads} nowhere or {has} vanished"),
        *counted(
            "circular-link", places(walk.circular), walk.entries, "entries {leads} to a folder that is listed already"
        ),
        *counted(
            "unlisted-folder",
            places(walk.unlisted),
            len(walk.folders),
            f"folders {{is}} not listed to the end: more than {max_entries} entries, or deeper than {MAX_DEPTH}",
        ),
        *counted(
            "no-plain-file",
            places(walk.special),
            walk.entries,
            "entries {is} named like an image, and no file but a device, pipe or socket",
        ),
    )
