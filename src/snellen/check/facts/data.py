"""The data folders: how many images, which of them cannot be decoded. Each folder is read once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from snellen.core.facts import FolderFacts, ImagesFacts, PathFacts
from snellen.core.file_kinds import is_image
from snellen.core.plan import Plan
from snellen.errors import SnellenError

__all__ = ["SAMPLE", "image_files", "provide_folders", "provide_images"]

SAMPLE: Final = 200
"""Images of a folder that are decoded; all of them in a folder of at most this many."""

_MAX_FILES = 2_000_000


def provide_folders(plan: Plan) -> tuple[FolderFacts, ...]:
    """The fact `folders`: every data folder that exists."""
    paths: Sequence[PathFacts] = plan.fact("paths")
    return tuple(
        _read_folder(path.key, Path(path.path)) for path in paths if path.key.startswith("data.") and path.exists
    )


def provide_images(plan: Plan) -> tuple[ImagesFacts, ...]:
    """The fact `images`: the images of every data folder, decoded, an even sample of the large ones."""
    from snellen.data.reading import read_image  # noqa: PLC0415 - numpy and Pillow only when images are looked at

    def decode(path: Path) -> tuple[int, int]:
        height, width = read_image(path).pixels.shape[:2]
        return height, width

    folders: Sequence[FolderFacts] = plan.fact("folders")
    return tuple(_look_at_images(folder, decode) for folder in folders if folder.images)


def image_files(folder: Path) -> list[Path]:
    """All images below a folder (or the one file), sorted; hidden files and folders are left out."""
    if folder.is_file():
        return [folder] if is_image(folder.name) else []
    return sorted(path for path in _walk(folder) if is_image(path.name))


def _read_folder(key: str, folder: Path) -> FolderFacts:
    if folder.is_file():
        return FolderFacts(key, str(folder), int(is_image(folder.name)))
    if not os.access(folder, os.R_OK | os.X_OK):
        return FolderFacts(key, str(folder), 0, problem="permission denied")
    images = 0
    others: Counter[str] = Counter()
    for path in _walk(folder):
        if is_image(path.name):
            images += 1
        else:
            others[path.suffix.lower() or "no suffix"] += 1
    return FolderFacts(key, str(folder), images, tuple(others.most_common(8)))


def _walk(folder: Path) -> Iterator[Path]:
    def below() -> Iterator[Path]:
        for place, folders, files in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
            yield from (Path(place, name) for name in files if not name.startswith("."))

    return islice(below(), _MAX_FILES)


def _look_at_images(folder: FolderFacts, decode: Callable[[Path], tuple[int, int]]) -> ImagesFacts:
    files = image_files(Path(folder.path))
    step = max(1, len(files) / SAMPLE)
    sample = [files[int(index * step)] for index in range(min(len(files), SAMPLE))]
    sizes: list[tuple[int, int]] = []
    unreadable: list[tuple[str, str]] = []
    for path in sample:
        try:
            sizes.append(decode(path))
        except SnellenError as error:
            unreadable.append((str(path), error.message))
        except (OSError, ValueError, MemoryError) as error:
            unreadable.append((str(path), f"{type(error).__name__}: {error}"))
    smallest = (min(h for h, _ in sizes), min(w for _, w in sizes)) if sizes else None
    largest = (max(h for h, _ in sizes), max(w for _, w in sizes)) if sizes else None
    return ImagesFacts(folder.key, len(files), len(sample), tuple(unreadable), smallest, largest)
