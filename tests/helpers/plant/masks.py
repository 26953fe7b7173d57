"""Faults of masks: what their values mean, how they were made, and which image they belong to."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from plant import CannotPlant, plants
from plant._layouts import few_of, listing_of, mask_paths, read_mask_values, samples_of, write_mask_values


def _black_and_white(folder: Path) -> list[Path]:
    masks = mask_paths(folder)
    if not all(set(np.unique(read_mask_values(path)).tolist()) <= {0, 255} for path in masks[:40]):
        raise CannotPlant("its masks are not black and white")
    return masks


def _class_numbers(folder: Path) -> list[Path]:
    listing = listing_of(folder)
    if len(listing.classes) < 3:
        raise CannotPlant("it declares no three classes")
    masks = mask_paths(folder)
    if max(int(read_mask_values(path).max()) for path in masks) >= len(listing.classes):
        raise CannotPlant("its masks hold no class numbers")
    return masks


def _rewrite(paths: Sequence[Path], change: Callable[[np.ndarray], np.ndarray]) -> list[Path]:
    return [write_mask_values(path, change(read_mask_values(path))) for path in paths]


def _patch(values: np.ndarray, value: int) -> np.ndarray:
    changed = values.copy()
    height, width = values.shape
    changed[height // 4 : height // 2, width // 4 : width // 2] = value
    return changed


@plants("mask-values")
def class_that_is_not_declared(folder: Path, rng: random.Random) -> Sequence[Path]:
    value = rng.choice([40, 77, 200])
    return _rewrite(few_of(_class_numbers(folder), rng), lambda values: _patch(values, value))


@plants("mask-values")
def class_numbers_stretched_to_255(folder: Path, rng: random.Random) -> Sequence[Path]:
    masks = _class_numbers(folder)
    factor = 255 // (len(listing_of(folder).classes) - 1)
    return _rewrite(masks, lambda values: values * factor)


@plants("mask-values")
def some_masks_of_0_and_1(folder: Path, rng: random.Random) -> Sequence[Path]:
    masks = _black_and_white(folder)
    return _rewrite(
        few_of(masks, rng, share=0.2) if len(masks) >= 4 else few_of(masks, rng, least=4), lambda v: v // 255
    )


@plants("mask-values")
def grey_region_in_black_and_white(folder: Path, rng: random.Random) -> Sequence[Path]:
    masks = _black_and_white(folder)
    if len(masks) < 4:
        raise CannotPlant("too few masks to say what is usual")
    return _rewrite(few_of(masks, rng), lambda values: _patch(values, 7))


@plants("mask-values")
def white_for_class_1(folder: Path, rng: random.Random) -> Sequence[Path]:
    """Two classes are declared, and the masks say 255."""
    if listing_of(folder).layout != "image-masks":
        raise CannotPlant("only masks of classes are numbers of declared classes")
    masks = _black_and_white(folder)
    (folder / "classes.txt").write_text("background\nobject\n")
    if len(listing_of(folder).classes) != 2:
        raise CannotPlant("it declares other classes already")
    return masks


@plants("mask-interpolated")
def masks_resized_smoothly(folder: Path, rng: random.Random) -> Sequence[Path]:
    chosen = few_of(mask_paths(folder), rng)
    for path in chosen:
        grey = Image.fromarray(read_mask_values(path))
        small = grey.resize((max(1, grey.width // 2), max(1, grey.height // 2)), Image.Resampling.BILINEAR)
        small.resize(grey.size, Image.Resampling.BILINEAR).save(path)
    return chosen


@plants("mask-interpolated")
def masks_stored_as_jpeg(folder: Path, rng: random.Random) -> Sequence[Path]:
    chosen = [path for path in few_of(mask_paths(folder), rng) if path.suffix != ".jpg"]
    if not chosen:
        raise CannotPlant("its masks are JPEG already")
    stored = []
    for path in chosen:
        Image.fromarray(read_mask_values(path)).save(path.with_suffix(".jpg"), quality=90)
        path.unlink()
        stored.append(path.with_suffix(".jpg"))
    return stored


@plants("colour-mask")
def masks_in_colour(folder: Path, rng: random.Random) -> Sequence[Path]:
    masks = _class_numbers(folder)
    table = np.asarray([[rng.randrange(256) for _ in range(3)] for _ in range(256)], np.uint8)
    table[0] = 0
    for path in masks:
        Image.fromarray(table[read_mask_values(path)]).save(path)
    return masks


@plants("mask-size-mismatch")
def masks_of_half_the_size(folder: Path, rng: random.Random) -> Sequence[Path]:
    chosen = few_of(mask_paths(folder), rng)
    for path in chosen:
        values = read_mask_values(path)
        write_mask_values(path, values[::2, ::2])
    return chosen


@plants("mask-size-mismatch")
def masks_cropped(folder: Path, rng: random.Random) -> Sequence[Path]:
    margin = rng.randrange(3, 9)
    return _rewrite(few_of(mask_paths(folder), rng), lambda values: values[margin:, margin * 2 :])


@plants("exif-rotation")
def image_lies_on_its_side_by_exif(folder: Path, rng: random.Random) -> Sequence[Path]:
    samples = [one for one in samples_of(folder, "image-masks", "instance-masks", "forged-masks") if one.masks]
    with_sides = [Path(one.image) for one in samples]
    with_sides = [path for path in with_sides if path.suffix.lower() in (".jpg", ".jpeg", ".png") and _oblong(path)]
    chosen = few_of(with_sides, rng)
    for path in chosen:
        with Image.open(path) as image:
            exif = image.getexif()
            exif[0x0112] = 6
            image.convert("RGB").save(path, exif=exif)
    return chosen


def _oblong(path: Path) -> bool:
    with Image.open(path) as image:
        return image.width != image.height


@plants("unpaired-mask")
def mask_lost(folder: Path, rng: random.Random) -> Sequence[Path]:
    samples = [one for one in samples_of(folder, "image-masks", "forged-masks", "frames") if len(one.masks) == 1]
    if len(samples) < 3 or listing_of(folder).layout == "frames":
        raise CannotPlant("too few pairs: without its mask nothing says that the image had one")
    bereft = few_of(samples, rng)
    for one in bereft:
        Path(one.masks[0]).unlink()
    # The image is what is left to be named.
    return [Path(path) for one in bereft for path in (one.image, one.masks[0])]


@plants("unpaired-mask")
def image_lost(folder: Path, rng: random.Random) -> Sequence[Path]:
    samples = [one for one in samples_of(folder, "image-masks", "forged-masks") if one.masks]
    if len(samples) < 3:
        raise CannotPlant("too few pairs")
    lost = [Path(one.image) for one in few_of(samples, rng)]
    for path in lost:
        path.unlink()
    return lost


@plants("empty-mask")
def masks_that_mark_nothing(folder: Path, rng: random.Random) -> Sequence[Path]:
    masks = mask_paths(folder)
    if len(masks) < 3:
        raise CannotPlant("too few masks to say what is usual")
    return _rewrite(few_of(masks, rng), np.zeros_like)


@plants("empty-mask")
def masks_that_mark_everything(folder: Path, rng: random.Random) -> Sequence[Path]:
    masks = mask_paths(folder)
    if len(masks) < 3:
        raise CannotPlant("too few masks to say what is usual")
    return _rewrite(few_of(masks, rng), lambda values: np.full_like(values, values.max()))


@plants("mask-equals-image")
def image_in_place_of_its_mask(folder: Path, rng: random.Random) -> Sequence[Path]:
    samples = [one for one in samples_of(folder, "image-masks", "forged-masks", "frames") if one.masks]
    chosen = []
    for sample in few_of([one for one in samples if one.role != "authentic"], rng):
        mask = Path(sample.masks[0])
        if mask.suffix == ".npy":
            raise CannotPlant("its masks are arrays")
        with Image.open(sample.image) as image:
            ImageOps.exif_transpose(image).convert("L").save(mask)
        chosen.append(mask)
    return chosen


@plants("split-case")
def mask_in_another_case(folder: Path, rng: random.Random) -> Sequence[Path]:
    samples = [one for one in samples_of(folder, "image-masks", "forged-masks") if len(one.masks) == 1]
    samples = [one for one in samples if Path(one.masks[0]).stem == Path(one.image).stem]
    samples = [one for one in samples if Path(one.image).stem.swapcase() != Path(one.image).stem]
    renamed = []
    for sample in few_of(samples, rng):
        mask = Path(sample.masks[0])
        renamed.append(mask.rename(mask.with_name(mask.stem.swapcase() + mask.suffix)))
    return renamed


@plants("same-stem")
def image_converted_and_kept(folder: Path, rng: random.Random) -> Sequence[Path]:
    samples = samples_of(folder, "image-masks", "voc-boxes", "yolo-boxes")
    made = []
    for sample in few_of([one for one in samples if one.masks or one.boxes], rng):
        path = Path(sample.image)
        copy = path.with_suffix(".bmp" if path.suffix.lower() != ".bmp" else ".png")
        with Image.open(path) as image:
            image.convert("RGB").save(copy)
        made.append(copy)
    return made
