"""The table of images and their classes that people edit: written, changed in a spreadsheet, read back."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

from snellen.core.classes_of import folded
from snellen.core.facts.data import Sample
from snellen.core.files import write_text
from snellen.data.layouts.tables import read_text
from snellen.errors import DataError

__all__ = ["read_truth", "write_truth"]

_HEADER: Final = ("image", "label")
_IMAGES: Final = ("image", "path", "file", "filename")
_LABELS: Final = ("label", "class", "truth")
_NAMED: Final = 20


def write_truth(path: Path, queries: Iterable[Sample]) -> int:
    """Write a table of images, with the classes as far as they are known.

    Args:
        path: The file; images are named from its folder, where they lie below it.
        queries: What is to be labelled.

    Returns:
        How many rows have no class yet.

    Raises:
        RunFolderError: The file cannot be written.
    """
    base = os.path.realpath(path.parent)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_HEADER)
    empty = 0
    for query in queries:
        place = os.path.realpath(query.image)
        inside = os.path.commonpath([base, place]) == base
        table.writerow([os.path.relpath(place, base) if inside else place, query.label or ""])
        empty += query.label is None
    write_text(path, text.getvalue())
    return empty


def read_truth(path: Path, *, classes: Collection[str], unknown: str) -> Mapping[str, str]:
    """Read such a table back, as spreadsheets leave it: any encoding, comma, semicolon or tab, columns in any order.

    Args:
        path: The file.
        classes: Names that may stand in it.
        unknown: The name for none of them.

    Returns:
        Classes by the real path of the image; rows without a class are left out.

    Raises:
        DataError: It cannot be read, lacks a column, or rows do not hold: all are named with their lines.
    """
    text, _ = read_text(str(path))
    first = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    try:
        header = [cell.strip().casefold() for cell in next(rows, [])]
        image = next((header.index(name) for name in _IMAGES if name in header), None)
        label = next((header.index(name) for name in _LABELS if name in header), None)
        if image is None or label is None:
            raise DataError(
                f"{path} has the columns {', '.join(header) or 'of an empty file'}, expected image and label",
                hint="snellen fewshot truth RUN.yaml -o truth.csv writes one to edit",
            )
        lines = [(rows.line_num, row) for row in rows if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num}: {error}") from error
    found: dict[str, str] = {}
    problems: list[str] = []
    spelled = {folded(name): name for name in (*classes, unknown)}
    for number, row in lines:
        name = row[image].strip() if image < len(row) else ""
        said = row[label].strip() if label < len(row) else ""
        place = os.path.realpath(path.parent / name)
        if not name or not os.path.isfile(place):  # noqa: PTH113 - text, as the paths of samples
            problems.append(f"line {number}: there is no image {name!r}")
        elif place in found and said and found[place] != said:
            problems.append(f"line {number}: {name} is {said!r} here and {found[place]!r} above")
        elif said and said not in classes and said != unknown:
            near = spelled.get(folded(said))
            problems.append(f"line {number}: {said!r} is no class" + (f", {near!r} is" if near else ""))
        elif said:
            found[place] = said
    if problems:
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise DataError(
            f"{path}: {len(problems)} of {len(lines)} rows do not hold: {'; '.join(problems[:_NAMED])}{more}",
            hint=f"classes are {', '.join(sorted(classes)[:12])}, and {unknown}; a row may stay without one",
            slug="class-map-default",
        )
    return found
