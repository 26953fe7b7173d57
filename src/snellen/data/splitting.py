"""Splits that keep pictures of one scene together: a copy on both sides would make every score a lie."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["scene_of", "split_by_group"]

_VARIANT = re.compile(r"(_(gcs\d+|copy|forged|fake|orig|scale|mask|gt|f|o|t)(?![a-z]).*|tamp\d*)$")


def scene_of(path: str | Path) -> str:
    """The scene that a file shows, guessed from its name: what stands before a word such as `copy` or `tamp`.

    Variants of one photo are named after it in the common data sets (`cattle_gcs500_copy_rb5` and `cattle`,
    `CRW_4853tamp12` and `CRW_4853_scale`); for others, hand a function of your own to `split_by_group`.

    Example:
        >>> scene_of("fau/cattle_gcs500_copy_rb5.png"), scene_of("cattle.png"), scene_of("CRW_4853tamp12.jpg")
        ('cattle', 'cattle', 'crw_4853')
    """
    stem = Path(path).stem.casefold()
    return _VARIANT.sub("", stem).rstrip("_-") or stem


def split_by_group(
    paths: Sequence[Path], *, fraction: float, seed: int, group: Callable[[Path], str] = scene_of
) -> tuple[list[Path], list[Path]]:
    """Split files in two so that all files of one group, such as one scene, land on the same side.

    Which side a group takes depends on its name and the seed alone: adding files never moves others.

    Args:
        paths: The files.
        fraction: Share of the groups on the second side, 0 to 1; with two groups or more and a share between, neither
            side is left empty.
        seed: Another seed gives another split.
        group: The group of a file.

    Returns:
        First and second side, each in the order given.

    Example:
        >>> files = [Path(f"{name}{end}.png") for name in ("cat", "dog", "owl", "fox") for end in ("", "_copy")]
        >>> train, held_out = split_by_group(files, fraction=0.25, seed=0)
        >>> {scene_of(path) for path in train} & {scene_of(path) for path in held_out}
        set()
    """
    groups = {path: group(path) for path in paths}
    places = {name: _place(name, seed) for name in dict.fromkeys(groups.values())}
    second = {name for name, place in places.items() if place < fraction}
    if 0 < fraction < 1 and len(places) > 1:
        if not second:
            second = {min(places, key=lambda name: places[name])}
        elif len(second) == len(places):
            second.remove(max(places, key=lambda name: places[name]))
    return [path for path in paths if groups[path] not in second], [path for path in paths if groups[path] in second]


def _place(name: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
