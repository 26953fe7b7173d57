"""Finding image files in whatever a user names; what is passed over is counted, what is missing gets a hint."""

from __future__ import annotations

import difflib
import glob
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from snellen.errors import DataError

__all__ = [
    "IMAGE_SUFFIXES",
    "FoundImages",
    "find_images",
    "hash_file_list",
    "junk_reason",
    "list_folder",
    "missing_path",
    "name_some",
    "natural_key",
    "nearest_folder",
]

_SUFFIX_NAMES = "jpg jpeg jpe jfif png apng tif tiff bmp dib gif webp jp2 j2k ppm pgm pbm pnm tga ico avif pcx sgi qoi"

IMAGE_SUFFIXES = frozenset(f".{name}" for name in _SUFFIX_NAMES.split())
"""Suffixes, in lower case, by which images are found in folders; a file named by itself is taken anyway."""

_JUNK_FOLDERS = {"__macosx", "@eadir", "__pycache__"}
_JUNK_FILES = {"thumbs.db", "desktop.ini"}


@dataclass(frozen=True, slots=True)
class FoundImages:
    """The images that were found, and what was passed over.

    Args:
        files: In natural order, each once.
        skipped: Number of files passed over by reason, such as `hidden` or `.txt`.
    """

    files: tuple[Path, ...]
    skipped: dict[str, int]


def find_images(paths: str | Path | Iterable[str | Path], *, recursive: bool = False) -> FoundImages:
    """Find images in files, folders and patterns such as `photos/*.png`.

    Hidden files, `__MACOSX`, `Thumbs.db` and files of other suffixes are passed over and counted. Links that lead to a
    folder already visited are not followed again.

    Args:
        paths: One or several files, folders or patterns.
        recursive: Also look into the folders of folders.

    Raises:
        DataError: A path does not exist (slug `missing-file`), or nothing was found (slug `empty-dataset`); the
            message names what is there instead.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("photo10.png", "photo2.PNG", ".hidden.png", "notes.txt"):
        ...     (folder / name).touch()
        >>> found = find_images(folder)
        >>> [path.name for path in found.files], found.skipped
        (['photo2.PNG', 'photo10.png'], {'hidden': 1, '.txt': 1})
    """
    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    files: dict[Path, None] = {}
    skipped: Counter[str] = Counter()
    for path in given:
        for found in _expand(path, recursive=recursive, skipped=skipped):
            files.setdefault(found)
    if not files:
        raise _nothing_found(given, skipped, recursive=recursive)
    return FoundImages(tuple(files), dict(skipped))


def natural_key(path: str | Path) -> tuple[tuple[int, int | str], ...]:
    """Sorting key under which `frame2` comes before `frame10`, upper and lower case together.

    Example:
        >>> sorted(["b1", "a10", "A2"], key=natural_key)
        ['A2', 'a10', 'b1']
    """
    parts = re.split(r"(\d+)", str(path).casefold())
    return tuple((0, int(part)) if part.isascii() and part.isdigit() else (1, part) for part in parts)


def nearest_folder(root: Path, name: str) -> Path | None:
    """The folder in `root` whose name comes nearest to `name`: other case, plural, a typing error; `None` without one.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> (root / "Train").mkdir()
        >>> nearest_folder(root, "train").name
        'Train'
    """
    if not root.is_dir():
        return None
    folders = {entry.name.casefold(): entry for entry in sorted(root.iterdir()) if entry.is_dir()}
    close = difflib.get_close_matches(name.casefold(), folders, n=1, cutoff=0.6)
    return folders[close[0]] if close else None


def hash_file_list(paths: Iterable[str | Path], *, contents: bool = False, root: str | Path | None = None) -> str:
    """One hash for a list of files, so that a run can say what it was trained on.

    It changes when a file is added, removed, renamed or resized, not with the order of the list.

    Args:
        paths: The files.
        contents: Hash every byte, too; slower, but finds a file that was replaced by one of the same size.
        root: Names are taken relative to this folder, so that a moved data set keeps its hash.

    Returns:
        64 hexadecimal digits (SHA-256).

    Raises:
        DataError: A file is missing (slug `missing-file`).

    Example:
        >>> hash_file_list([])[:12]
        'e3b0c44298fc'
    """
    lines = []
    for path in map(Path, paths):
        name = path.relative_to(root) if root is not None and path.is_relative_to(root) else path
        try:
            line = f"{name.as_posix()}\0{path.stat().st_size}"
            if contents:
                with path.open("rb") as file:
                    line += "\0" + hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}", slug="missing-file") from error
        lines.append(line)
    return hashlib.sha256("".join(f"{line}\n" for line in sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()


def list_folder(
    folder: Path, *, suffixes: frozenset[str] = IMAGE_SUFFIXES, recursive: bool = False, skipped: Counter[str]
) -> list[Path]:
    """Files of a folder with one of the suffixes, in natural order.

    Args:
        folder: The folder, which exists.
        suffixes: In lower case, with the dot.
        recursive: Also look into its folders.
        skipped: Files passed over are counted here by reason.

    Raises:
        DataError: The folder may not be read.
    """
    found: list[Path] = []
    waiting, visited = [folder], {folder.resolve()}
    while waiting:
        current = waiting.pop()
        try:
            entries = list(os.scandir(current))
        except OSError as error:
            raise DataError(f"the folder {current} cannot be read: {error.strerror}", slug="missing-file") from error
        for entry in entries:
            path, reason = Path(entry.path), junk_reason(entry.name)
            if reason is not None:
                skipped[reason] += 1
            elif entry.is_dir():
                if recursive and path.resolve() not in visited:
                    visited.add(path.resolve())
                    waiting.append(path)
            elif path.suffix.lower() in suffixes:
                found.append(path)
            else:
                skipped[path.suffix.lower() or "without suffix"] += 1
    return sorted(found, key=natural_key)


def name_some(names: Iterable[object], *, limit: int = 5) -> str:
    """The first names of a list and how many more there are.

    Example:
        >>> name_some(["a", "b", "c"], limit=2)
        'a, b and 1 more'
    """
    listed = [str(name) for name in names]
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more


def junk_reason(name: str) -> str | None:
    """Why a name is passed over: what a system left behind, or `hidden`; `None` for all others."""
    if name.lower() in _JUNK_FILES | _JUNK_FOLDERS:
        return name
    return "hidden" if name.startswith(".") else None


def _expand(given: str | Path, *, recursive: bool, skipped: Counter[str]) -> list[Path]:
    path = Path(given).expanduser()
    if path.is_dir():
        return list_folder(path, recursive=recursive, skipped=skipped)
    if path.exists():
        return [path]
    if glob.has_magic(str(path)):
        # The pattern is the user's own, also as an argument that no shell has expanded.
        matches = [Path(match) for match in glob.glob(str(path), recursive=True)]  # noqa: PTH207
        files = [match for match in matches if match.is_file() and match.suffix.lower() in IMAGE_SUFFIXES]
        skipped["not an image by its suffix"] += sum(match.is_file() for match in matches) - len(files)
        return sorted(files, key=natural_key)
    raise missing_path(path)


def missing_path(path: Path) -> DataError:
    """The error for a path that does not exist, with the nearest name that does as its hint."""
    parent = path.parent
    if not parent.is_dir():
        return DataError(
            f"{path} does not exist: neither does the folder {parent}",
            hint=f"you are in {Path.cwd()}; give a path from there, or an absolute one",
            slug="missing-file",
        )
    entries = {entry.name.casefold(): entry for entry in sorted(parent.iterdir())}
    same_stem = [entry for entry in entries.values() if entry.stem.casefold() == path.stem.casefold()]
    close = difflib.get_close_matches(path.name.casefold(), entries, n=1, cutoff=0.6)
    near = entries[close[0]] if close else (same_stem[0] if same_stem else None)
    if near is None:
        hint = f"{parent} holds {name_some(sorted(entry.name for entry in entries.values()))}" if entries else None
    elif near.name.casefold() == path.name.casefold():
        hint = f"there is {near}: upper and lower case differ"
    else:
        hint = f"there is {near}"
    return DataError(f"{path} does not exist", hint=hint, slug="missing-file")


def _nothing_found(given: list[str | Path], skipped: Counter[str], *, recursive: bool) -> DataError:
    hint = "expected files such as .png, .jpg or .tif"
    if not recursive:
        deeper = sum(1 for path in given for _ in _images_below(Path(path)))
        if deeper:
            hint = f"there are images in folders below ({deeper} in the first ones): search them with --recursive"
    passed = "".join(f", {count} {reason} passed over" for reason, count in skipped.items() if count)
    return DataError(f"no image in {name_some(given)}{passed}", hint=hint, slug="empty-dataset")


def _images_below(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        for below in sorted(entry for entry in folder.iterdir() if entry.is_dir() and junk_reason(entry.name) is None)[
            :20
        ]:
            yield from list_folder(below, skipped=Counter())
