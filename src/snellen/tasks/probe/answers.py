"""What heads said of images: in memory for an evaluation, and as rows of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from snellen.data.class_map import ClassMap
from snellen.tasks.probe.features import Vectors
from snellen.tasks.probe.metrics import HeadFigures

__all__ = ["PREDICTIONS", "HeadAnswers", "Probed", "answer_of"]

PREDICTIONS: Final = "predictions.csv"


@dataclass(frozen=True, slots=True)
class HeadAnswers:
    """What one head said of a split.

    Args:
        name: The head.
        classes: Its class map.
        truth: Number of the class of each image, -1 where it is not known.
        probabilities: Shape `(images, classes)`.
        figures: Over the images whose class is known; `None` when there is no such image.
    """

    name: str
    classes: ClassMap
    truth: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]
    figures: HeadFigures | None


@dataclass(frozen=True, slots=True)
class Probed:
    """Everything about an evaluation.

    Args:
        split: Which.
        backbone: Name and fingerprint.
        vectors: Of the images that could be read.
        heads: Their answers.
        notes: What a reader must know.
    """

    split: str
    backbone: str
    vectors: Vectors
    heads: tuple[HeadAnswers, ...]
    notes: tuple[str, ...]


def answer_of(classes: ClassMap, probabilities: npt.NDArray[np.float32]) -> tuple[str, float]:
    """The likeliest class by name, and its probability.

    Example:
        >>> answer_of(ClassMap(("cat", "dog"), (1, 1)), np.array([0.25, 0.75], np.float32))
        ('dog', 0.75)
    """
    number = int(probabilities.argmax())
    return classes.names[number], float(probabilities[number])
