"""Any number of images, from wherever they lie: folders, patterns, lists, Parquet tables, tar shards.

A source is read lazily: what is held of an image that is not being decoded is its name and its place. What is wrong
with a source as a whole is said when it is opened, not after hours.
"""

from __future__ import annotations

import glob
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as tables

from snellen.data.listing import IMAGE_SUFFIXES, find_images, junk_reason, list_folder, missing_path, natural_key
from snellen.data.name_set import NameSet
from snellen.errors import DataError

__all__ = ["ImageRef", "ImageSource", "image_ref", "open_sources"]

_LISTS: Final = frozenset({".txt", ".lst"})
_TABLES: Final = frozenset({".parquet", ".pq"})
_SHARDS: Final = frozenset({".tar"})
_PACKED: Final = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_IMAGE_COLUMNS: Final = ("path", "image", "file", "file_path", "filename", "file_name", "image_path", "img_path")
_ROWS: Final = 16
"""Rows of a table that are held at once: they may be whole photographs."""
_COUNTED: Final = 4 * 2**30
"""Shards are counted beforehand up to this size: their headers have to be read one by one."""
_NAMED: Final = 10


@dataclass(frozen=True, slots=True)
class ImageRef:
    r"""An image that can be read when it is needed.

    Args:
        name: Unique: a path, `shard.tar::member`, `table.parquet::7`. Bytes of a path that are no text are written
            as `\xNN`.
        path: The file that holds it.
        offset: Where it begins in a tar shard, `None` when it is the whole file.
        length: Its bytes in a tar shard.
        content: Its bytes, when the source holds them in rows.
        problem: Why it cannot be read, where that is known already.
    """

    name: str
    path: Path
    offset: int | None = None
    length: int = 0
    content: bytes | None = None
    problem: str = ""

    def read(self) -> bytes:
        """The bytes of the file.

        Raises:
            DataError: It cannot be read.
        """
        if self.problem:
            raise DataError(self.problem, slug="corrupt-image")
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
        except FileNotFoundError as error:
            raise DataError(f"{self.name} does not exist any more", slug="missing-file") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"{self.name} cannot be read: {reason}", slug="missing-file") from error
        if len(content) != self.length:
            raise DataError(f"{self.name} is cut short: the shard ends within it", slug="corrupt-image")
        return content


def image_ref(path: str | Path) -> ImageRef:
    """An image that is a file of its own.

    Example:
        >>> image_ref("photos/a.jpg").name
        'photos/a.jpg'
    """
    return ImageRef(_text(path), Path(path))


@dataclass(slots=True)
class ImageSource:
    """Images to be read one after the other.

    Args:
        given: What was named: files, folders, lists (`.txt`), tables (`.parquet`), shards (`.tar`).
        listed: The images of each folder, and what was passed over in it.
        skipped: Files passed over by reason; filled while the source is read.
    """

    given: tuple[Path, ...]
    listed: Mapping[Path, tuple[tuple[str, ...], Mapping[str, int]]] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[ImageRef]:
        self.skipped.clear()
        seen = NameSet()
        for path in self.given:
            for ref in self._of(path, self.skipped):
                if seen.add(ref.name):
                    yield ref
                else:
                    self.skipped["named twice"] += 1

    def count(self) -> int | None:
        """How many images are named, readable or not; `None` where a large shard would have to be read for it."""
        total = 0
        for path in self.given:
            kind = _kind(path)
            if kind is _packed and path.stat().st_size > _COUNTED:
                return None
            if path in self.listed:
                total += len(self.listed[path][0])
            else:
                total += _rows(path) if kind is _tabled else sum(1 for _ in kind(path, Counter()))
        return total

    def first(self, path: Path) -> ImageRef | None:
        """The first image of one of the sources, if it has any."""
        return next(self._of(path, Counter()), None)

    def _of(self, path: Path, skipped: Counter[str]) -> Iterator[ImageRef]:
        if path not in self.listed:
            yield from _kind(path)(path, skipped)
            return
        files, passed_over = self.listed[path]
        skipped.update(passed_over)
        yield from map(image_ref, files)


def open_sources(given: Iterable[str | Path]) -> ImageSource:
    """A source of everything that was named.

    Args:
        given: Files, folders (searched with the folders below; shards and tables are taken from a folder without
            images), patterns, `.txt` lists of paths, `.parquet` tables with a column of paths or of bytes, `.tar`
            shards.

    Raises:
        DataError: Something named does not exist, holds no image, or cannot be read at all.

    Example:
        >>> [ref.name for ref in open_sources([])]
        []
    """
    listed: dict[Path, tuple[tuple[str, ...], Mapping[str, int]]] = {}
    paths: list[Path] = []
    wrong: list[DataError] = []
    for one in given:
        try:
            paths += _expanded(Path(one).expanduser(), listed)
        except DataError as error:
            wrong.append(error)
    source = ImageSource(tuple(paths), listed)
    for path in paths:
        try:
            _refuse_unusable(source, path)
        except DataError as error:
            wrong.append(error)
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        named = "; ".join(error.message for error in wrong[:_NAMED])
        more = f"; and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise DataError(
            f"{len(wrong)} of the sources cannot be read: {named}{more}", hint="mend these, or leave them out"
        )
    return source


def _refuse_unusable(source: ImageSource, path: Path) -> None:
    if path.name.lower().endswith(_PACKED):
        raise DataError(f"{path} is compressed: its members cannot be read in place", hint="unpack it first")
    first = source.first(path)
    if first is None:
        hint = "expected files such as .png, .jpg or .tif"
        raise DataError(f"{path} names no image", hint=hint, slug="empty-dataset")
    if first.problem and first.name.endswith("::"):
        raise DataError(first.problem, hint="fetch it again, or leave it out")


def _expanded(path: Path, listed: dict[Path, tuple[tuple[str, ...], Mapping[str, int]]]) -> list[Path]:
    """What a pattern stands for; the shards or tables of a folder that has no images of its own."""
    if path.is_dir():
        passed_over: Counter[str] = Counter()
        shards = list_folder(path, suffixes=_SHARDS | _TABLES, recursive=True, skipped=passed_over)
        if shards and passed_over.keys().isdisjoint(IMAGE_SUFFIXES):
            return shards
        found = find_images(path, recursive=True)
        # As text, which takes a third of what paths take.
        listed[path] = (tuple(map(str, found.files)), found.skipped)
        return [path]
    if path.exists():
        return [path]
    if glob.has_magic(str(path)):
        # The pattern is the user's own, also as an argument that no shell has expanded.
        found_by = [Path(match) for match in glob.glob(str(path), recursive=True)]  # noqa: PTH207
        known = IMAGE_SUFFIXES | _LISTS | _TABLES | _SHARDS
        taken = sorted((one for one in found_by if one.is_dir() or one.suffix.lower() in known), key=natural_key)
        if not taken:
            raise DataError(
                f"no image, list, table or shard matches {path}",
                hint=f"{Path.cwd()} is where the pattern is searched from",
                slug="empty-dataset",
            )
        return [deeper for one in taken for deeper in _expanded(one, listed)]
    raise missing_path(path)


def _kind(path: Path) -> Callable[[Path, Counter[str]], Iterator[ImageRef]]:
    suffix = path.suffix.lower()
    return _listed if suffix in _LISTS else _tabled if suffix in _TABLES else _packed if suffix in _SHARDS else _single


def _single(path: Path, _skipped: Counter[str]) -> Iterator[ImageRef]:
    yield image_ref(path)


def _no_file(path: Path) -> DataError:
    return DataError(f"{path} is no file, expected an image", slug="missing-file")


def _text(path: str | Path) -> str:
    """A path as text that can be stored: file names may hold bytes that are none."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _listed(path: Path, _skipped: Counter[str]) -> Iterator[ImageRef]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
        for line in lines:
            name = line.strip()
            if name and not name.startswith("#"):
                yield image_ref(name if Path(name).is_absolute() else path.parent / name)


def _packed(path: Path, skipped: Counter[str]) -> Iterator[ImageRef]:
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                # The list of members that tarfile keeps would grow with the shard.
                shard.members.clear()  # type: ignore[attr-defined]
                name = Path(member.name)
                reason = junk_reason(name.name)
                if member.isdir():
                    continue
                if reason is None and not member.isreg():
                    reason = "no plain file"
                if reason is None and name.suffix.lower() not in IMAGE_SUFFIXES:
                    reason = name.suffix.lower() or "without suffix"
                if reason is not None:
                    skipped[reason] += 1
                    continue
                yield ImageRef(f"{_text(path)}::{_text(member.name)}", path, member.offset_data, member.size)
    except (tarfile.TarError, OSError) as error:
        # What follows in this shard is lost; the other sources are not.
        yield ImageRef(f"{_text(path)}::", path, problem=f"{_text(path)} is no readable tar file: {error}")


def _rows(path: Path) -> int:
    try:
        return int(tables.ParquetFile(path).metadata.num_rows)
    except (OSError, pa.ArrowException):
        return 0


def _tabled(path: Path, _skipped: Counter[str]) -> Iterator[ImageRef]:
    number = 0
    try:
        with tables.ParquetFile(path) as table:
            names = table.schema_arrow.names
            column = next((name for name in _IMAGE_COLUMNS if name in names), None)
            if column is None:
                raise DataError(
                    f"{path} has the columns {', '.join(names[:8])}, expected one of {', '.join(_IMAGE_COLUMNS)}",
                    hint="name the column of paths or bytes `image`",
                )
            kind = table.schema_arrow.field(column).type
            if not _is_image(kind):
                raise DataError(
                    f"{path}: its column {column} is of {kind}, expected paths, bytes, or {{bytes, path}}",
                    hint="name the column of paths or bytes `image`",
                )
            for batch in table.iter_batches(batch_size=_ROWS, columns=[column]):
                for value in batch.column(0).to_pylist():
                    yield _row(path, number, value)
                    number += 1
    except (OSError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        yield ImageRef(f"{_text(path)}::", path, problem=f"{_text(path)} is no readable Parquet file: {reason}")


def _is_image(kind: Any) -> bool:
    """Whether a column may hold paths or bytes: numbers, times and lists cannot."""
    of = pa.types
    others = (of.is_integer, of.is_floating, of.is_boolean, of.is_temporal, of.is_list, of.is_fixed_size_list)
    return not any(is_other(kind) for is_other in others)


def _row(path: Path, number: int, value: Any) -> ImageRef:
    """A row of a table: a path, bytes, or the `{bytes, path}` of Hugging Face data sets."""
    name = f"{_text(path)}::{number}"
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return ImageRef(name, path, content=value)
    if not value:
        return ImageRef(name, path, problem=f"{name} is empty")
    file = Path(str(value))
    return image_ref(file if file.is_absolute() else path.parent / file)
