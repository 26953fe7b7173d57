"""Images of the splits with one label for each head, from tables or from folders of classes."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from snellen.core.file_kinds import nearest
from snellen.data.layouts import read_layout
from snellen.data.layouts.tables import IMAGE_COLUMNS, Index, find_table, read_text
from snellen.data.layouts.tree import Tree, walk_tree
from snellen.errors import DataError
from snellen.tasks.probe.config import ProbeRun

__all__ = ["LabelledImages", "LabelsError", "read_splits"]

_NAMED: Final = 5
_HOLDS: Final = "a table has a column that names the image, and one for each head with its class"
_SPLITS: Final = ("train", "val", "test")


class LabelsError(DataError):
    """Everything that is wrong with the labels of a run.

    Args:
        each: The problems, at least one.

    Example:
        >>> print(LabelsError([DataError("a is missing", hint="add a"), DataError("b is missing")]))
        2 problems with the labels
          a is missing (add a)
          b is missing
    """

    def __init__(self, each: Sequence[DataError]) -> None:
        self.each = tuple(each)
        first = self.each[0]
        if len(self.each) == 1:
            super().__init__(first.message, hint=first.hint, slug=first.slug)
            return
        lines = [one.message if one.hint is None else f"{one.message} ({one.hint})" for one in self.each]
        super().__init__("\n  ".join([f"{len(lines)} problems with the labels", *lines]), slug=first.slug)


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """Images of one split.

    Args:
        key: Key path of its folder.
        images: Paths.
        labels: By head, one for each image; `None` where it is not known.
    """

    key: str
    images: tuple[str, ...]
    labels: Mapping[str, tuple[str | None, ...]]


@dataclass(frozen=True, slots=True)
class _LabelTable:
    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]


def read_splits(config: ProbeRun, splits: Sequence[str]) -> tuple[dict[str, LabelledImages], list[str]]:
    """The images of splits, and what a reader must know about the labels.

    Args:
        config: The run.
        splits: Of `train`, `val`, `test`; those without a folder are passed over.

    Raises:
        DataError: A folder or a table is missing or cannot be read; a column is missing; an image has two labels, or a
            row two images; a split has no labelled image.
    """
    columns = {name: head.column or name for name, head in config.heads.items()}
    folders = {split: folder for split in _SPLITS if (folder := getattr(config.data, split)) is not None}
    wanted = {split: folder for split, folder in folders.items() if split in splits}
    notes: list[str] = []
    if config.data.labels is not None:
        table = _read_table(config.data.labels)
        # All splits, since a row belongs to one of them.
        trees = {split: walk_tree(folder) for split, folder in folders.items()}
        found = _from_table(table, trees, config.data.image_column, columns, notes)
        found = {split: part for split, part in found.items() if split in wanted}
    else:
        found = {split: _of_folder(config, split, folder, columns, notes) for split, folder in wanted.items()}
    for part in found.values():
        if not any(label is not None for labels in part.labels.values() for label in labels):
            raise DataError(
                f"{part.key} holds no image with a label for {' or '.join(columns)}",
                hint=f"label some of its {len(part.images)} images, or leave {part.key} out",
                slug="empty-dataset",
            )
    return found, notes


def _of_folder(
    config: ProbeRun, split: str, folder: Path, columns: Mapping[str, str], notes: list[str]
) -> LabelledImages:
    tree = walk_tree(folder)
    own = find_table(tree)
    if own is None or not own.header:
        return _from_layout(config, f"data.{split}", folder, notes)
    return _from_table(_read_table(Path(own.path)), {split: tree}, config.data.image_column, columns, notes)[split]


def _read_table(path: Path) -> _LabelTable:
    if not path.is_file():
        close = nearest(path.name, sorted(one.name for one in path.parent.glob("*.[ct]sv"))) if path.name else None
        raise DataError(
            f"{path} (data.labels) {'is a folder' if path.is_dir() else 'does not exist'}, expected a CSV or TSV file",
            hint=f"there is {path.parent / close}" if close else _HOLDS,
            slug="missing-file",
        )
    text, _ = read_text(str(path))
    first = text.partition("\n")[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        read = ((reader.line_num, tuple(cell.strip() for cell in row)) for row in reader)
        rows = [(line, row) for line, row in read if any(row)]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    if len(rows) < 2:
        raise DataError(
            f"{path} holds no row below its header, expected one for each image",
            hint=_HOLDS,
            slug="empty-dataset",
        )
    header = rows[0][1]
    short = [line for line, row in rows if len(row) < len(header)]
    if short:
        raise DataError(
            f"{path}: {len(short)} row{'s have' if len(short) > 1 else ' has'} fewer than {len(header)} columns, the "
            f"first ends in line {short[0]}",
            hint="leave a cell empty where a label is not known, with its comma; and close every quote",
        )
    return _LabelTable(path, header, tuple(rows[1:]))


def _image_column(table: _LabelTable, wanted: str | None, indices: Iterable[Index]) -> int:
    if wanted is not None:
        return _column(table, wanted, "data.image_column")
    simple = [name.casefold().replace(" ", "_") for name in table.header]
    for name in IMAGE_COLUMNS:
        if name in simple:
            return simple.index(name)
    hits = [
        sum(index.find(row[one]) is not None for _, row in table.rows for index in indices)
        for one in range(len(table.header))
    ]
    best = max(range(len(hits)), key=hits.__getitem__)
    if not hits[best]:
        raise DataError(
            f"{table.path}: no column names images; it has {', '.join(table.header)}",
            hint="say which one does: data.image_column",
            slug="missing-file",
        )
    return best


def _column(table: _LabelTable, name: str, who: str) -> int:
    if table.header.count(name) > 1:
        raise DataError(
            f"{table.path} has {table.header.count(name)} columns {name!r} ({who}): only one can be meant",
            hint="rename one of them in the table",
        )
    if name in table.header:
        return table.header.index(name)
    close = nearest(name, table.header)
    raise DataError(
        f"{table.path} has no column {name!r} ({who}); it has {', '.join(table.header)}",
        hint=f"did you mean {close}?" if close else f"name the column: {who if who[:4] == 'data' else who + '.column'}",
    )


def _columns(
    table: _LabelTable, wanted: str | None, indices: Iterable[Index], columns: Mapping[str, str]
) -> tuple[int, dict[str, int]]:
    """Numbers of the column that names images and of those of the heads."""
    problems: list[DataError] = []
    image, places = 0, dict[str, int]()
    try:
        image = _image_column(table, wanted, indices)
    except DataError as error:
        problems.append(error)
    for head, name in columns.items():
        try:
            places[head] = _column(table, name, f"heads.{head}")
        except DataError as error:
            problems.append(error)
    if problems:
        raise LabelsError(problems)
    return image, places


def _from_table(
    table: _LabelTable, trees: Mapping[str, Tree], wanted: str | None, columns: Mapping[str, str], notes: list[str]
) -> dict[str, LabelledImages]:
    indices = {split: Index(tree) for split, tree in trees.items()}
    image, places = _columns(table, wanted, indices.values(), columns)
    labels: dict[str, dict[str, tuple[str | None, ...]]] = {split: {} for split in trees}
    finder = _Finder(table.path.parent, trees, indices)
    torn: list[str] = []
    for line, row in table.rows:
        said = tuple(row[place] or None for place in places.values())
        for split, path in finder.find(row[image], line):
            if labels[split].setdefault(path, said) != said:
                torn.append(f"{row[image]} (line {line})")
    if torn:
        raise DataError(
            f"{table.path}: {len(torn)} images are listed twice with different labels: {', '.join(torn[:_NAMED])}",
            hint="leave one row for each image",
            slug="label-conflict",
        )
    finder.tell(table, notes)
    found = {}
    for split, tree in trees.items():
        own = labels[split]
        without = sum(tree.path(folder.rel, name) not in own for folder, name in tree.images())
        if without:
            notes.append(f"data.{split}: {without} images have no row in {table.path} and are left out")
        by_head = {head: tuple(one[place] for one in own.values()) for place, head in enumerate(columns)}
        found[split] = LabelledImages(f"data.{split}", tuple(own), by_head)
    return found


class _Finder:
    """Which image a row means: the one at its path from the table, else the only one of its name in any split."""

    def __init__(self, root: Path, trees: Mapping[str, Tree], indices: Mapping[str, Index]) -> None:
        self._root, self._indices = os.path.abspath(root), indices  # noqa: PTH100 - plain text as the tree's paths
        self._exact: dict[str, list[tuple[str, str]]] = {}
        for split, tree in trees.items():
            for folder, name in tree.images():
                path = tree.path(folder.rel, name)
                self._exact.setdefault(os.path.abspath(path), []).append((split, path))  # noqa: PTH100 - as above
        self._nowhere: list[str] = []
        self._twice: list[str] = []

    def find(self, said: str, line: int) -> list[tuple[str, str]]:
        """Split and path of the image; an image that lies in two splits is found in both."""
        place = os.path.normpath(os.path.join(self._root, said.replace("\\", "/")))  # noqa: PTH118 - as above
        if place in self._exact:
            return self._exact[place]
        # A file of another folder must not be taken for one of the same name here.
        hits = (
            []
            if os.path.lexists(place)
            else [(split, path) for split, index in self._indices.items() if (path := index.find(said)) is not None]
        )
        if not hits:
            self._nowhere.append(said)
        elif len({os.path.abspath(path) for _, path in hits}) > 1:  # noqa: PTH100 - as above
            self._twice.append(f"{said} (line {line})")
            return []
        return hits

    def tell(self, table: _LabelTable, notes: list[str]) -> None:
        """Refuse rows that mean several images, note those that mean none."""
        if self._twice:
            raise DataError(
                f"{table.path}: {len(self._twice)} rows name images of several splits: "
                f"{', '.join(self._twice[:_NAMED])}",
                hint="name images by their path from the folder of the table",
                slug="same-stem",
            )
        if self._nowhere:
            where = ", ".join(f"data.{split}" for split in self._indices)
            count = f"{len(self._nowhere)} of {len(table.rows)} rows of {table.path}"
            notes.append(f"{count} name no image in {where}, {self._nowhere[0]!r} for one")


def _from_layout(config: ProbeRun, key: str, folder: Path, notes: list[str]) -> LabelledImages:
    if len(config.heads) > 1:
        raise DataError(
            f"{folder} ({key}) has no table of labels for the heads {', '.join(config.heads)}",
            hint="data.labels: a CSV file with a column for each head",
            slug="missing-file",
        )
    listing = read_layout(folder, key=key, name=config.data.layout, classes=config.data.classes or ())
    notes += [f"{key}: {problem.message}" for problem in listing.problems]
    head = next(iter(config.heads))
    kept = [sample for sample in listing.samples if sample.label is not None]
    labels: tuple[str | None, ...] = tuple(sample.label for sample in kept)
    return LabelledImages(key, tuple(sample.image for sample in kept), {head: labels})
