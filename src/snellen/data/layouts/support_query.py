"""Few-shot data: a few labelled images of every class to compare with, and queries to be recognised."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from snellen.core.facts.data import ListingProblem, Sample
from snellen.data.layouts.base import Contents, Layout, Match, not_there
from snellen.data.layouts.problems import counted, shown
from snellen.data.layouts.tables import read_text
from snellen.data.layouts.tree import Folder, Tree, join, stem_of
from snellen.errors import DataError

__all__ = ["LAYOUT", "category_of", "query_folder_of"]

_SUPPORT = ("2.support-set", "support-set", "support_set", "support")
_QUERY = ("6.preprocessed", "preprocessed", "query", "queries", "query-set", "query_set")
_SHOT = re.compile(r"(?:shot[_-]?(\d+)|(\d+)[_-]?shots?)", re.IGNORECASE)
_CLASS = re.compile(r"^class[_-]", re.IGNORECASE)
_RUN_LABELS = "class_labels.txt"
_MAX_LABEL_BYTES = 1024 * 1024


@dataclass(slots=True)
class _Found:
    samples: list[Sample] = field(default_factory=list)
    problems: list[ListingProblem] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    classes: dict[str, None] = field(default_factory=dict)


def category_of(path: str) -> str | None:
    """The folder around the support set or the queries that an image belongs to, `None` for images of neither.

    Example:
        >>> category_of("data/cells/2.support-set/red/shot1/a.png"), category_of("data/cells/a.png")
        ('data/cells', None)
    """
    parts = path.split("/")
    named = [index for index, part in enumerate(parts[:-1]) if part.lower() in (*_SUPPORT, *_QUERY)]
    return "/".join(parts[: named[-1]]) if named else None


def query_folder_of(path: str) -> str | None:
    """The folder among the queries that one lies in, `None` when it lies in none.

    Example:
        >>> query_folder_of("cells/6.preprocessed/Unknown/a.png"), query_folder_of("cells/6.preprocessed/a.png")
        ('Unknown', None)
    """
    parts = path.split("/")
    named = [index for index, part in enumerate(parts[:-1]) if part.lower() in _QUERY]
    return parts[-2] if named and named[-1] < len(parts) - 2 else None


def _categories(tree: Tree) -> list[tuple[Folder, str | None, str | None]]:
    """Folders that hold a support set, or queries beside others that do, and the places of both."""
    found = [
        (folder, folder.child(_SUPPORT), folder.child(_QUERY)) for folder in tree.walk() if folder.rel.count("/") < 3
    ]
    parents = {folder.rel.rpartition("/")[0] for folder, support, _ in found if support is not None and folder.rel}
    return [
        one for one in found if one[1] is not None or (one[2] is not None and one[0].rel.rpartition("/")[0] in parents)
    ]


def _runs(tree: Tree) -> list[Folder]:
    return [folder for folder in tree.walk() if _RUN_LABELS in folder.files and folder.folders]


def _recognise(tree: Tree) -> Match | None:
    runs = _runs(tree)
    if runs:
        return Match(93, f"{len(runs)} runs with {_RUN_LABELS}")
    categories = [(support, query) for _, support, query in _categories(tree) if support is not None]
    if not categories:
        return None
    shots = any(
        _SHOT.fullmatch(name) for support, _ in categories for folder in tree.walk(support) for name in folder.folders
    )
    if not shots and not any(query is not None for _, query in categories):
        return None
    name = shown(tree.folders[categories[0][0]].name)
    return Match(
        96,
        f"{len(categories)} support set{'s' if len(categories) > 1 else ''} in folders {name}",
    )


def _read(tree: Tree) -> Contents:
    found = _Found()
    runs, categories = _runs(tree), _categories(tree)
    if not runs and not categories:
        return not_there(tree, f"support set: folders {_SUPPORT[0]} and {_QUERY[0]}, or runs with {_RUN_LABELS}")
    for run in runs:
        _read_run(tree, run, found)
    for folder, support, query in categories:
        _read_category(tree, folder, support, query, found)
    without = {
        "support set": [tree.path(folder.rel) for folder, support, _ in categories if support is None],
        "queries": [tree.path(folder.rel) for folder, _, query in categories if query is None],
    }
    for what, folders in without.items():
        found.problems += counted("missing-folder", folders, len(categories), f"categories {{has}} no folder of {what}")
    where = "the folders of the support sets" if categories else _RUN_LABELS
    return Contents(
        found.samples,
        tuple(found.classes),
        where if found.classes else "",
        tuple(found.problems),
        frozenset(found.used),
    )


def _read_category(tree: Tree, folder: Folder, support: str | None, query: str | None, found: _Found) -> None:
    category = folder.name or tree.name
    shots: defaultdict[str, set[int]] = defaultdict(set)
    empty, places = [], 0
    classes: dict[str, str] = {}
    for place, label, shot in _support_places(tree, support, category) if support is not None else ():
        images = list(tree.images(place))
        places += 1
        found.classes.setdefault(label)
        classes[_CLASS.sub("", label.rpartition("/")[2]).casefold()] = label
        if shot is not None:
            shots[label].add(shot)
        if tree.is_empty(place):
            # With its class: `Class_X/shot5`.
            empty.append(place.rpartition("/")[2] if shot is None else f"{label} shot{shot}")
        for inner, name in images:
            path = tree.path(inner.rel, name)
            found.samples.append(Sample(path, "support", label=label, group="", shot=shot))
    sizes = set().union(*shots.values())
    incomplete = [
        f"{label} (no shot{', shot'.join(map(str, sorted(sizes - own)))})"
        for label, own in shots.items()
        if sizes - own
    ]
    found.problems += counted("empty-folder", empty, places, "support folders {is} empty")
    found.problems += counted(
        "missing-folder", incomplete, len(shots), f"classes of {shown(category)} {{has}} not all sizes of support sets"
    )
    for inner, name in tree.images(query) if query is not None else ():
        parts = [_CLASS.sub("", part).casefold() for part in inner.rel[len(query or "") :].split("/") if part]
        label_of = next((classes[part] for part in reversed(parts) if part in classes), None)
        found.samples.append(Sample(tree.path(inner.rel, name), "query", label=label_of))


def _support_places(tree: Tree, support: str, category: str) -> Iterator[tuple[str, str, int | None]]:
    """Folders of one class and one size: `shotN`, `Class_X/shotN` or `shotN/Class_X`; without sizes, `Class_X`."""
    for name in tree.folders[support].folders:
        place = join(support, name)
        shot = _shot(name)
        below = tree.folders[place].folders
        if shot is not None and not tree.folders[place].images and below:
            yield from ((join(place, inner), inner, shot) for inner in below)
        elif shot is not None:
            yield place, category, shot
        elif any(_shot(inner) is not None for inner in below):
            yield from ((join(place, inner), name, _shot(inner)) for inner in below if _shot(inner) is not None)
        else:
            yield place, name, None


def _shot(name: str) -> int | None:
    found = _SHOT.fullmatch(name)
    return int((found[1] or found[2])[:6]) if found else None


def _read_run(tree: Tree, run: Folder, found: _Found) -> None:
    """A run of Omniglot's one-shot test: `class_labels.txt` says which drawing shows the same character as which."""
    labels_file = tree.path(run.rel, _RUN_LABELS)
    found.used.add(labels_file)
    images = {join(folder.rel, name): tree.path(folder.rel, name) for folder, name in tree.images(run.rel)}
    supports: dict[str, str] = {}
    bad, missing = [], []
    group = run.name or tree.name
    try:
        lines = read_text(labels_file, limit=_MAX_LABEL_BYTES)[0].splitlines()
    except DataError as error:
        found.problems.append(ListingProblem("annotation-unreadable", error.message, (labels_file,), 1, 1))
        return
    rows = [(number, line.split()) for number, line in enumerate(lines, start=1) if line.strip()]
    for number, cells in rows:
        if len(cells) != 2:
            bad.append(f"line {number}")
            continue
        query, support = (_in_run(run, cell, images) for cell in cells)
        missing += [cell for cell, path in zip(cells, (query, support), strict=True) if path is None]
        if query is None or support is None:
            continue
        # Numbers of classes start anew in every run.
        label = supports.setdefault(support, f"{group}/{stem_of(support.rpartition('/')[2])}")
        found.samples.append(Sample(query, "query", label=label, group=group))
    for path, label in supports.items():
        found.classes.setdefault(label)
        found.samples.append(Sample(path, "support", label=label, group=group, shot=1))
    used = {sample.image for sample in found.samples}
    unused = [path for path in images.values() if path not in used]
    found.problems += [
        *counted("row-unreadable", bad, len(rows), f"rows of {group}/{_RUN_LABELS} {{is}} not two paths"),
        *counted("missing-file", missing, 2 * len(rows), f"files named in {group}/{_RUN_LABELS} {{is}} not there"),
        *counted("stray-file", unused, len(images), f"images of {group} {{is}} named in no row of {_RUN_LABELS}"),
    ]


def _in_run(run: Folder, said: str, images: dict[str, str]) -> str | None:
    said = said.replace("\\", "/")
    while said:
        if join(run.rel, said) in images:
            return images[join(run.rel, said)]
        said = said.partition("/")[2]
    return None


LAYOUT = Layout("support-query", _recognise, _read)
"""Few-shot recognition."""
