"""Forged and authentic images as samples: random crops to train on, whole images to evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from snellen.core.facts.data import Sample
from snellen.data.cache.arena import Arrays
from snellen.data.cache.items import Items
from snellen.data.layouts.forged_masks import discover
from snellen.data.masks import read_mask
from snellen.data.reading import read_image
from snellen.engine.recipe import Batch
from snellen.errors import DataError
from snellen.models.forgery.detection import BoolMask, ImageArray
from snellen.report.progress import note, track

__all__ = [
    "ForgerySample",
    "TrainingCrops",
    "WholeImages",
    "collate",
    "list_samples",
    "load_sample",
    "readable",
    "sample_items",
    "samples_of",
]

_JPEG_QUALITY = (70, 95)


@dataclass(frozen=True, slots=True)
class ForgerySample:
    """One image and its mask on disk; `mask` is `None` for an authentic image."""

    name: str
    image: Path
    mask: Path | None


def list_samples(found: Sequence[Sample]) -> list[ForgerySample]:
    """Forged images with a mask, then authentic ones; names are `folder/stem`, for both often share stems."""
    samples = []
    for sample in found:
        image = Path(sample.image)
        if sample.masks or sample.role == "authentic":
            mask = Path(sample.masks[0]) if sample.masks else None
            samples.append(ForgerySample(f"{image.parent.name}/{image.stem}", image, mask))
    return samples


def samples_of(root: Path | None, *, key: str) -> list[ForgerySample]:
    """The samples of a split.

    Args:
        root: The folder.
        key: The key of the run file that names it, for the message.

    Raises:
        DataError: No folder, or nothing in it that has a truth.
    """
    if root is None:
        raise DataError(f"{key} is not set", hint=f"add {key}: FOLDER to the run file")
    found = discover(root).samples
    samples = list_samples(found)
    if not samples:
        raise DataError(
            f"{root} ({key}) holds {len(found)} images and no mask",
            hint=f"put images into {root}/forged with masks in {root}/masks, and untouched ones into {root}/authentic",
            slug="empty-dataset",
        )
    return samples


def load_sample(sample: ForgerySample, *, max_pixels: int) -> tuple[ImageArray, BoolMask]:
    """Read image and mask; an authentic image gets an empty mask.

    Raises:
        DataError: A file that cannot be read, or a mask of another size.
    """
    image = read_image(sample.image, max_pixels=max_pixels).pixels
    size = (image.shape[0], image.shape[1])
    if sample.mask is None:
        return image, np.zeros(size, dtype=bool)
    mask = read_mask(sample.mask, size=size).mask
    if mask.shape != size:
        raise DataError(
            f"{sample.mask} is {mask.shape[1]} x {mask.shape[0]} pixels, its image is {size[1]} x {size[0]}",
            hint="make the mask at the size of the image; it is never resized silently",
            slug="spatial-mismatch",
        )
    return image, mask


def readable(samples: Sequence[ForgerySample], *, max_pixels: int) -> list[ForgerySample]:
    """The samples that can be read, each decoded once; the others are named on the error stream.

    Args:
        samples: Candidates.
        max_pixels: Larger images are left out.

    Raises:
        DataError: None can be read; the message is that of the first.
    """
    kept, problems = [], []
    for sample in track(list(samples), description="read images"):
        try:
            load_sample(sample, max_pixels=max_pixels)
        except DataError as error:
            problems.append(error)
        else:
            kept.append(sample)
    if not kept and problems:
        raise problems[0]
    for problem in problems:
        note(f"left out: {problem.message}")
    return kept


def sample_items(samples: Sequence[ForgerySample], *, max_pixels: int) -> Items:
    """Images and masks as items of a cache: `(H, W, 3)` uint8 and `(H, W)` bool."""
    files = [[path for path in (sample.image, sample.mask) if path is not None] for sample in samples]
    load = partial(_load_item, samples, max_pixels)
    return Items(files, load, how=f"forgery: RGB and mask, at most {max_pixels} pixels")


def _load_item(samples: Sequence[ForgerySample], max_pixels: int, number: int) -> Arrays:
    return load_sample(samples[number], max_pixels=max_pixels)


class TrainingCrops(Dataset[dict[str, Any]]):
    """Square crops with flips, quarter turns and JPEG.

    A forged image is scaled so that the whole of it fits the crop as often as not: a copy without its source in the
    same crop teaches nothing. All random numbers follow from torch's, which the engine seeds for every sample. A file
    that can no longer be read is named on the error stream, and the next one takes its place: a run must not end in its
    fifth hour over one bad file.

    Args:
        samples: What to draw from.
        side: Side of the crops, in pixels.
        max_pixels: Larger images are refused.
    """

    def __init__(self, samples: Sequence[ForgerySample], *, side: int, max_pixels: int) -> None:
        self.samples = list(samples)
        self.side = side
        self.items = sample_items(self.samples, max_pixels=max_pixels)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A sample: `image` float32 `(3, S, S)` in 0 to 1, `mask` float32 `(1, S, S)`, `file`."""
        sample, image, mask = self._load(index)
        numbers = np.random.default_rng(int(torch.randint(2**62, ())))
        image, mask = _fit(image, mask, self.side, numbers)
        image, mask = _turn(image, mask, numbers)
        if numbers.random() < 0.5:
            image = _jpeg(image, int(numbers.integers(*_JPEG_QUALITY)))
        return {
            "image": torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255,
            "mask": torch.from_numpy(np.ascontiguousarray(mask))[None].float(),
            "file": str(sample.image),
        }

    def _load(self, index: int) -> tuple[ForgerySample, ImageArray, BoolMask]:
        problem = None
        for step in range(len(self.samples)):
            sample = self.samples[(index + step) % len(self.samples)]
            try:
                image, mask = self.items.read((index + step) % len(self.samples))
                return sample, image, mask
            except DataError as error:
                problem = problem or error
                note(f"left out: {error.message}")
        raise problem or DataError("there is no image to train on", slug="empty-dataset")


class WholeImages(Dataset[dict[str, Any]]):
    """Whole images as byte arrays, of any size."""

    def __init__(self, samples: Sequence[ForgerySample], *, max_pixels: int) -> None:
        self.samples = list(samples)
        self.items = sample_items(self.samples, max_pixels=max_pixels)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A sample: `pixels` uint8 `(H, W, 3)`, `truth` bool `(H, W)`, `name`, `file`."""
        sample = self.samples[index]
        # The collated batch outlives the cache, and belongs to whoever gets it.
        pixels, truth = (array.copy() for array in self.items.read(index))
        return {"pixels": pixels, "truth": truth, "name": sample.name, "file": str(sample.image)}


def collate(samples: Sequence[dict[str, Any]]) -> Batch:
    """Stack crops; keep whole images, which differ in size, in lists."""
    batch: Batch = {"files": [sample["file"] for sample in samples]}
    for name in samples[0]:
        if name != "file":
            values = [sample[name] for sample in samples]
            batch[name] = torch.stack(values) if isinstance(values[0], torch.Tensor) else values
    return batch


def _fit(image: ImageArray, mask: BoolMask, side: int, numbers: np.random.Generator) -> tuple[ImageArray, BoolMask]:
    """Scale to between whole-image-in-crop and 1, then crop or pad with grey to `side`."""
    height, width = mask.shape
    whole = side / max(height, width)
    scale = whole if numbers.random() < 0.5 else numbers.uniform(min(whole, 1.0), max(whole, 1.0))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = np.asarray(cv2.resize(image, size, interpolation=method), dtype=np.uint8)
    labels = np.asarray(cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)) > 0
    top, left = (int(numbers.integers(max(0, length - side) + 1)) for length in labels.shape)
    scaled, labels = scaled[top : top + side, left : left + side], labels[top : top + side, left : left + side]
    missing = ((0, side - labels.shape[0]), (0, side - labels.shape[1]))
    return np.pad(scaled, (*missing, (0, 0)), constant_values=127), np.pad(labels, missing)


def _turn(image: ImageArray, mask: BoolMask, numbers: np.random.Generator) -> tuple[ImageArray, BoolMask]:
    turns = int(numbers.integers(4))
    image, mask = np.rot90(image, turns), np.rot90(mask, turns)
    return (image[:, ::-1], mask[:, ::-1]) if numbers.random() < 0.5 else (image, mask)


def _jpeg(image: ImageArray, quality: int) -> ImageArray:
    _, encoded = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.cvtColor(np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB)
    return np.asarray(decoded, dtype=np.uint8)
