"""What a copied data folder holds, by its layout, for planters that need masks, boxes, classes or sequences."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from plant import CannotPlant
from snellen.core.facts.data import Sample
from snellen.data.layouts import Listing, read_layout, splits_of

__all__ = [
    "class_folders",
    "few_of",
    "listing_of",
    "mask_paths",
    "paired_video",
    "part",
    "read_mask_values",
    "samples_of",
    "sequences",
    "support_sets",
    "write_mask_values",
]

Item = TypeVar("Item")


def _places(folder: Path) -> dict[str, Path]:
    return dict(splits_of(folder))


def listing_of(folder: Path) -> Listing:
    """The first split, or the folder itself, as its layout reads it."""
    name, place = next(iter(_places(folder).items()))
    return read_layout(place, key=f"data.{name}")


def samples_of(folder: Path, *layouts: str) -> list[Sample]:
    """Samples of the first split.

    Raises:
        CannotPlant: The folder has another layout.
    """
    listing = listing_of(folder)
    if layouts and listing.layout not in layouts:
        raise CannotPlant(f"its layout is {listing.layout}, not {' or '.join(layouts)}")
    return list(listing.samples)


def few_of(items: Sequence[Item], rng: random.Random, *, share: float = 0.1, least: int = 1) -> list[Item]:
    """Some of them: a tenth, at least one.

    Raises:
        CannotPlant: There are none, or fewer than `least`.
    """
    if len(items) < max(1, least):
        raise CannotPlant(f"it has {len(items)} of them")
    return rng.sample(list(items), max(least, int(share * len(items))))


def mask_paths(folder: Path) -> list[Path]:
    """Masks that are images, of samples that are altered.

    Raises:
        CannotPlant: There are none.
    """
    samples = samples_of(folder, "image-masks", "instance-masks", "forged-masks", "frames")
    found = [Path(mask) for one in samples if one.role != "authentic" for mask in one.masks]
    found = [path for path in found if path.suffix.lower() in (".png", ".tif", ".gif", ".jpg")]
    if not found:
        raise CannotPlant("it has no masks")
    return found


def read_mask_values(path: Path) -> np.ndarray:
    """Values of a mask in one channel; of one bit, 0 and 255."""
    with Image.open(path) as image:
        return np.asarray(image if image.mode in ("L", "P") else image.convert("L"))


def write_mask_values(path: Path, values: np.ndarray) -> Path:
    """Store them under the same name, in eight bits."""
    Image.fromarray(values.astype(np.uint8)).save(path)
    return path


def class_folders(folder: Path, *, least: int = 2) -> dict[str, list[Path]]:
    """Images by class, of the first split; classes in nested folders have a `/` in their name.

    Raises:
        CannotPlant: It is not sorted into class folders, or no class has `least` images.
    """
    found: dict[str, list[Path]] = {}
    for sample in samples_of(folder, "class-folders"):
        found.setdefault(sample.label or "", []).append(Path(sample.image))
    if len(found) < 2 or max(map(len, found.values())) < least:
        raise CannotPlant(f"no class has {least} images")
    return {name: sorted(paths) for name, paths in sorted(found.items())}


def part(folder: Path, name: str) -> Path:
    """The folder of a split; a training part without one beside it is split first, image by image.

    Raises:
        CannotPlant: It is not sorted into class folders.
    """
    places = _places(folder)
    for wanted in (name, "test"):
        if wanted in places and wanted != "train":
            return places[wanted]
    classes = class_folders(folder, least=4)
    label, paths = next(iter(classes.items()))
    root = paths[0].parents[1 + label.count("/")]
    for split in ("train", "val"):
        (folder / split).mkdir(exist_ok=True)
    for label, paths in classes.items():
        for index, path in enumerate(paths):
            place = folder / ("val" if index % 4 == 0 else "train") / label
            place.mkdir(parents=True, exist_ok=True)
            shutil.move(path, place / path.name)
    if root not in (folder, folder / "train"):
        shutil.rmtree(root)
    for path in folder.iterdir():
        if path.is_dir() and path.name not in ("train", "val"):
            shutil.rmtree(path)
    return folder / "val"


def sequences(folder: Path) -> dict[str, list[Path]]:
    """Frames in order, by sequence.

    Raises:
        CannotPlant: It holds no videos.
    """
    found: dict[str, list[tuple[int, Path]]] = {}
    for sample in samples_of(folder, "frames", "frame-pairs"):
        if sample.index is not None:
            found.setdefault(sample.group, []).append((sample.index, Path(sample.image)))
    if not found or max(map(len, found.values())) < 8:
        raise CannotPlant("it has no sequence of 8 frames")
    return {name: [path for _, path in sorted(frames)] for name, frames in sorted(found.items())}


def paired_video(folder: Path, *, shift: int = 0) -> dict[str, list[tuple[Path, Path]]]:
    """Turn a folder of videos into blurred and sharp frames: each blurred one is the mean of five neighbours.

    Args:
        folder: A copy; what it held is replaced.
        shift: By how many frames the sharp ones run ahead.

    Returns:
        Pairs by sequence.
    """
    frames = {name: [np.asarray(Image.open(path).convert("RGB")) for path in paths]
              for name, paths in sequences(folder).items()}  # fmt: skip
    _empty(folder)
    pairs: dict[str, list[tuple[Path, Path]]] = {}
    for name, pictures in frames.items():
        root = folder / Path(name).name
        for index in range(2, len(pictures) - 2 - max(0, shift)):
            mean = np.mean(pictures[index - 2 : index + 3], axis=0)
            both = (root / "blur" / f"{index:05d}.png", root / "sharp" / f"{index:05d}.png")
            for path, picture in zip(both, (mean, pictures[index + shift]), strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture.astype(np.uint8)).save(path, compress_level=1)
            pairs.setdefault(name, []).append(both)
    return pairs


def support_sets(folder: Path, *, shots: Sequence[int] = (1, 3)) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Turn class folders into support sets of some sizes and queries.

    Returns:
        Support images of the largest size and queries, by class.

    Raises:
        CannotPlant: No class has enough images.
    """
    classes = {name: paths for name, paths in class_folders(folder).items() if len(paths) >= max(shots) + 2}
    if len(classes) < 2:
        raise CannotPlant(f"fewer than two classes have {max(shots) + 2} images")
    stored = {name: [(path.name, path.read_bytes()) for path in paths[: max(shots) + 3]]
              for name, paths in classes.items()}  # fmt: skip
    _empty(folder)
    support: dict[str, list[Path]] = {}
    query: dict[str, list[Path]] = {}
    for name, files in stored.items():
        class_folder = f"Class_{name.replace('/', '_')}"
        for shot in shots:
            place = folder / "things" / "2.support-set" / class_folder / f"shot{shot}"
            written = [_write(place / file, content) for file, content in files[:shot]]
            if shot == max(shots):
                support[name] = written
        place = folder / "things" / "6.preprocessed" / class_folder
        query[name] = [_write(place / file, content) for file, content in files[max(shots) :]]
    return support, query


def _write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
