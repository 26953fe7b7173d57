"""Tables of images: CSV and TSV files in any encoding, which column names the file and which the class."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from snellen.data.layouts.problems import shown
from snellen.data.layouts.tree import Tree, join, stem_of, suffix_of
from snellen.errors import DataError

__all__ = ["IMAGE_COLUMNS", "MAX_BYTES", "MAX_ROWS", "Index", "Table", "find_table", "read_text", "rows_of"]

MAX_BYTES: Final = 512 * 1024 * 1024
"""A larger table is refused."""
MAX_ROWS: Final = 2_000_000
"""Rows that are read."""

IMAGE_COLUMNS: Final = (
    *("image", "image_path", "imagepath", "image_name", "imagename", "image_file", "image_id", "imageid", "img"),
    *("img_path", "img_name", "img_id", "file", "files", "filename", "file_name", "filepath", "file_path", "path"),
    *("name", "id", "photo", "picture", "uri"),
)
"""Names of columns that name images, in the order in which they are tried."""
_LABEL_COLUMNS = (
    *("label", "labels", "class", "classes", "class_name", "classname", "class_id", "category", "category_name"),
    *("target", "y", "diagnosis", "dx", "breed", "species", "label_name", "type"),
)
_SUFFIXES = {".csv", ".tsv"}
_SNIFFED_ROWS = 50
_MAX_CANDIDATES = 20


@dataclass(frozen=True, slots=True)
class Table:
    """A table that lists images.

    Args:
        path: The file.
        encoding: That it was read in.
        delimiter: Between columns.
        header: Whether its first row names the columns.
        image: Number of the column that names the image.
        labels: Numbers of the columns that tell the class: one, several that hold 0 and 1, or none.
        names: What the columns of `labels` are called.
    """

    path: str
    encoding: str
    delimiter: str
    header: bool
    image: int
    labels: tuple[int, ...]
    names: tuple[str, ...]


class Index:
    """Images of a tree by what a table may call them: path from any folder above, name, name without suffix.

    Args:
        tree: The tree.
    """

    def __init__(self, tree: Tree) -> None:
        self._paths: dict[str, str] = {}
        self._names: dict[str, str | None] = {}
        self._folded: dict[str, str | None] = {}
        for folder, name in tree.images():
            path = tree.path(folder.rel, name)
            self._paths.setdefault(join(folder.rel, name), path)
            self._paths.setdefault(join(folder.rel, stem_of(name)), path)
            for short in (name, stem_of(name)):
                self._names[short] = None if short in self._names and self._names[short] != path else path
        for short, found in self._names.items():
            folded = short.casefold()
            self._folded[folded] = None if folded in self._folded and self._folded[folded] != found else found

    def find(self, said: str) -> str | None:
        """The image that a text names, `None` without one, or with several of that name."""
        said = said.strip().replace("\\", "/").removeprefix("./")
        while said:
            if said in self._paths:
                return self._paths[said]
            if "/" not in said:
                return self._names.get(said)
            said = said.partition("/")[2]
        return None

    def find_in_other_case(self, said: str) -> str | None:
        """The only image whose name differs from a text in upper and lower case alone."""
        return self._folded.get(said.strip().replace("\\", "/").rpartition("/")[2].casefold())


def find_table(tree: Tree) -> Table | None:
    """The table in the root of a tree, or beside it and of its name, that lists the tree's images."""
    candidates = [tree.path("", name) for name in tree.top.files if suffix_of(name) in _SUFFIXES]
    if tree.only:
        candidates = [path for path in candidates if path.endswith(f"/{tree.only}")]
    else:
        candidates += _beside(tree)
    if not candidates:
        return None
    index = Index(tree)
    tables = [table for path in candidates[:_MAX_CANDIDATES] if (table := _understand(path, index)) is not None]
    return max(tables, key=lambda table: bool(table.labels), default=None)


def rows_of(table: Table) -> Iterator[tuple[int, list[str]]]:
    """The rows behind the header with their line numbers.

    Raises:
        DataError: The file is too large, vanished, or is no table from some line on.
    """
    reader = csv.reader(io.StringIO(read_text(table.path)[0], newline=""), delimiter=table.delimiter)
    try:
        for number, row in enumerate(reader):
            if number >= MAX_ROWS:
                raise DataError(f"{shown(table.path)} has more than {MAX_ROWS} rows; the rest is left out")
            if (number or not table.header) and any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{shown(table.path)}, line {reader.line_num}: {error}") from error


def read_text(path: str, *, limit: int = MAX_BYTES) -> tuple[str, str]:
    """A text file and the encoding it was read in: UTF-8 or UTF-16 by its mark, UTF-8, else Windows' western one.

    Raises:
        DataError: It cannot be read, or is larger than `limit` bytes.
    """
    try:
        with Path(path).open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be read: {error.strerror}", slug="missing-file") from error
    if len(raw) > limit:
        raise DataError(f"{shown(path)} is larger than {limit // 1024**2} MiB")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace"), "UTF-16"
    try:
        return raw.decode("utf-8-sig"), "UTF-8"
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace"), "Windows-1252"


def _beside(tree: Tree) -> list[str]:
    root = os.path.abspath(tree.root)  # noqa: PTH100 - plain text as the tree's paths
    parent, _, name = root.rpartition("/")
    try:
        names = sorted(os.listdir(parent)) if parent else []  # noqa: PTH208 - as above
    except OSError:
        return []
    wanted = {name.casefold(), f"{name}_labels".casefold(), f"{name}labels".casefold(), "labels"}
    return [
        f"{parent}/{other}" for other in names if suffix_of(other) in _SUFFIXES and stem_of(other).casefold() in wanted
    ]


def _understand(path: str, index: Index) -> Table | None:
    try:
        text, encoding = read_text(path)
    except DataError:
        return None
    first_line = text.partition("\n")[0]
    delimiter = "\t" if suffix_of(path) == ".tsv" else max(",;\t|", key=first_line.count)
    rows = []
    try:
        for row in csv.reader(io.StringIO(text[: 1024 * 1024], newline=""), delimiter=delimiter):
            if any(cell.strip() for cell in row):
                rows.append(row)
            if len(rows) > _SNIFFED_ROWS:
                break
    except csv.Error:
        pass
    if not rows:
        return None
    header = [cell.strip().casefold().replace(" ", "_") for cell in rows[0]]
    image = next((header.index(name) for name in IMAGE_COLUMNS if name in header), None)
    named = image is not None
    if image is None:
        image = max(range(len(rows[0])), key=lambda column: _hits(rows, column, index))
        named = index.find(rows[0][image]) is None
    body = rows[1:] if named else rows
    if not body or 2 * _hits(body, image, index) < len(body):
        return None
    labels = _label_columns(header, body, image) if named else ((1 - image,) if len(rows[0]) == 2 else ())
    return Table(path, encoding, delimiter, named, image, labels, tuple(rows[0][one].strip() for one in labels))


def _label_columns(header: list[str], body: list[list[str]], image: int) -> tuple[int, ...]:
    one = next((header.index(name) for name in _LABEL_COLUMNS if name in header and header.index(name) != image), None)
    if one is not None:
        return (one,)
    others = [column for column in range(len(header)) if column != image]
    cells = [row[column].strip() for row in body for column in others if column < len(row)]
    if len(others) > 1 and set(cells) <= {"0", "1", "0.0", "1.0"}:
        return tuple(others)
    return (
        (others[0],)
        if len(others) == 1 and len(header) == 2 and header[others[0]].endswith(("_label", "_class"))
        else ()
    )


def _hits(rows: list[list[str]], column: int, index: Index) -> int:
    cells = [row[column] for row in rows if column < len(row)]
    return sum(index.find(cell) is not None or index.find_in_other_case(cell) is not None for cell in cells)
