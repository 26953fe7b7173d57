"""The data folders: how many images, which of them cannot be decoded. Each folder is read once."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from snellen.core.facts.data import ImagesFacts
from snellen.core.facts.paths import FolderFacts, PathFacts
from snellen.core.file_kinds import is_image
from snellen.core.plan import Plan
from snellen.errors import SnellenError

__all__ = ["MAX_DECODED", "MAX_DECODED_PIXELS", "MAX_HEADERS", "image_files", "provide_folders", "provide_images"]

MAX_HEADERS: Final = 5000
"""Images of a folder whose header is read."""
MAX_DECODED: Final = 200
"""Images of a folder that are decoded, as long as they are small enough."""
MAX_DECODED_PIXELS: Final = 500_000_000
"""Pixels of a folder that are decoded: about ten seconds."""

_MAX_FILES = 2_000_000


def provide_folders(plan: Plan) -> tuple[FolderFacts, ...]:
    """The fact `folders`: every data folder that exists."""
    paths: Sequence[PathFacts] = plan.fact("paths")
    return tuple(
        _read_folder(path.key, Path(path.path)) for path in paths if path.key.startswith("data.") and path.exists
    )


def provide_images(plan: Plan) -> tuple[ImagesFacts, ...]:
    """The fact `images`: the headers of all images of every data folder, and the pixels of an even sample."""
    folders: Sequence[FolderFacts] = plan.fact("folders")
    return tuple(_look_at_images(folder) for folder in folders if folder.images)


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


def _look_at_images(folder: FolderFacts) -> ImagesFacts:
    from snellen.data.reading import probe_image, read_image  # noqa: PLC0415 - numpy and Pillow only when asked for

    files = image_files(Path(folder.path))
    unreadable: list[tuple[str, str]] = []
    sizes: dict[Path, tuple[int, int]] = {}
    looked_at = _even_sample(files, MAX_HEADERS)
    for path in looked_at:
        with _noting(path, unreadable):
            sizes[path] = probe_image(path).size
    decoded, pixels = 0, 0
    for path in _even_sample(list(sizes), MAX_DECODED):
        height, width = sizes[path]
        pixels += height * width
        if pixels > MAX_DECODED_PIXELS:
            break
        with _noting(path, unreadable):
            read_image(path)
        decoded += 1
    heights, widths = [height for height, _ in sizes.values()], [width for _, width in sizes.values()]
    return ImagesFacts(
        folder.key,
        len(files),
        len(looked_at),
        decoded,
        tuple(unreadable),
        (min(heights), min(widths)) if sizes else None,
        (max(heights), max(widths)) if sizes else None,
    )


@contextlib.contextmanager
def _noting(path: Path, unreadable: list[tuple[str, str]]) -> Iterator[None]:
    try:
        yield
    except SnellenError as error:
        # The path stands beside the reason; a message that begins with it would say it twice.
        unreadable.append((str(path), error.message.removeprefix(str(path)).lstrip(": ")))
    except (OSError, ValueError, MemoryError) as error:
        unreadable.append((str(path), f"{type(error).__name__}: {error}"))


def _even_sample(files: Sequence[Path], count: int) -> list[Path]:
    step = max(1.0, len(files) / count)
    return [files[int(index * step)] for index in range(min(len(files), count))]
