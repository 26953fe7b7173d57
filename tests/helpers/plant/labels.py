"""Faults of classes: of folders, of tables, and of the same picture under two of them."""

from __future__ import annotations

import csv
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from plant import CannotPlant, plants
from plant._layouts import class_folders, few_of, part


@plants("class-without-samples")
def class_folder_emptied(folder: Path, rng: random.Random) -> Sequence[Path]:
    classes = class_folders(folder)
    if len(classes) < 3:
        raise CannotPlant("of two classes nothing would be left")
    paths = classes[rng.choice(sorted(classes))]
    for path in paths:
        path.unlink()
    return [paths[0].parent]


@plants("class-only-in-validation")
def class_missing_in_training(folder: Path, rng: random.Random) -> Sequence[Path]:
    val = part(folder, "val")
    classes = class_folders(folder)
    both = [name for name in classes if (val / name).is_dir() and any((val / name).iterdir())]
    if len(both) < 3:
        raise CannotPlant("too few classes lie on both sides")
    lost = classes[rng.choice(both)][0].parent
    shutil.rmtree(lost)
    return [lost]


@plants("class-name-variants")
def half_of_a_class_renamed(folder: Path, rng: random.Random) -> Sequence[Path]:
    classes = {paths[0].parent: paths for paths in class_folders(folder).values() if len(paths) >= 4}
    places = sorted(place for place in classes if len(place.name) > 1)
    if not places:
        raise CannotPlant("no class has four images")
    place = rng.choice(places)
    name, paths = place.name, classes[place]
    spelled = rng.choice([name.capitalize(), name.upper(), f"{name} "])
    twin = place.with_name(spelled if spelled != name else f"{name}_")
    twin.mkdir()
    return [path.rename(twin / path.name) for path in paths[: len(paths) // 2]]


@plants("class-imbalance")
def class_thinned_out(folder: Path, rng: random.Random) -> Sequence[Path]:
    classes = class_folders(folder, least=12)
    largest = max(map(len, classes.values()))
    paths = classes[rng.choice(sorted(name for name in classes if len(classes[name]) <= largest))]
    if len(classes) < 2 or sum(len(other) == largest for other in classes.values()) < 1:
        raise CannotPlant("no class is large enough")
    left = max(1, max(len(other) for other in classes.values() if other is not paths) // 12)
    gone = paths[left:]
    for path in gone:
        path.unlink()
    return gone


def _copies(folder: Path, rng: random.Random, store: Callable[[Path, Path], object], suffix: str = "") -> list[Path]:
    """Originals and their copies: the conflict is between the two."""
    classes = class_folders(folder)
    made = []
    for _ in range(2):
        one, other = rng.sample(sorted(classes), 2)
        source = rng.choice(classes[one])
        copy = classes[other][0].parent / f"copy_{len(made)}{suffix or source.suffix}"
        store(source, copy)
        made += [source, copy]
    return made


@plants("label-conflict")
def file_in_two_classes(folder: Path, rng: random.Random) -> Sequence[Path]:
    return _copies(folder, rng, shutil.copyfile)


@plants("label-conflict")
def pixels_in_two_classes(folder: Path, rng: random.Random) -> Sequence[Path]:
    def store(source: Path, copy: Path) -> None:
        with Image.open(source) as image:
            image.save(copy, compress_level=1)

    return _copies(folder, rng, store, ".png")


@plants("label-against-name")
def file_sorted_into_another_class(folder: Path, rng: random.Random) -> Sequence[Path]:
    classes = {name: paths for name, paths in class_folders(folder).items() if name.isalpha()}
    if len(classes) < 2 or sum(map(len, classes.values())) < 20:
        raise CannotPlant("too few images, or names of classes that no file would carry")
    named = {
        name: [path.rename(path.with_name(f"{name}_{index:04d}{path.suffix}")) for index, path in enumerate(paths)]
        for name, paths in classes.items()
    }
    one, other = rng.sample(sorted(named), 2)
    moved = rng.choice(named[one])
    return [moved.rename(named[other][0].parent / moved.name)]


@plants("stray-image")
def image_beside_the_class_folders(folder: Path, rng: random.Random) -> Sequence[Path]:
    classes = class_folders(folder)
    source = rng.choice(classes[rng.choice(sorted(classes))])
    return [source.rename(source.parent.parent / f"new{source.suffix}")]


def _table(folder: Path, rng: random.Random, change: Callable[[list[list[str]]], None]) -> list[Path]:
    """Turn class folders into one folder of images and a table."""
    classes = class_folders(folder)
    rows = []
    stored = {name: [(path.suffix, path.read_bytes()) for path in paths] for name, paths in classes.items()}
    for path in list(folder.iterdir()):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / "images").mkdir()
    for name, files in stored.items():
        for index, (suffix, content) in enumerate(files):
            path = folder / "images" / f"{name.replace('/', '_')}_{index:04d}{suffix}"
            path.write_bytes(content)
            rows.append([f"images/{path.name}", name])
    change(rows)
    with (folder / "labels.csv").open("w", newline="") as table:
        csv.writer(table).writerows([["image", "label"], *rows])
    return [folder / "labels.csv"]


@plants("missing-file")
def row_without_its_file(folder: Path, rng: random.Random) -> Sequence[Path]:
    def change(rows: list[list[str]]) -> None:
        for row in few_of(rows, rng, share=0.05):
            row[0] = row[0].replace("images/", "images/gone_")

    return _table(folder, rng, change)


@plants("label-missing")
def row_without_its_label(folder: Path, rng: random.Random) -> Sequence[Path]:
    bare = []

    def change(rows: list[list[str]]) -> None:
        for row in few_of(rows, rng, share=0.05):
            row[1] = ""
            bare.append(folder / row[0])

    return [*_table(folder, rng, change), *bare]


@plants("label-conflict")
def rows_that_contradict(folder: Path, rng: random.Random) -> Sequence[Path]:
    torn = []

    def change(rows: list[list[str]]) -> None:
        path, label = rng.choice(rows)
        rows.append([path, next(other for _, other in rows if other != label)])
        torn.append(folder / path)

    return [*_table(folder, rng, change), *torn]


@plants("single-class-prediction")
def table_of_one_class(folder: Path, rng: random.Random) -> Sequence[Path]:
    def change(rows: list[list[str]]) -> None:
        for row in rows:
            row[1] = rows[0][1]

    return _table(folder, rng, change)
