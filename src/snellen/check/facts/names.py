"""The names in the data folders: what systems and programs left there, and what does not survive another machine."""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from snellen.core.facts.names import BadName, FolderNames, NameTrouble
from snellen.core.facts.paths import PathFacts
from snellen.core.file_kinds import is_image
from snellen.core.plan import Plan

__all__ = ["LONGEST_NAME", "LONGEST_PATH", "MAX_ENTRIES", "provide_names"]

MAX_ENTRIES: Final = 2_000_000
"""Files and folders that are listed in one data folder."""
LONGEST_NAME: Final = 143
"""Bytes of a name that encrypted file systems (eCryptfs) take; others take 255."""
LONGEST_PATH: Final = 200
"""Characters of a path below the data folder that leave room for the folder itself within the 260 of Windows."""

_KEPT = 200
"""Names of a kind that are kept; all are counted."""
_LEFT_FILES = re.compile(
    r"^(?:thumbs\.db|ehthumbs\.db|desktop\.ini|\.ds_store|\.nfs\w+|.*~|.*\.sw[op])$", re.IGNORECASE
)
_LEFT_FOLDERS = {"__macosx", "@eadir", ".ipynb_checkpoints", "__pycache__", ".trashes", ".spotlight-v100"}
_UNFINISHED = re.compile(r"\.(?:part|partial|crdownload|download|aria2|!ut|filepart|tmp)$", re.IGNORECASE)
_PACKED = re.compile(r"\.(?:zip|rar|7z|tar|tgz|tbz2?|txz|tar\.(?:gz|bz2|xz|zst))$", re.IGNORECASE)
_REFUSED = re.compile(r'[<>:"|?*\\\x00-\x1f]|[ .]$')
_DEVICE = re.compile(r"^(?:con|prn|aux|nul|com[1-9]|lpt[1-9])(?:\..*)?$", re.IGNORECASE)


def provide_names(plan: Plan) -> tuple[FolderNames, ...]:
    """The fact `names`: names that make trouble in every data folder that exists."""
    paths: Sequence[PathFacts] = plan.fact("paths")
    folders = [path for path in paths if path.key.startswith("data.") and path.exists and Path(path.path).is_dir()]
    return tuple(_look(path.key, Path(path.path), plan.notify) for path in folders)


def _look(key: str, folder: Path, notify: Callable[[str, int, int], None]) -> FolderNames:
    found: list[BadName] = []
    counts: Counter[NameTrouble] = Counter()
    entries = 0
    for place, names, inside in _listing(folder):
        entries += len(names)
        notify("listing names", entries, 0)
        for name, trouble, why in _troubles(place, folder, names, inside):
            counts[trouble] += 1
            if counts[trouble] <= _KEPT:
                found.append(BadName(os.path.join(place, name), trouble, why))  # noqa: PTH118 - a million of them
        if entries >= MAX_ENTRIES:
            break
    return FolderNames(key, str(folder), entries, tuple(found), tuple(counts.most_common()))


def _listing(folder: Path) -> Iterator[tuple[str, list[str], bool]]:
    """Each folder with its names, and whether it lies in one that a system left behind; links are not followed."""
    waiting = deque([(str(folder), False)])
    while waiting:
        place, inside = waiting.popleft()
        names = []
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    names.append(entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((entry.path, inside or entry.name.lower() in _LEFT_FOLDERS))
        except OSError:
            pass  # whoever lists the samples says that it cannot be read
        yield place, sorted(names), inside


def _troubles(place: str, root: Path, names: list[str], inside: bool) -> Iterator[tuple[str, NameTrouble, str]]:
    for name in names:
        yield from ((name, trouble, why) for trouble, why in _left(name, inside=inside))
    if inside:
        return
    folded: dict[str, str] = {}
    below = len(place) - len(str(root))
    for name in names:
        if name.startswith("."):
            continue
        yield from ((name, trouble, why) for trouble, why in _unportable(name, below))
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            yield name, "same-but-case", f"differs from {other} only in upper and lower case"


def _left(name: str, *, inside: bool) -> Iterator[tuple[NameTrouble, str]]:
    hidden = name.startswith("._") or (name.startswith(".") and is_image(name))
    if is_image(name) and (hidden or inside):
        yield "looks-like-image", "ends like an image and was left behind by a system or an editor"
    elif name.lower() in _LEFT_FOLDERS or name.startswith("._") or _LEFT_FILES.match(name):
        yield "left-behind", "left behind by a system or an editor"
    elif _UNFINISHED.search(name):
        yield "unfinished-download", "a download or a copy that did not end"
    elif _PACKED.search(name):
        yield "packed", "an archive, perhaps not unpacked yet"


def _unportable(name: str, below: int) -> Iterator[tuple[NameTrouble, str]]:
    if _REFUSED.search(name) or _DEVICE.match(name):
        yield "unportable", "Windows does not take this name"
    elif len(os.fsencode(name)) > LONGEST_NAME or below + len(name) > LONGEST_PATH:
        yield "too-long", f"{len(name)} characters, {below + len(name)} with the folders above it"
    elif not _is_utf8(name):
        yield "unportable", "is no UTF-8: tables, JSON and archives cannot hold this name, macOS does not take it"
    elif not name.isascii():
        yield "not-ascii", "letters beyond ASCII, which systems store in different ways"


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
