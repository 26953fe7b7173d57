"""Any number of images, from wherever they lie: folders, patterns, lists, Parquet tables, tar shards.

A source is read lazily: what is held of an image that is not being decoded is its name and its place.
"""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as tables

from snellen.data.listing import IMAGE_SUFFIXES, find_images, missing_path
from snellen.errors import DataError

__all__ = ["ImageRef", "ImageSource", "open_sources"]

_LISTS: Final = frozenset({".txt", ".lst"})
_TABLES: Final = frozenset({".parquet", ".pq"})
_IMAGE_COLUMNS: Final = ("path", "image", "file", "file_path", "filename", "file_name", "image_path", "img_path")
_ROWS: Final = 256


@dataclass(frozen=True, slots=True)
class ImageRef:
    """An image that can be read when it is needed.

    Args:
        name: Unique: a path, `shard.tar::member`, `table.parquet::7`.
        path: The file that holds it.
        offset: Where it begins in a tar shard, `None` when it is the whole file.
        length: Its bytes in a tar shard.
        content: Its bytes, when the source holds them in rows.
    """

    name: str
    path: Path
    offset: int | None = None
    length: int = 0
    content: bytes | None = None

    def read(self) -> bytes:
        """The bytes of the file.

        Raises:
            DataError: It cannot be read.
        """
        if self.content is not None:
            return self.content
        try:
            if self.offset is None:
                if not self.path.is_file():
                    raise missing_path(self.path) if not self.path.exists() else _no_file(self.path)
                return self.path.read_bytes()
            with self.path.open("rb") as file:
                file.seek(self.offset)
                content = file.read(self.length)
        except OSError as error:
            raise DataError(f"{self.name} cannot be read: {error.strerror}", slug="missing-file") from error
        if len(content) != self.length:
            raise DataError(f"{self.name} is cut short: the shard ends within it", slug="corrupt-image")
        return content


@dataclass(slots=True)
class ImageSource:
    """Images to be read one after the other.

    Args:
        given: What was named: files, folders, patterns, lists (`.txt`), tables (`.parquet`), shards (`.tar`).
        skipped: Files passed over by reason; filled while the source is read.
    """

    given: tuple[Path, ...]
    skipped: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[ImageRef]:
        seen: set[int] = set()
        for ref in self._all():
            # Eight bytes a name, so that a million images are remembered in some 60 MB.
            key = hash(ref.name)
            if key in seen:
                self.skipped["named twice"] += 1
                continue
            seen.add(key)
            yield ref

    def _all(self) -> Iterator[ImageRef]:
        for path in self.given:
            suffix = path.suffix.lower()
            if suffix in _LISTS and path.is_file():
                yield from _listed(path)
            elif suffix in _TABLES and path.is_file():
                yield from _tabled(path)
            elif path.name.lower().endswith((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")):
                raise DataError(f"{path} is compressed: its members cannot be read in place", hint=f"gunzip {path}")
            elif suffix == ".tar" and path.is_file():
                yield from _packed(path, self.skipped)
            else:
                yield from self._files(path)

    def _files(self, path: Path) -> Iterator[ImageRef]:
        found = find_images(path, recursive=True)
        self.skipped.update(found.skipped)
        shards = sorted(path.glob("*.tar")) if path.is_dir() and not found.files else []
        for shard in shards:
            yield from _packed(shard, self.skipped)
        for file in found.files:
            yield ImageRef(str(file), file)


def open_sources(given: Iterable[str | Path]) -> ImageSource:
    """A source of everything that was named.

    Args:
        given: Files, folders (searched with the folders below), patterns, `.txt` lists of paths, `.parquet` tables with
            a column of paths or of bytes, `.tar` shards.

    Raises:
        DataError: Something named does not exist.

    Example:
        >>> [ref.name for ref in open_sources([])]
        []
    """
    paths = tuple(Path(one).expanduser() for one in given)
    for path in paths:
        if not path.exists() and not any(sign in str(path) for sign in "*?["):
            raise missing_path(path)
    return ImageSource(paths)


def _no_file(path: Path) -> DataError:
    return DataError(f"{path} is no file, expected an image", slug="missing-file")


def _listed(path: Path) -> Iterator[ImageRef]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
        for line in lines:
            name = line.strip()
            if name and not name.startswith("#"):
                file = Path(name) if Path(name).is_absolute() else path.parent / name
                yield ImageRef(str(file), file)


def _packed(path: Path, skipped: Counter[str]) -> Iterator[ImageRef]:
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                # The list of members that tarfile keeps would grow with the shard.
                shard.members.clear()  # type: ignore[attr-defined]
                if not member.isfile():
                    continue
                if Path(member.name).suffix.lower() not in IMAGE_SUFFIXES:
                    skipped[Path(member.name).suffix.lower() or "without suffix"] += 1
                    continue
                yield ImageRef(f"{path}::{member.name}", path, member.offset_data, member.size)
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{path} is no readable tar file: {error}", hint="fetch the shard again") from error


def _tabled(path: Path) -> Iterator[ImageRef]:
    try:
        table = tables.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is no readable Parquet file: {error}", hint="write it anew") from error
    names = table.schema_arrow.names
    column = next((name for name in _IMAGE_COLUMNS if name in names), None)
    if column is None:
        raise DataError(
            f"{path} has the columns {', '.join(names[:8])}, expected one of {', '.join(_IMAGE_COLUMNS)}",
            hint="name the column of paths or bytes `image`",
        )
    number = 0
    for batch in table.iter_batches(batch_size=_ROWS, columns=[column]):
        for value in batch.column(0).to_pylist():
            yield _row(path, number, value)
            number += 1


def _row(path: Path, number: int, value: Any) -> ImageRef:
    """A row of a table: a path, bytes, or the `{bytes, path}` of Hugging Face data sets."""
    name = f"{path}::{number}"
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return ImageRef(name, path, content=value)
    file = Path(str(value))
    file = file if file.is_absolute() else path.parent / file
    return ImageRef(str(file), file) if value else ImageRef(name, path, content=b"")
