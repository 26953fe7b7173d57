"""Files that declare the names of classes: `classes.txt`, `obj.names`, `data.yaml`."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from snellen.data.layouts.problems import shown
from snellen.data.layouts.tree import Tree
from snellen.errors import DataError

__all__ = ["CLASS_FILE", "MAX_BYTES", "find_class_names", "read_class_names"]

MAX_BYTES: Final = 1024 * 1024
"""A larger file is no list of class names."""
CLASS_FILE = re.compile(
    r"(?:classes|class_?names|labels?|names|label_?map|obj|data|dataset)(_\w+)?\.(?:txt|names|ya?ml)", re.IGNORECASE
)
"""What files of class names are called."""

_MAX_NUMBER = 100_000
_LEVELS_UP = 2


def find_class_names(tree: Tree, *, about: str) -> tuple[tuple[str, ...], str]:
    """Names of the classes as a file in the folder, in one of its folders, or up to two levels above declares them.

    Args:
        tree: The folder.
        about: Pattern of the word behind `classes_` that this layout wants where there are several such files, such as
            `detection`; those about something else are passed over.

    Returns:
        The names, and the path of the file; both empty without one.
    """
    candidates = [
        tree.path(folder.rel, name) for folder in tree.walk() if folder.rel.count("/") < 2 for name in folder.files
    ]
    folder = os.path.abspath(tree.root)  # noqa: PTH100 - plain text as the tree's paths
    for _ in range(_LEVELS_UP):
        folder = folder.rpartition("/")[0]
        if folder.count("/") < 1:
            break
        candidates += [f"{folder}/{name}" for name in _names_in(folder)]
    for path in _ranked(candidates, about):
        try:
            names = read_class_names(path)
        except DataError:
            continue
        if names:
            return names, path
    return (), ""


def read_class_names(path: str | Path) -> tuple[str, ...]:
    r"""Read names of classes: one on each line, with its number before it or not, or `names:` of a YAML file.

    Returns:
        In the order of their numbers, `""` at a number that has no name.

    Raises:
        DataError: The file cannot be read, or is no list of names.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "classes.txt")
        >>> _ = path.write_text("1 cat\n2 traffic light\n")
        >>> read_class_names(path)
        ('', 'cat', 'traffic light')
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{shown(str(path))} cannot be read: {error.strerror}", slug="missing-file") from error
    if len(raw) > MAX_BYTES:
        raise DataError(f"{shown(str(path))} is larger than {MAX_BYTES // 1024} KiB, which no list of classes is")
    text = raw.decode("utf-8-sig", "replace")
    if path.suffix.lower() in {".yaml", ".yml"}:
        return _from_yaml(text, path)
    return _from_lines(text)


def _names_in(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if CLASS_FILE.fullmatch(name))  # noqa: PTH208 - as above
    except OSError:
        return []


def _ranked(candidates: Iterable[str], about: str) -> list[str]:
    ranked = []
    for place, path in enumerate(candidates):
        found = CLASS_FILE.fullmatch(path.rpartition("/")[2])
        if found is None:
            continue
        if found[1] is None or re.search(about, found[1], re.IGNORECASE):
            ranked.append((found[1] is None, place, path))
    return [path for _, _, path in sorted(ranked)]


def _from_lines(text: str) -> tuple[str, ...]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    numbered = [re.match(r"(\d{1,6})[\s:,]+(\S.*)", line) for line in lines]
    if lines and all(numbered):
        return _by_number({int(found[1]): found[2] for found in numbered if found})
    return tuple(lines)


def _from_yaml(text: str, path: Path) -> tuple[str, ...]:
    from ruamel.yaml import YAML  # noqa: PLC0415 - only where there is such a file
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415 - as above

    try:
        data: Any = YAML(typ="safe", pure=True).load(io.StringIO(text))
    except (YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{shown(str(path))} is not readable as YAML") from error
    names = data.get("names") if isinstance(data, Mapping) else None
    if isinstance(names, list):
        return tuple(str(name) for name in names)
    if isinstance(names, Mapping) and all(isinstance(number, int) for number in names):
        return _by_number({int(number): str(name) for number, name in names.items()})
    return ()


def _by_number(names: Mapping[int, str]) -> tuple[str, ...]:
    if not names or min(names) < 0 or max(names) > _MAX_NUMBER:
        return ()
    return tuple(names.get(number, "") for number in range(max(names) + 1))
