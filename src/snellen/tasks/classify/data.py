"""Labelled images as samples: listed by their layout, named by a class map, decoded into the cache of the run."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as images_v2

from snellen.core.classes_of import label_of_number
from snellen.core.facts.data import Sample
from snellen.data.cache.arena import Arrays
from snellen.data.cache.items import Items
from snellen.data.class_map import ClassMap
from snellen.data.layouts import read_layout
from snellen.data.pictures import read_picture
from snellen.engine.recipe import Batch
from snellen.errors import DataError, SnellenError
from snellen.models.backbones.preprocessing import Preprocessing
from snellen.report.progress import note
from snellen.tasks.classify.config import ClassifyData

__all__ = ["Augment", "Labelled", "LabelledImages", "Pixels", "class_map", "collate", "list_labelled", "note_left_out"]

Pixels = npt.NDArray[np.uint8]

_NAMED = 5
"""Files that are named when they are left out; a disk that went away takes all of them."""
_AREA = (0.25, 1.0)
"""ImageNet recipes begin at 8% of the area, which leaves nothing of an object in a small image."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One image file and the number of its class."""

    path: str
    label: int


@dataclass(frozen=True, slots=True)
class Augment:
    """How training images are varied, settled.

    Args:
        crop: `none`, `shift` by up to an eighth of the side, or a random part, `resized`.
        flip: Mirror half of them.
        randaugment: Magnitude, 0 for none.
        mixup: Strength, 0 for none.
        cutmix: Strength, 0 for none.
        erase: Share of images in which a rectangle is blotted out.
    """

    crop: Literal["none", "shift", "resized"] = "none"
    flip: bool = False
    randaugment: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0
    erase: float = 0.0


def _listing(data: ClassifyData, split: str) -> Any:
    folder: Path | None = getattr(data, split, None)
    if folder is None:
        raise DataError(
            f"data.{split} is not set", hint=f"add data.{split}: FOLDER to the run file", slug="empty-dataset"
        )
    return read_layout(folder, key=f"data.{split}", name=data.layout, classes=data.classes or ())


def class_map(data: ClassifyData) -> tuple[ClassMap, tuple[str, ...]]:
    """The classes that have training images, and those that the run file or the data declares.

    Raises:
        DataError: There are no labels, one that is not declared, or fewer than two classes.
    """
    listing = _listing(data, "train")
    declared = tuple(name for name in listing.classes if name)
    labels = [label_of_number(one.label, listing.classes) for one in listing.samples if one.label is not None]
    if not labels:
        raise DataError(
            f"{data.train} (data.train, read as {listing.layout}) names no class of any image",
            hint="put each class into a folder of its name beside the others, or list images and classes in a CSV file "
            "with the columns image and label",
            slug="labels-unusable",
        )
    classes = ClassMap.of(labels, declared=declared, what=f"data.train ({data.train})")
    if len(classes) < 2:
        raise DataError(
            f"{data.train} (data.train) holds images of one class, {classes.names[0]}: there is nothing to tell apart",
            hint="add images of at least one other class",
            slug="labels-unusable",
        )
    return classes, declared


def list_labelled(data: ClassifyData, split: str, classes: ClassMap) -> list[Labelled]:
    """The images of a split with the numbers of their classes; those without a label are left out and counted.

    Raises:
        DataError: The split has no folder or no labels, or a label that the class map does not know: it is never
            taken for class 0.
    """
    listing = _listing(data, split)
    samples: list[Sample] = [sample for sample in listing.samples if sample.label is not None]
    if not samples:
        raise DataError(f"{getattr(data, split)} (data.{split}) holds no labelled image", slug="empty-dataset")
    labels = [label_of_number(str(sample.label), listing.classes) for sample in samples]
    numbers = classes.numbers(labels, what=f"data.{split} ({getattr(data, split)})")
    left_out = len(listing.samples) - len(samples)
    if left_out:
        note(f"left out: {left_out} images of data.{split} have no label")
    return [Labelled(sample.image, number) for sample, number in zip(samples, numbers, strict=True)]


class LabelledImages(Dataset[dict[str, Any]]):
    """Images of one size as bytes, with their labels.

    A file that cannot be read is named on the error stream once, and the next one takes its place, so that a run does
    not end in its fifth hour over one bad file.

    Args:
        samples: Which.
        preprocessing: Size and cut.
        augment: How they are varied; `None` for evaluation.
        balanced: Draw a class first, then one of its images.
    """

    def __init__(
        self,
        samples: Sequence[Labelled],
        preprocessing: Preprocessing,
        *,
        augment: Augment | None = None,
        balanced: bool = False,
    ) -> None:
        self.samples = list(samples)
        self.augment = augment
        self._preprocessing = preprocessing
        # The cut is random in training: the whole image is kept, at the size that it is cut from.
        self._kept = preprocessing if augment is None else replace(preprocessing, crop=None)
        how = f"classify: {json.dumps(self._kept.to_dict(), default=str)}"
        self.items = Items([[sample.path] for sample in self.samples], self._decode, how=how)
        self._bad: set[int] = set()
        self._vary = _variation(augment) if augment is not None else None
        self._by_class: list[list[int]] = []
        if balanced:
            groups: dict[int, list[int]] = {}
            for index, sample in enumerate(self.samples):
                groups.setdefault(sample.label, []).append(index)
            self._by_class = list(groups.values())

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A sample: `pixels` uint8 `(3, S, S)`, `label`, `file`, and `vary` where it was varied."""
        if self._by_class:
            members = self._by_class[int(torch.randint(len(self._by_class), ()))]
            index = members[int(torch.randint(len(members), ()))]
        sample, levels = self._load(index)
        # A copy: what the cache holds is shared, and channels come first in a batch.
        pixels = torch.from_numpy(levels.transpose(2, 0, 1).copy())
        side = self._preprocessing.crop or (pixels.shape[1], pixels.shape[2])
        if self._vary is not None and self.augment is not None:
            pixels = _cut(pixels, side[0], self.augment.crop)
            if self.augment.flip and torch.rand(()) < 0.5:
                pixels = pixels.flip(2)
            pixels = self._vary(pixels)
        return {
            "pixels": pixels.contiguous(),
            "label": sample.label,
            "file": sample.path,
            "vary": self._vary is not None,
        }

    def read(self, index: int) -> Pixels:
        """One image before it is varied, `(height, width, 3)`, not to be changed.

        Raises:
            DataError: It cannot be read.
        """
        return self.items.read(index)[0]

    def _decode(self, index: int) -> Arrays:
        return (self._kept.levels(read_picture(self.samples[index].path).image),)

    def _load(self, index: int) -> tuple[Labelled, Pixels]:
        problem: SnellenError | None = None
        for step in range(len(self.samples)):
            number = (index + step) % len(self.samples)
            if number in self._bad:
                continue
            try:
                return self.samples[number], self.read(number)
            except SnellenError as error:
                self._bad.add(number)
                problem = problem or error
                note_left_out(error, len(self._bad))
        raise problem or DataError("there is no image that can be read", slug="empty-dataset")


def note_left_out(error: SnellenError, count: int) -> None:
    """Tell that a file is left out; after the first of them only that there are more.

    Args:
        error: What is wrong with it.
        count: How many were left out so far, this one among them.
    """
    if count <= _NAMED:
        note(f"left out: {error.message}")
    elif count == _NAMED + 1:
        note("left out: more files, which snellen check counts and names")


def _cut(pixels: Tensor, side: int, how: str) -> Tensor:
    if how == "resized":
        top, left, height, width = _part(pixels.shape[1], pixels.shape[2])
        return torch.as_tensor(images_v2.resized_crop(pixels, top, left, height, width, [side, side], antialias=True))
    pixels = images_v2.center_crop(pixels, [side, side])
    if how == "shift":
        most = side // 8
        padded = torch.nn.functional.pad(pixels, (most, most, most, most))
        top, left = (int(torch.randint(2 * most + 1, ())) for _ in range(2))
        pixels = padded[:, top : top + side, left : left + side]
    return pixels


def _part(height: int, width: int) -> tuple[int, int, int, int]:
    """A random part of an image: 25% to 100% of its area, 3:4 to 4:3; top, left, height, width."""
    area = height * width * float(torch.empty(()).uniform_(*_AREA))
    ratio = math.exp(float(torch.empty(()).uniform_(math.log(3 / 4), math.log(4 / 3))))
    tall, wide = (
        min(height, max(1, round(math.sqrt(area / ratio)))),
        min(width, max(1, round(math.sqrt(area * ratio)))),
    )
    return int(torch.randint(height - tall + 1, ())), int(torch.randint(width - wide + 1, ())), tall, wide


def _variation(augment: Augment) -> v2.Transform:
    steps: list[v2.Transform] = [v2.Identity()]
    if augment.randaugment:
        steps.append(v2.RandAugment(num_ops=2, magnitude=augment.randaugment))
    if augment.erase:
        steps.append(v2.RandomErasing(p=augment.erase))
    return v2.Compose(steps)


def collate(samples: Sequence[dict[str, Any]], *, mix: v2.Transform | None = None) -> Batch:
    """A batch: `pixels` uint8, or float32 in 0 to 1 where images are mixed, `label`, and `target` for the loss.

    Args:
        samples: Of one size.
        mix: Mixup or CutMix; its random numbers follow from those of the last sample.
    """
    pixels = torch.stack([sample["pixels"] for sample in samples])
    label = torch.tensor([int(sample["label"]) for sample in samples])
    batch: Batch = {"files": [sample["file"] for sample in samples], "label": label, "target": label}
    # Of tensors that only have a shape, nothing can be mixed, and memory does not depend on it.
    if mix is not None and len(samples) > 1 and type(pixels) is Tensor:
        pixels, batch["target"] = mix(pixels.float().div(255), label)
    return {**batch, "pixels": pixels}
