"""Faults of boxes and of the annotations that hold them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from plant import CannotPlant, plants
from plant._layouts import few_of, listing_of, samples_of
from snellen.core.facts.data import Sample

_CORNERS = re.compile(
    r"<xmin>([^<]+)</xmin>\s*<ymin>([^<]+)</ymin>\s*<xmax>([^<]+)</xmax>\s*<ymax>([^<]+)</ymax>", re.DOTALL
)
_OBJECT = re.compile(r"<object>.*?</object>", re.DOTALL)

Values = tuple[float, float, float, float]


def _annotations(folder: Path, layout: str) -> list[tuple[Sample, Path]]:
    samples = [one for one in samples_of(folder, layout) if one.boxes]
    if len(samples) < 3:
        raise CannotPlant("it has fewer than three annotations with boxes")
    return [(one, Path(one.boxes[0].path)) for one in samples if one.boxes]


def _voc(folder: Path) -> list[Path]:
    return [path for _, path in _annotations(folder, "voc-boxes")]


def _change_voc(paths: Sequence[Path], change: Callable[[Values], Values], *, only: int | None = None) -> list[Path]:
    for path in paths:
        text = path.read_text(encoding="utf-8")

        def swap(found: re.Match[str]) -> str:
            names = ("xmin", "ymin", "xmax", "ymax")
            values = change(tuple(float(value) for value in found.groups()))  # type: ignore[arg-type]
            return "".join(f"<{name}>{value:g}</{name}>" for name, value in zip(names, values, strict=True))

        path.write_text(_CORNERS.sub(swap, text, count=only or 0), encoding="utf-8")
    return list(paths)


def _change_yolo(
    pairs: Sequence[tuple[Sample, Path]], change: Callable[[Values, int, int], Values], *, only: int | None = None
) -> list[Path]:
    for sample, path in pairs:
        with Image.open(sample.image) as image:
            width, height = image.size
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines[:only]):
            label, *values = line.split()[:5]
            changed = change(tuple(map(float, values)), width, height)  # type: ignore[arg-type]
            lines[number] = " ".join([label, *(f"{value:.6f}" for value in changed)])
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [path for _, path in pairs]


@plants("box-format")
def sizes_in_place_of_corners(folder: Path, rng: random.Random) -> Sequence[Path]:
    return _change_voc(_voc(folder), lambda box: (box[0], box[1], box[2] - box[0], box[3] - box[1]))


@plants("box-format")
def axes_swapped(folder: Path, rng: random.Random) -> Sequence[Path]:
    samples = _annotations(folder, "voc-boxes")
    sides = []
    for sample, _ in samples:
        with Image.open(sample.image) as image:
            sides.append(abs(image.width - image.height) / image.width)
    if sum(side > 0.2 for side in sides) < 0.3 * len(sides):
        raise CannotPlant("its images are nearly square: swapped axes stay inside")
    return _change_voc([path for _, path in samples], lambda box: (box[1], box[0], box[3], box[2]))


@plants("box-format")
def pixels_in_place_of_shares(folder: Path, rng: random.Random) -> Sequence[Path]:
    return _change_yolo(
        _annotations(folder, "yolo-boxes"),
        lambda box, width, height: (box[0] * width, box[1] * height, box[2] * width, box[3] * height),
    )


@plants("box-format")
def corners_in_place_of_centres(folder: Path, rng: random.Random) -> Sequence[Path]:
    return _change_yolo(
        _annotations(folder, "yolo-boxes"),
        lambda box, width, height: (
            box[0] - box[2] / 2,
            box[1] - box[3] / 2,
            box[0] + box[2] / 2,
            box[1] + box[3] / 2,
        ),
    )


@plants("invalid-box")
def boxes_without_area(folder: Path, rng: random.Random) -> Sequence[Path]:
    return _change_voc(few_of(_voc(folder), rng, share=0.03), lambda box: (box[0], box[1], box[0], box[3]), only=1)


@plants("invalid-box")
def boxes_that_end_before_they_begin(folder: Path, rng: random.Random) -> Sequence[Path]:
    return _change_voc(few_of(_voc(folder), rng, share=0.03), lambda box: (box[2], box[3], box[0], box[1]), only=1)


@plants("invalid-box")
def boxes_beyond_the_edge(folder: Path, rng: random.Random) -> Sequence[Path]:
    chosen = few_of(_voc(folder), rng, share=0.03)
    return _change_voc(chosen, lambda box: (box[0], box[1], box[2] + 5000, box[3]), only=1)


@plants("invalid-box")
def shares_beyond_the_edge(folder: Path, rng: random.Random) -> Sequence[Path]:
    chosen = few_of(_annotations(folder, "yolo-boxes"), rng, share=0.03)
    return _change_yolo(chosen, lambda box, width, height: (box[0] + 1.5, box[1], box[2], box[3]), only=1)


@plants("invalid-box")
def shares_below_zero(folder: Path, rng: random.Random) -> Sequence[Path]:
    chosen = few_of(_annotations(folder, "yolo-boxes"), rng, share=0.03)
    return _change_yolo(chosen, lambda box, width, height: (-0.4, box[1], max(box[2], 0.1), box[3]), only=1)


@plants("duplicate-box")
def object_twice_in_voc(folder: Path, rng: random.Random) -> Sequence[Path]:
    chosen = few_of(_voc(folder), rng)
    for path in chosen:
        path.write_text(_OBJECT.sub(lambda found: found[0] * 2, path.read_text(encoding="utf-8"), count=1))
    return chosen


@plants("duplicate-box")
def row_twice_in_yolo(folder: Path, rng: random.Random) -> Sequence[Path]:
    chosen = [path for _, path in few_of(_annotations(folder, "yolo-boxes"), rng)]
    for path in chosen:
        lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text("\n".join([*lines, lines[0]]) + "\n", encoding="utf-8")
    return chosen


@plants("label-out-of-range")
def class_number_beyond_the_list(folder: Path, rng: random.Random) -> Sequence[Path]:
    pairs = _annotations(folder, "yolo-boxes")
    count = len(listing_of(folder).classes)
    if not count:
        raise CannotPlant("no list says how many classes there are")
    chosen = [path for _, path in few_of(pairs, rng, share=0.03)]
    for path in chosen:
        path.write_text(re.sub(r"^\d+", str(count + rng.randrange(5)), path.read_text(encoding="utf-8"), count=1))
    return chosen


@plants("label-out-of-range")
def label_that_no_list_names(folder: Path, rng: random.Random) -> Sequence[Path]:
    samples = samples_of(folder, "voc-boxes")
    names = sorted({box.label for one in samples for box in one.boxes or ()})
    (folder / "classes.txt").write_text("\n".join(names) + "\n")
    if tuple(names) != listing_of(folder).classes:
        raise CannotPlant("its list of classes lies elsewhere")
    chosen = few_of(_voc(folder), rng, share=0.03)
    for path in chosen:
        path.write_text(re.sub(r"(<object>\s*<name>)[^<]*", r"\1zebra", path.read_text(encoding="utf-8"), count=1))
    return chosen


@plants("annotation-size-mismatch")
def image_resized_after_it_was_annotated(folder: Path, rng: random.Random) -> Sequence[Path]:
    chosen = [Path(one.image) for one, _ in few_of(_annotations(folder, "voc-boxes"), rng)]
    for path in chosen:
        with Image.open(path) as image:
            image.convert("RGB").resize((image.width * 3 // 2, image.height * 3 // 2)).save(path)
    return chosen


@plants("annotation-unreadable")
def xml_cut_short(folder: Path, rng: random.Random) -> Sequence[Path]:
    chosen = few_of(_voc(folder), rng, share=0.03)
    for path in chosen:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    return chosen


@plants("annotation-unreadable")
def row_with_a_comma_for_a_point(folder: Path, rng: random.Random) -> Sequence[Path]:
    chosen = [path for _, path in few_of(_annotations(folder, "yolo-boxes"), rng, share=0.03)]
    for path in chosen:
        path.write_text(path.read_text(encoding="utf-8").replace(".", ",", 1), encoding="utf-8")
    return chosen


@plants("unpaired-annotation")
def annotation_lost(folder: Path, rng: random.Random) -> Sequence[Path]:
    layout = listing_of(folder).layout
    if layout not in ("voc-boxes", "yolo-boxes"):
        raise CannotPlant("it has no boxes")
    chosen = [path for _, path in few_of(_annotations(folder, layout), rng)]
    for path in chosen:
        path.unlink()
    return chosen


@plants("unpaired-annotation")
def annotated_image_lost(folder: Path, rng: random.Random) -> Sequence[Path]:
    layout = listing_of(folder).layout
    if layout not in ("voc-boxes", "yolo-boxes"):
        raise CannotPlant("it has no boxes")
    chosen = [Path(one.image) for one, _ in few_of(_annotations(folder, layout), rng)]
    for path in chosen:
        path.unlink()
    return chosen


@plants("class-list-missing")
def list_of_names_lost(folder: Path, rng: random.Random) -> Sequence[Path]:
    _annotations(folder, "yolo-boxes")
    lists = [path for path in folder.rglob("*") if re.fullmatch(r"classes.*\.txt|.*\.names|data\.ya?ml", path.name)]
    if not lists:
        raise CannotPlant("it has no list of names")
    for path in lists:
        path.unlink()
    return lists


@plants("annotation-of-other-image")
def annotations_exchanged(folder: Path, rng: random.Random) -> Sequence[Path]:
    one, other = few_of(_voc(folder), rng, least=2)[:2]
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    return [one, other]


@plants("class-name-variants")
def label_spelled_otherwise(folder: Path, rng: random.Random) -> Sequence[Path]:
    chosen = few_of(_voc(folder), rng)
    for path in chosen:
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"(<object>\s*<name>)([^<]*)", lambda m: m[1] + m[2].swapcase() + " ", text, count=1))
    return chosen
