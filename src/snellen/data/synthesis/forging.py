"""One photo and one seed to one forgery: choose a region, transform it, find it a place, paste it, finish."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from snellen.data.synthesis.finishing import difficulty_of, draw_processing, process, resized_transform, retouch
from snellen.data.synthesis.settings import (
    CopiedRegion,
    CopyMoveSettings,
    RegionShape,
    SyntheticForgery,
    SyntheticKind,
)
from snellen.data.synthesis.shapes import draw_region, texture_of
from snellen.errors import DataError

__all__ = ["synthesise"]

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_SMALLEST_SIDE = 48
_TEXTURED = 4.0  # grey levels of local standard deviation
_GAP = 6


@dataclass(frozen=True, slots=True)
class _Patch:
    """The transformed region in a box of its own; adding a whole-pixel shift to `matrix` moves it."""

    pixels: Pixels
    mask: Mask
    matrix: npt.NDArray[np.float64]
    corner: tuple[int, int]


def synthesise(
    image: Pixels,
    *,
    seed: int | Sequence[int],
    settings: CopyMoveSettings | None = None,
    forged: bool = True,
) -> SyntheticForgery:
    """Make a copy-move forgery of a photo, or an authentic image that went through the same hands.

    A region with some texture is copied to one or several places that neither it nor another copy covers, mostly where
    the surroundings resemble its own. The result depends on image, seed and settings alone.

    Args:
        image: RGB, shape `(height, width, 3)`, at least 48 pixels each way.
        seed: Any whole numbers from 0, such as `(seed, index)`.
        settings: Ranges to draw from.
        forged: Without it, the image is only cropped and processed: a negative example.

    Raises:
        DataError: The photo is too small, or so uniform that a copy could not be told.

    Example:
        >>> photo = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
        >>> forgery = synthesise(photo, seed=(7, 0))
        >>> bool((forgery.source & forgery.target).any()), forgery.target.any(), len(forgery.copies) >= 1
        (False, np.True_, True)
    """
    settings = settings or CopyMoveSettings()
    generator = np.random.default_rng(seed)
    image = _cut(image, settings, generator)
    source, target = np.zeros(image.shape[:2], dtype=np.bool_), np.zeros(image.shape[:2], dtype=np.bool_)
    copies: list[CopiedRegion] = []
    shape: RegionShape | None = None
    if forged:
        image, source, target, copies, shape = _forge(image, settings, generator)
    processing = draw_processing(settings, generator)
    share = float(source.mean())
    before = image.shape[:2]
    image, (source, target) = process(image, [source, target], processing, generator)
    after = image.shape[:2]
    copies = [replace(copy, transform=resized_transform(copy.transform, before, after)) for copy in copies]
    return SyntheticForgery(
        image, source, target & ~source, tuple(copies), shape, processing, difficulty_of(copies, share, processing)
    )


def _cut(image: Pixels, settings: CopyMoveSettings, generator: np.random.Generator) -> Pixels:
    height, width = image.shape[:2]
    if min(height, width) < _SMALLEST_SIDE:
        raise DataError(f"the photo is {width} x {height} pixels, at least {_SMALLEST_SIDE} each way are needed")
    shrink = min(1.0, settings.longest_side / max(height, width))
    if shrink < 1:
        size = (max(_SMALLEST_SIDE, round(width * shrink)), max(_SMALLEST_SIDE, round(height * shrink)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    height, width = image.shape[:2]
    kept = generator.uniform(*settings.crop, size=2)
    rows, columns = max(_SMALLEST_SIDE, round(height * kept[0])), max(_SMALLEST_SIDE, round(width * kept[1]))
    top, left = generator.integers(0, height - rows + 1), generator.integers(0, width - columns + 1)
    return np.ascontiguousarray(image[top : top + rows, left : left + columns])


def _forge(
    image: Pixels, settings: CopyMoveSettings, generator: np.random.Generator
) -> tuple[Pixels, Mask, Mask, list[CopiedRegion], RegionShape]:
    source, shape = _choose_source(image, settings, generator)
    lowest, highest = settings.copies
    chances = 0.35 ** np.arange(highest - lowest + 1)
    wanted = lowest + int(generator.choice(len(chances), p=chances / chances.sum()))
    gap = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _GAP + 1, 2 * _GAP + 1))
    taken = cv2.dilate(source.astype(np.uint8), gap) > 0
    target, copies = np.zeros_like(source), []
    pasted = image.copy()
    for _ in range(wanted):
        placed = _place_copy(image, source, taken, settings, generator)
        if placed is None:
            continue
        patch, copy, (x, y) = placed
        window = (slice(y, y + patch.mask.shape[0]), slice(x, x + patch.mask.shape[1]))
        _paste(pasted[window], patch, copy)
        target[window] |= patch.mask
        taken[window] |= cv2.dilate(patch.mask.astype(np.uint8), gap) > 0
        copies.append(copy)
    if not copies:
        raise DataError(f"no room for a copy of {int(source.sum())} pixels; make `area` smaller")
    return pasted, source, target, copies, shape


def _choose_source(
    image: Pixels, settings: CopyMoveSettings, generator: np.random.Generator
) -> tuple[Mask, RegionShape]:
    """A region of which most is textured; of 16 tries, the one with the most texture if none is good enough."""
    textured = texture_of(image) > _TEXTURED
    total = textured.size
    best: tuple[float, Mask, RegionShape] | None = None
    for _ in range(16):
        shape: RegionShape = settings.shapes[int(generator.integers(len(settings.shapes)))]
        share = math.exp(generator.uniform(*np.log(settings.area)))
        mask = draw_region(image, shape, pixels=max(150.0, share * total), generator=generator)
        size = int(mask.sum())
        if not 100 <= size <= 2.5 * max(150.0, settings.area[1] * total):
            continue
        quality = float(textured[mask].mean())
        if best is None or quality > best[0]:
            best = (quality, mask, shape)
        if quality >= 0.6:
            break
    if best is None or best[0] < 0.1:
        raise DataError("the photo is too uniform: a copied region could not be told from its surroundings")
    return best[1], best[2]


def _place_copy(
    image: Pixels, source: Mask, taken: Mask, settings: CopyMoveSettings, generator: np.random.Generator
) -> tuple[_Patch, CopiedRegion, tuple[int, int]] | None:
    for attempt in range(8):
        # A large region that found no place is tried again without turning it, then smaller, where that is allowed.
        copy = _draw_copy(settings, generator, plain=attempt in {3, 4}, shrink=attempt >= 5)
        patch = _warp(image, source, copy)
        place = _find_place(image, patch, taken, generator)
        if place is not None:
            matrix = patch.matrix.copy()
            matrix[:, 2] += (place[0] - patch.corner[0], place[1] - patch.corner[1])
            return patch, replace(copy, transform=matrix), place
    return None


def _draw_copy(
    settings: CopyMoveSettings, generator: np.random.Generator, *, plain: bool, shrink: bool
) -> CopiedRegion:
    transformed = generator.random() < settings.transformed and not plain
    turned, scaled, sheared = generator.random(3) < (0.7, 0.6, 0.2)
    rotation = generator.uniform(-settings.rotation, settings.rotation)
    scale = math.exp(generator.uniform(*np.log(settings.scale)))
    shear = generator.uniform(-settings.shear, settings.shear)
    flipped = bool(generator.random() < settings.flip) and transformed
    retouched = generator.random(3) < settings.retouched / 2
    blur, contrast = generator.uniform(0.3, 1) * settings.blur, 1 + generator.uniform(-1, 1) * settings.contrast
    brightness, feather = generator.uniform(-1, 1) * settings.brightness, generator.uniform(*settings.feather)
    scale = settings.scale[0] if shrink else scale
    rotation = float(rotation) if transformed and turned else 0.0
    scale = scale if (transformed and scaled) or shrink else 1.0
    shear = float(shear) if transformed and sheared else 0.0
    return CopiedRegion(
        transform=_matrix(rotation, scale, shear, flipped=flipped),
        kind=_kind(rotation, scale, shear, flipped=flipped),
        rotation=rotation,
        scale=scale,
        flipped=flipped,
        shear=shear,
        blur=float(blur) if retouched[0] else 0.0,
        contrast=float(contrast) if retouched[1] else 1.0,
        brightness=float(brightness) if retouched[2] else 0.0,
        feather=float(feather),
    )


def _matrix(rotation: float, scale: float, shear: float, *, flipped: bool) -> npt.NDArray[np.float64]:
    angle = math.radians(rotation)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = scale * turn @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag([-1.0 if flipped else 1.0, 1.0])
    return np.concatenate([linear, np.zeros((2, 1))], axis=1)


def _kind(rotation: float, scale: float, shear: float, *, flipped: bool) -> SyntheticKind:
    if shear != 0:
        return "affine"
    if flipped:
        return "flip"
    if scale != 1:
        return "similarity"
    return "rotation" if rotation != 0 else "translation"


def _warp(image: Pixels, source: Mask, copy: CopiedRegion) -> _Patch:
    rows, columns = np.flatnonzero(source.any(axis=1)), np.flatnonzero(source.any(axis=0))
    box = np.array([(x, y) for x in (columns[0], columns[-1]) for y in (rows[0], rows[-1])], dtype=np.float64)
    # Around a whole pixel, so that a copy that is only moved keeps its pixels to the bit.
    centre = np.rint(box.mean(axis=0))
    matrix = copy.transform.copy()
    matrix[:, 2] = centre - matrix[:, :2] @ centre
    corners = box @ matrix[:, :2].T + matrix[:, 2]
    margin = 3 + math.ceil(3 * copy.feather)
    low, high = np.floor(corners.min(axis=0)) - margin, np.ceil(corners.max(axis=0)) + margin
    width, height = (high - low + 1).astype(int).tolist()
    local = matrix.copy()
    local[:, 2] -= low
    plain = copy.kind == "translation"
    method = cv2.INTER_NEAREST if plain else (cv2.INTER_AREA if copy.scale < 0.6 else cv2.INTER_CUBIC)
    pixels = cv2.warpAffine(image, local, (width, height), flags=method, borderMode=cv2.BORDER_REFLECT_101)
    flat = source.astype(np.float32)
    soft = cv2.warpAffine(flat, local, (width, height), flags=cv2.INTER_NEAREST if plain else cv2.INTER_LINEAR)
    return _Patch(np.asarray(pixels, dtype=np.uint8), soft >= 0.5, matrix, (int(low[0]), int(low[1])))


def _find_place(image: Pixels, patch: _Patch, taken: Mask, generator: np.random.Generator) -> tuple[int, int] | None:
    """Corner `(x, y)` of a free place; three times in four that of several whose surroundings fit best."""
    rows, columns = patch.mask.shape
    room_y, room_x = image.shape[0] - rows, image.shape[1] - columns
    if room_y < 0 or room_x < 0 or not patch.mask.any():
        return None
    ring = (cv2.dilate(patch.mask.astype(np.uint8), np.ones((7, 7), dtype=np.uint8)) > 0) & ~patch.mask
    around = patch.pixels[ring].astype(np.float32)
    picky = generator.random() < 0.75
    found: list[tuple[float, tuple[int, int]]] = []
    for _ in range(80):
        x, y = int(generator.integers(0, room_x + 1)), int(generator.integers(0, room_y + 1))
        window = (slice(y, y + rows), slice(x, x + columns))
        if (taken[window] & patch.mask).any():
            continue
        found.append((float(np.abs(image[window][ring].astype(np.float32) - around).mean()), (x, y)))
        if len(found) >= (24 if picky else 1):
            break
    return min(found)[1] if found else None


def _paste(window: Pixels, patch: _Patch, copy: CopiedRegion) -> None:
    changed = retouch(patch.pixels, blur=copy.blur, contrast=copy.contrast, brightness=copy.brightness)
    alpha = patch.mask.astype(np.float32)
    if copy.feather > 0.3:
        alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), copy.feather), dtype=np.float32)
    mixed = window * (1 - alpha[:, :, None]) + changed * alpha[:, :, None]
    window[...] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
