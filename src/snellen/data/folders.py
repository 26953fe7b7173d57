"""Folders of forgery data: which image has which mask, and everything that does not fit, by name and number."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from snellen.data.listing import (
    IMAGE_SUFFIXES,
    FoundImages,
    find_images,
    hash_file_list,
    list_folder,
    missing_path,
    name_some,
    natural_key,
    nearest_folder,
)
from snellen.data.reading import probe_image
from snellen.data.splitting import scene_of, split_by_group
from snellen.errors import DataError

__all__ = [
    "FolderProblem",
    "ForgeryFolder",
    "ForgeryPair",
    "FoundImages",
    "ProblemKind",
    "discover",
    "find_images",
    "hash_file_list",
    "natural_key",
    "nearest_folder",
    "scene_of",
    "split_by_group",
]

ProblemKind = Literal["no-mask", "no-image", "same-name", "empty", "other-size", "unreadable"]

_MASK_SUFFIXES = IMAGE_SUFFIXES | {".npy"}
_FORGED = ("forged", "tampered", "forgeries", "fake", "manipulated", "train_images/forged")
_MASKS = ("masks", "mask", "groundtruth", "ground_truth", "gt", "masks_forged", "masks_derived", "train_masks")
_AUTHENTIC = ("authentic", "original", "originals", "pristine", "real", "train_images/authentic")


@dataclass(frozen=True, slots=True)
class ForgeryPair:
    """A forged image and its mask; `name` is the stem they share."""

    name: str
    image: Path
    mask: Path


@dataclass(frozen=True, slots=True)
class FolderProblem:
    """Something about a folder that does not fit.

    Args:
        kind: What does not fit.
        message: One sentence with numbers and names.
        paths: Every file it concerns.
    """

    kind: ProblemKind
    message: str
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class ForgeryFolder:
    """What a folder of forgery data holds.

    Args:
        root: The folder.
        pairs: Forged images with a mask.
        authentic: Images that are known to be untouched.
        unmasked: Forged images without a mask; of a flat folder, all images, about which nothing is known.
        problems: What does not fit, as far as names and places tell.
        skipped: Number of files passed over by reason.
    """

    root: Path
    pairs: tuple[ForgeryPair, ...]
    authentic: tuple[Path, ...]
    unmasked: tuple[Path, ...]
    problems: tuple[FolderProblem, ...]
    skipped: dict[str, int]

    def files(self) -> list[Path]:
        """Every file that is used, for `hash_file_list`."""
        return [path for pair in self.pairs for path in (pair.image, pair.mask)] + [*self.authentic, *self.unmasked]

    def size_problems(self) -> Iterator[FolderProblem]:
        """Compare the sizes of images and masks, headers only, one pair at a time."""
        for pair in self.pairs:
            try:
                image, mask = probe_image(pair.image).upright_size, _mask_size(pair.mask)
            except DataError as error:
                yield FolderProblem("unreadable", error.message, (pair.image, pair.mask))
                continue
            if image != mask:
                message = f"{pair.mask} is {mask[1]} x {mask[0]} pixels, its image is {image[1]} x {image[0]}"
                yield FolderProblem("other-size", message, (pair.image, pair.mask))


def discover(root: str | Path) -> ForgeryFolder:
    """Find out what a folder of forgery data holds.

    Two layouts are known; names of folders may be in any case, and files are paired by stem, whatever their suffix
    (`forged/7.jpg` and `masks/7.png`, `7_mask.png` or `7.npy`):

        root/{forged|tampered|...}  root/{masks|groundtruth|gt|...}  root/{authentic|original|...}
        root/*.png                  a flat folder, about which nothing else is known

    Args:
        root: The folder.

    Raises:
        DataError: It does not exist (slug `missing-file`) or holds no image (slug `empty-dataset`); the hint is the
            nearest folder that does.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("forged/a.jpg", "forged/b.jpg", "masks/a.png", "authentic/c.jpg"):
        ...     (root / name).parent.mkdir(exist_ok=True)
        ...     (root / name).touch()
        >>> folder = discover(root)
        >>> [pair.name for pair in folder.pairs], len(folder.authentic), folder.problems[0].message
        (['a'], 1, '1 of 2 forged images has no mask in masks: b.jpg')
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root} is a file, expected a folder") if root.exists() else missing_path(root)
    skipped: Counter[str] = Counter()
    forged, masks, authentic = (_subfolder(root, names) for names in (_FORGED, _MASKS, _AUTHENTIC))
    if forged is None and authentic is None:
        images = list_folder(root, skipped=skipped)
        if not images:
            raise _empty(root, skipped)
        return ForgeryFolder(root, (), (), tuple(images), (), dict(skipped))
    images = list_folder(forged, skipped=skipped) if forged else []
    marked = list_folder(masks, suffixes=_MASK_SUFFIXES, skipped=skipped) if masks else []
    untouched = list_folder(authentic, skipped=skipped) if authentic else []
    if not images and not untouched:
        raise _empty(root, skipped)
    pairs, unmasked, unused = _pair(images, marked)
    problems = [
        *(_empty_problem(folder, found) for folder, found in ((forged, images), (authentic, untouched))),
        _counted("no-mask", unmasked, images, f"forged images {{}} no mask in {masks.name if masks else 'masks'}"),
        _counted("no-image", unused, marked, f"masks {{}} no image in {forged.name if forged else 'forged'}"),
        _same_name(images),
    ]
    found_problems = tuple(problem for problem in problems if problem is not None)
    return ForgeryFolder(root, tuple(pairs), tuple(untouched), tuple(unmasked), found_problems, dict(skipped))


def _subfolder(root: Path, names: tuple[str, ...]) -> Path | None:
    for name in names:
        place: Path | None = root
        for part in name.split("/"):
            entries = sorted(place.iterdir()) if place is not None and place.is_dir() else []
            exact = [entry for entry in entries if entry.name == part and entry.is_dir()]
            folded = [entry for entry in entries if entry.name.casefold() == part and entry.is_dir()]
            place = next(iter(exact or folded), None)
        if place is not None:
            return place
    return None


def _pair(images: list[Path], masks: list[Path]) -> tuple[list[ForgeryPair], list[Path], list[Path]]:
    by_stem: dict[str, Path] = {}
    for mask in masks:
        by_stem.setdefault(mask.stem, mask)
    for mask in masks:
        by_stem.setdefault(re.sub(r"[_-](mask|gt|groundtruth)$", "", mask.stem, flags=re.IGNORECASE), mask)
    pairs = [ForgeryPair(image.stem, image, by_stem[image.stem]) for image in images if image.stem in by_stem]
    unmasked = [image for image in images if image.stem not in by_stem]
    used = {pair.mask for pair in pairs}
    return pairs, unmasked, [mask for mask in masks if mask not in used]


def _counted(kind: ProblemKind, paths: list[Path], of: list[Path], sentence: str) -> FolderProblem | None:
    if not paths:
        return None
    said = sentence.format("has" if len(paths) == 1 else "have")
    return FolderProblem(kind, f"{len(paths)} of {len(of)} {said}: {name_some(p.name for p in paths)}", tuple(paths))


def _same_name(images: list[Path]) -> FolderProblem | None:
    counts = Counter(image.stem for image in images)
    twice = [image for image in images if counts[image.stem] > 1]
    if not twice:
        return None
    names = name_some(path.name for path in twice)
    return FolderProblem(
        "same-name", f"{len(twice)} forged images share their stem with another: {names}", tuple(twice)
    )


def _empty_problem(folder: Path | None, found: list[Path]) -> FolderProblem | None:
    if folder is None or found:
        return None
    return FolderProblem("empty", f"the folder {folder} holds no image", (folder,))


def _empty(root: Path, skipped: Counter[str]) -> DataError:
    passed = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
    below = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
    hint = "expected images in it, or folders forged, masks and authentic"
    if below:
        likely = next(filter(None, (nearest_folder(root, name) for name in ("forged", "authentic", "train"))), None)
        hint += f"; it holds the folder{'s' if len(below) > 1 else ''} {name_some(below)}"
        hint += f": did you mean {likely}?" if likely else ""
    return DataError(
        f"no image in {root}" + (f" ({passed} passed over)" if passed else ""), hint=hint, slug="empty-dataset"
    )


def _mask_size(path: Path) -> tuple[int, int]:
    if path.suffix.lower() != ".npy":
        return probe_image(path).upright_size
    try:
        shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
    except Exception as error:  # np.load raises whatever the header's text leads to
        raise DataError(f"{path} cannot be read: {error}", slug="corrupt-image") from error
    if len(shape) == 3 and shape[2] == 1:
        shape = shape[:2]
    if len(shape) < 2:
        raise DataError(f"{path} has shape {shape}, expected (height, width) or (regions, height, width)")
    return int(shape[-2]), int(shape[-1])
