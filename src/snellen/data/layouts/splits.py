"""The splits below one folder: `train`, `val` and `test`, however they are spelled."""

from __future__ import annotations

import os
import re
from pathlib import Path

from snellen.data.layouts.sides import IMAGE_FOLDERS
from snellen.data.listing import junk_reason, natural_key

__all__ = ["split_name", "splits_of"]

_SPELLINGS = {
    "train": r"(?:stage\d_)?(?:train|training|trn)(?:_?set)?(?:20\d\d)?|images_background",
    "val": r"(?:val|valid|validation|dev)(?:_?set)?(?:20\d\d)?",
    "test": r"(?:stage\d_)?(?:test|testing)(?:_?set)?(?:20\d\d)?|images_evaluation|one_shot_runs",
}


def split_name(folder: str) -> str | None:
    """Which split a folder holds by its name, `None` when the name says nothing.

    Example:
        >>> [split_name(name) for name in ("Train", "validation", "stage1_test", "train2017", "trainannot")]
        ['train', 'val', 'test', 'train', None]
    """
    return next((name for name, spelling in _SPELLINGS.items() if re.fullmatch(spelling, folder, re.IGNORECASE)), None)


def splits_of(folder: str | Path) -> dict[str, Path]:
    """The splits that lie below a folder.

    They are looked for in the folder itself, then in its folder of images (`images/train2017`). A table of a split's
    name (`train.csv`) counts where there is no such folder.

    Args:
        folder: The folder.

    Returns:
        Path of each by its name, `train` first. A second folder for a split keeps its own name; a folder without a
        training split below is one by itself.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("Train", "valid", "notes"):
        ...     (root / name).mkdir()
        >>> {name: path.name for name, path in splits_of(root).items()}
        {'train': 'Train', 'val': 'valid'}
    """
    root = Path(folder)
    below = _names(root, folders=True)
    for place in (root, *(root / name for name in below if name.casefold() in IMAGE_FOLDERS)):
        if found := _among(place, _names(place, folders=True)):
            return found
    tables = [name for name in _names(root, folders=False) if Path(name).suffix.lower() in {".csv", ".tsv"}]
    return _among(root, tables) or {"train": root}


def _among(place: Path, names: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name in names:
        split = split_name(Path(name).stem)
        if split is not None:
            found[Path(name).stem if split in found else split] = place / name
    if "train" not in found:
        return {}
    order = {"train": 0, "val": 1, "test": 2}
    return dict(sorted(found.items(), key=lambda one: (order.get(one[0], 3), one[0])))


def _names(folder: Path, *, folders: bool) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            wanted = [entry.name for entry in entries if junk_reason(entry.name) is None and entry.is_dir() == folders]
    except OSError:
        return []
    return sorted(wanted, key=natural_key)
