"""Faults between training and validation: the same picture or source on both sides, parts out of proportion."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageOps

from plant import CannotPlant, plants
from plant._layouts import class_folders, few_of, part


def _across(folder: Path, rng: random.Random, change: Callable[[Image.Image], Image.Image] | None) -> list[Path]:
    """Copy training images to validation, changed or as they are."""
    val = part(folder, "val")
    made = []
    classes = {name: paths for name, paths in class_folders(folder).items() if (val / name).is_dir()}
    if not classes:
        raise CannotPlant("no class lies on both sides")
    for source in few_of([path for paths in classes.values() for path in paths], rng, share=0.0, least=2):
        copy = val / source.parent.name / f"again_{source.name}"
        if change is None:
            shutil.copyfile(source, copy)
        else:
            with Image.open(source) as image:
                options = {"quality": 85} if copy.suffix.lower() in (".jpg", ".jpeg") else {}
                change(image.convert("RGB")).save(copy, **options)
        made.append(copy)
    return made


@plants("duplicate-across-splits")
def file_on_both_sides(folder: Path, rng: random.Random) -> Sequence[Path]:
    return _across(folder, rng, None)


@plants("duplicate-across-splits")
def file_compressed_again(folder: Path, rng: random.Random) -> Sequence[Path]:
    return _across(folder, rng, lambda image: image)


@plants("duplicate-across-splits")
def file_in_another_size(folder: Path, rng: random.Random) -> Sequence[Path]:
    return _across(folder, rng, lambda image: image.resize((image.width * 3 // 4, image.height * 3 // 4)))


@plants("duplicate-across-splits")
def file_mirrored(folder: Path, rng: random.Random) -> Sequence[Path]:
    return _across(folder, rng, ImageOps.mirror)


@plants("source-across-splits")
def crops_of_one_photograph(folder: Path, rng: random.Random) -> Sequence[Path]:
    if min(_sides(paths[0]) for paths in class_folders(folder).values()) < 160:
        raise CannotPlant("its images are too small to be cropped")
    return _across(folder, rng, lambda image: image.crop((0, 0, image.width * 3 // 5, image.height * 3 // 5)))


def _sides(path: Path) -> int:
    with Image.open(path) as image:
        return min(image.size)


@plants("source-across-splits")
def patients_on_both_sides(folder: Path, rng: random.Random) -> Sequence[Path]:
    val = part(folder, "val")
    renamed = []
    for root in (val, None):
        paths = (
            sorted(val.rglob("*.*")) if root else [path for paths in class_folders(folder).values() for path in paths]
        )
        paths = [path for path in paths if path.is_file()]
        for index, path in enumerate(rng.sample(paths, len(paths))):
            name = f"patient_{index % 7:02d}_scan{index}{path.suffix}"
            renamed.append(path.rename(path.with_name(name)))
    return renamed


@plants("split-sizes")
def validation_larger_than_training(folder: Path, rng: random.Random) -> Sequence[Path]:
    val = part(folder, "val")
    if val.name.casefold().startswith("test"):
        raise CannotPlant("it has an official test part and no validation")
    held = sum(path.is_file() for path in val.rglob("*"))
    classes = class_folders(folder)
    gone = []
    left = max(1, held // len(classes) - 1)
    for paths in classes.values():
        for path in paths[left:]:
            path.unlink()
            gone.append(path)
    if not gone or sum(min(left, len(paths)) for paths in classes.values()) >= held:
        raise CannotPlant("validation cannot be made the larger part")
    return gone


@plants("split-sizes")
def fewer_validation_images_than_classes(folder: Path, rng: random.Random) -> Sequence[Path]:
    val = part(folder, "val")
    classes = class_folders(folder)
    images = sorted(path for path in val.rglob("*") if path.is_file())
    if len(classes) < 4 or not any((val / name).is_dir() for name in classes):
        raise CannotPlant("too few classes that both parts hold")
    gone = images[2:]
    for path in gone:
        path.unlink()
    for place in val.iterdir():
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()
    return gone
