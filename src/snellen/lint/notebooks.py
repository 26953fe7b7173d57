"""Edits of notebooks: a cell is named `train.ipynb#cell=3`, and its lines count from 1."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from snellen.core.finding import Edit
from snellen.lint.read import Place, ReadError

__all__ = ["cell_edits", "cell_of", "edit_cells"]

_CELL = re.compile(r"^(?P<path>.+\.ipynb)#cell=(?P<cell>\d+)$")
_LAYOUTS: tuple[Mapping[str, Any], ...] = (
    *({"indent": indent, "ensure_ascii": ascii_only} for ascii_only in (False, True) for indent in (1, 2, 4, None)),
    {"indent": None, "ensure_ascii": False, "separators": (",", ":")},
)
"""How tools write notebooks; Jupyter's own is the first."""


def cell_edits(edits: Sequence[Edit], places: Sequence[Place]) -> tuple[Edit, ...]:
    """Edits of a notebook's joined text as edits of the one cell that all of them lie in; none when there are several.

    Args:
        edits: Lines count over all code cells.
        places: Where each line of the joined text stands.
    """
    found: list[Edit] = []
    for edit in edits:
        if not 1 <= edit.start_line <= edit.end_line <= len(places):
            return ()
        start, end = places[edit.start_line - 1], places[edit.end_line - 1]
        if start.cell != end.cell:
            return ()
        path = f"{edit.path}#cell={start.cell}"
        found.append(Edit(path, start.line, edit.start_column, end.line, edit.end_column, edit.replacement))
    return tuple(found) if len({edit.path for edit in found}) == 1 else ()


def cell_of(path: str) -> tuple[str, int | None]:
    """The file and, for `train.ipynb#cell=3`, the number of the code cell.

    Example:
        >>> cell_of("train.ipynb#cell=3"), cell_of("train.py")
        (('train.ipynb', 3), ('train.py', None))
    """
    found = _CELL.match(path)
    return (found["path"], int(found["cell"])) if found else (path, None)


def edit_cells(
    text: str,
    groups: Iterable[Sequence[Edit]],
    apply: Callable[[str, Iterable[Sequence[Edit]]], tuple[str, int]],
) -> tuple[str, int]:
    """The notebook with groups of edits applied, and how many were; its layout stays as it was.

    Args:
        text: The file.
        groups: Each within one cell.
        apply: Applies groups of edits to the text of a cell.

    Raises:
        ReadError: It is not a notebook.
    """
    try:
        data = json.loads(text)
        cells = [cell for cell in data["cells"] if cell.get("cell_type") == "code"]
        layout = next((way for way in _LAYOUTS if _dump(data, way) == text.rstrip("\n")), _LAYOUTS[0])
        by_cell: dict[int, list[Sequence[Edit]]] = {}
        for group in groups:
            by_cell.setdefault(cell_of(group[0].path)[1] or 0, []).append(group)
        count = 0
        for number, wanted in by_cell.items():
            cell = cells[number - 1]
            source = cell.get("source", "")
            before = "".join(source) if isinstance(source, list) else str(source)
            after, applied = apply(before, wanted)
            cell["source"] = after.splitlines(keepends=True) if isinstance(source, list) else after
            count += applied
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ReadError(f"not a notebook: {error}") from error
    return _dump(data, layout) + "\n" * (len(text) - len(text.rstrip("\n"))), count


def _dump(data: object, layout: Mapping[str, Any]) -> str:
    return json.dumps(data, **layout)
