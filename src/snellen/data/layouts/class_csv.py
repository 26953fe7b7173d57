"""Images whose class stands in a table: CSV or TSV, by path, by name, or by name without suffix."""

from __future__ import annotations

import contextlib
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from snellen.core.facts.data import ListingProblem, Sample
from snellen.data.layouts.base import Contents, Layout, Match, not_there
from snellen.data.layouts.class_names import find_class_names
from snellen.data.layouts.groups import with_sources
from snellen.data.layouts.problems import counted, shown
from snellen.data.layouts.tables import Index, Table, find_table, read_text, rows_of
from snellen.data.layouts.tree import Tree, stem_of, suffix_of
from snellen.errors import DataError

__all__ = ["LAYOUT"]


_NO_LABEL = {"", "nan", "NaN", "<NA>", "NaT", "null", "NULL"}
"""How a missing value is written, by people and by the programs that write tables."""
_LISTS = {".csv", ".tsv", ".txt", ".json", ".jsonl"}
"""Files that may tell what else the images are for: those of a test, of another split."""
_MAX_OTHERS = 20
_MAX_OTHER_BYTES = 16 * 1024 * 1024
_FEW = 0.2
"""Share of the images up to which those that no table names were forgotten; more were left out on purpose."""


@dataclass(slots=True)
class _Rows:
    samples: list[Sample] = field(default_factory=list)
    labels: defaultdict[str, Counter[str | None]] = field(default_factory=lambda: defaultdict(Counter))
    missing: list[str] = field(default_factory=list)
    short: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    other_case: list[str] = field(default_factory=list)
    count: int = 0
    failed: str = ""


def _recognise(tree: Tree) -> Match | None:
    table = find_table(tree)
    if table is None or not table.labels:
        return None
    name = shown(table.path.rpartition("/")[2])
    column = (
        f"column {shown(table.names[0])!r}" if len(table.labels) == 1 else f"{len(table.labels)} columns of 0 and 1"
    )
    return Match(80, f"{name} lists the images, and their classes in {column}")


def _read(tree: Tree) -> Contents:
    table = find_table(tree)
    if table is None or not table.labels:
        return not_there(tree, "table with a column that names images and one that names their class")
    rows = _collect(table, Index(tree))
    classes, classes_from = find_class_names(tree, about="classif")
    if not classes and len(table.labels) > 1:
        classes, classes_from = table.names, table.path
    problems = _problems(tree, table, rows)
    return Contents(with_sources(rows.samples), classes, classes_from, problems, frozenset((table.path, classes_from)))


def _collect(table: Table, index: Index) -> _Rows:
    rows = _Rows()
    try:
        for line, row in rows_of(table):
            rows.count += 1
            if len(row) <= max(table.image, *table.labels):
                rows.short.append(f"line {line}")
                continue
            said, label = row[table.image], _label(table, row)
            path = index.find(said)
            if path is None and (path := index.find_in_other_case(said)) is not None:
                rows.other_case.append(path)
            if path is None:
                rows.missing.append(said.strip() or f"line {line}")
                continue
            if label is None or label.strip() in _NO_LABEL:
                rows.unlabelled.append(path)
                label = None
            if not rows.labels[path]:
                rows.samples.append(Sample(path, label=label))
            rows.labels[path][label] += 1
    except DataError as error:
        rows.failed = error.message
    return rows


def _label(table: Table, row: list[str]) -> str | None:
    if len(table.labels) == 1:
        return row[table.labels[0]]
    ones = [name for name, column in zip(table.names, table.labels, strict=True) if row[column].strip() in {"1", "1.0"}]
    return "|".join(ones) or None


def _problems(tree: Tree, table: Table, rows: _Rows) -> tuple[ListingProblem, ...]:
    name = shown(table.path.rpartition("/")[2])
    twice = [path for path, labels in rows.labels.items() if labels.total() > 1 and len(labels) == 1]
    torn = [path for path, labels in rows.labels.items() if len(labels) > 1]
    images = len(rows.labels)
    unlisted = _unlisted(tree, table, rows)
    found = [
        *counted("missing-file", rows.missing, rows.count, f"rows of {name} {{names}} an image that is not there"),
        *counted("row-unreadable", rows.short, rows.count, f"rows of {name} {{has}} too few columns"),
        *counted("label-missing", rows.unlabelled, rows.count, f"rows of {name} {{has}} no class"),
        *counted("duplicate-row", twice, images, f"images {{is}} listed more than once in {name}"),
        *counted("contradicting-rows", torn, images, f"images {{is}} listed with different classes in {name}"),
        *counted("other-case", rows.other_case, rows.count, f"rows of {name} {{names}} an image in another case"),
        *counted("image-without-annotation", unlisted, images + len(unlisted), f"images {{is}} not listed in {name}"),
    ]
    if rows.failed:
        found.append(ListingProblem("annotation-unreadable", rows.failed, (table.path,), 1, 1))
    if table.encoding == "Windows-1252":
        message = f"{name} is not UTF-8; read as {table.encoding}, in which it may not have been written"
        found.append(ListingProblem("encoding", message, (table.path,), 1, 1))
    return tuple(found)


def _unlisted(tree: Tree, table: Table, rows: _Rows) -> list[str]:
    """Images beside those of the table that neither it nor another file beside it names."""
    places = {path.rpartition("/")[0] for path in rows.labels}
    left = [
        path
        for folder in tree.walk()
        if tree.path(folder.rel) in places
        for path in (tree.path(folder.rel, image) for image in folder.images)
        if path not in rows.labels
    ]
    if not left or len(left) > max(1, _FEW * (len(left) + len(rows.labels))):
        return []
    named = set[str]()
    others = [path for name in tree.top.files if (path := tree.path("", name)) != table.path]
    for path in others[:_MAX_OTHERS]:
        if suffix_of(path.rpartition("/")[2]) in _LISTS:
            with contextlib.suppress(DataError):
                named.update(re.split(r"[\s,;\"'/\\|]+", read_text(path, limit=_MAX_OTHER_BYTES)[0]))
    names = ((path, path.rpartition("/")[2]) for path in left)
    return [path for path, name in names if name not in named and stem_of(name) not in named]


LAYOUT = Layout("class-csv", _recognise, _read)
"""Classification, classes in a table."""
