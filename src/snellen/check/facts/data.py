"""The data folders: how many files they hold, and what an audit of their images and masks says."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from snellen._env import cache_folder
from snellen.core.facts.data import FolderAudit, LayoutName, ListingProblem, Twin
from snellen.core.facts.paths import FolderFacts, PathFacts
from snellen.core.file_kinds import is_image
from snellen.core.plan import Plan
from snellen.errors import SnellenError

if TYPE_CHECKING:
    from snellen.data.audit.scan import Scan
    from snellen.data.layouts import Listing

__all__ = ["provide_audit", "provide_folders", "provide_twins"]

_MAX_FILES = 2_000_000
_TABLES = {".csv", ".tsv", ".json"}
_NO_IMAGES = {"data.classes", "data.labels", "data.truth", "data.features"}
"""Keys of files that tell something about the images of other keys."""


def provide_folders(plan: Plan) -> tuple[FolderFacts, ...]:
    """The fact `folders`: every data folder that exists."""
    return tuple(_read_folder(path.key, Path(path.path)) for path in _data_paths(plan))


def provide_audit(plan: Plan) -> tuple[FolderAudit, ...]:
    """The fact `audit`: every data folder listed by its layout, its images opened and measured, its masks decoded."""
    from snellen.data.audit.scan import scan  # noqa: PLC0415 - numpy and Pillow only when asked for

    listings = [(path, _list(path, plan)) for path in _data_paths(plan) if _holds_data(path)]
    found = scan(
        (path for _, listing in listings for path in _images(listing)),
        (mask for _, listing in listings for sample in listing.samples for mask in sample.masks),
        cache=cache_folder(),
        tell=plan.notify,
    )
    return tuple(_audit(path, listing, found) for path, listing in listings)


def provide_twins(plan: Plan) -> tuple[Twin, ...]:
    """The fact `twins`: images that show the same, within and across the data folders."""
    from snellen.data.audit.twins import find_twins  # noqa: PLC0415

    return find_twins(plan.fact("audit"), tell=plan.notify, cache=cache_folder())


def _data_paths(plan: Plan) -> list[PathFacts]:
    paths: Sequence[PathFacts] = plan.fact("paths")
    return [path for path in paths if path.key.startswith("data.") and path.key not in _NO_IMAGES and path.exists]


def _holds_data(path: PathFacts) -> bool:
    place = Path(path.path)
    return place.is_dir() or place.suffix.lower() in _TABLES


def _read_folder(key: str, folder: Path) -> FolderFacts:
    around = folder
    if folder.is_file():
        if folder.suffix.lower() not in _TABLES:
            return FolderFacts(key, str(folder), int(is_image(folder.name)))
        around = folder.parent  # A table lists the images around it.
    if not os.access(around, os.R_OK | os.X_OK):
        return FolderFacts(key, str(folder), 0, problem="permission denied")
    images = 0
    others: Counter[str] = Counter()
    for path in _walk(around):
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


def _list(path: PathFacts, plan: Plan) -> Listing:
    from snellen.data.layouts import LAYOUTS, Listing, read_layout  # noqa: PLC0415

    section = plan.settings.get("data")
    data: Mapping[str, Any] = section if isinstance(section, Mapping) else {}
    name, classes = data.get("layout"), data.get("classes")
    plan.notify(f"listing {path.key}")
    layout: LayoutName | Literal["auto"] = next((known for known in LAYOUTS if known == name), "auto")
    names = plan.root / classes if isinstance(classes, str) else _names(classes)
    try:
        return read_layout(path.path, key=path.key, name=layout, classes=names)
    except SnellenError as error:
        problem = ListingProblem("annotation-unreadable", error.message, (path.path,), 1, 1)
    try:
        # Without the list of classes: it may be that which cannot be read.
        listing = read_layout(path.path, key=path.key, name=layout)
    except SnellenError:
        return Listing("images", "nothing could be read", problems=(problem,))
    return replace(listing, problems=(*listing.problems, problem))


def _names(classes: object) -> tuple[str, ...]:
    if not isinstance(classes, Sequence) or isinstance(classes, str):
        return ()
    return tuple(str(name) for name in classes)


def _images(listing: Listing) -> Iterator[str]:
    for sample in listing.samples:
        yield sample.image
        if sample.partner:
            yield sample.partner


def _audit(path: PathFacts, listing: Listing, found: Scan) -> FolderAudit:
    images = {image: found.images[image] for image in _images(listing)}
    masks = (mask for sample in listing.samples for mask in sample.masks)
    return FolderAudit(
        key=path.key,
        path=path.path,
        layout=listing.layout,
        why=listing.why,
        samples=listing.samples,
        images=images,
        masks={mask: found.masks[mask] for mask in masks if mask in found.masks},
        classes=listing.classes,
        classes_from=listing.classes_from,
        problems=listing.problems,
        others=listing.others,
        measured=sum(image in found.sample for image in images),
        notes=found.notes,
    )
