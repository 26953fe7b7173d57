"""Figures of answers: accuracy, balanced accuracy, F1, top 5, calibration; each class on its own; with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from snellen.engine.recipe import Batch
from snellen.errors import NonFiniteError
from snellen.ops.bootstrap import Floats, Interval, Statistic, bootstrap, mean_of
from snellen.ops.classification import confusion, figures_of

__all__ = [
    "Answer",
    "AnswerMetrics",
    "answers_of",
    "by_class",
    "calibration_error",
    "confusion_of",
    "intervals",
    "points",
]

_BINS = 15
_MANY_CLASSES = 6
"""The first five of fewer classes say nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered for one image.

    Args:
        file: The image.
        truth: Number of its class.
        answer: Number of the class that was answered.
        confidence: Probability of the answer.
        truth_probability: Probability of the true class.
        in_five: Whether the true class is among the five likeliest.
    """

    file: str
    truth: int
    answer: int
    confidence: float
    truth_probability: float
    in_five: bool


def answers_of(probabilities: Tensor, truth: Sequence[int], files: Sequence[str]) -> list[Answer]:
    """One answer for each row of probabilities."""
    likeliest = probabilities.topk(min(5, probabilities.shape[1]), dim=1)
    rows = zip(files, truth, likeliest.indices.tolist(), likeliest.values[:, 0].tolist(), strict=True)
    return [
        Answer(file, label, first[0], confidence, float(probabilities[row, label]), label in first)
        for row, (file, label, first, confidence) in enumerate(rows)
    ]


def _statistics(answers: Sequence[Answer], classes: int) -> dict[str, Statistic]:
    truth = np.array([one.truth for one in answers], dtype=np.int64)
    said = np.array([one.answer for one in answers], dtype=np.int64)
    figures = dict(figures_of(truth, said, classes))
    found = {name: figures[name] for name in ("accuracy", "balanced_accuracy", "macro_f1")}
    if classes >= _MANY_CLASSES:
        found["top5_accuracy"] = mean_of(np.array([one.in_five for one in answers], dtype=np.float64))
    confidence = np.array([one.confidence for one in answers], dtype=np.float64)
    found["calibration_error"] = calibration_error(confidence, truth == said)
    return found


def calibration_error(confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> Statistic:
    """Expected calibration error over 15 equal bins of confidence.

    Source: Guo et al., On calibration of modern neural networks, ICML 2017.

    Example:
        >>> statistic = calibration_error(np.array([0.9, 0.9]), np.array([True, False]))
        >>> statistic(np.ones((1, 2))).round(3)
        array([0.4])
    """
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    member = np.eye(_BINS)[bins]
    gap = (confidence - right)[:, None] * member

    def statistic(weights: Floats) -> Floats:
        return np.asarray(np.abs(weights @ gap).sum(axis=1) / weights.sum(axis=1))

    return statistic


def points(answers: Sequence[Answer], classes: int) -> dict[str, float]:
    """The figures without intervals, and the mean logarithm of the true class's probability, `log_loss`."""
    ones = np.ones((1, len(answers)))
    figures = {name: float(statistic(ones)[0]) for name, statistic in _statistics(answers, classes).items()}
    sure = np.clip([one.truth_probability for one in answers], 1e-12, 1.0)
    return {**figures, "log_loss": float(-np.log(sure).mean()), "images": float(len(answers))}


def intervals(answers: Sequence[Answer], classes: int) -> Mapping[str, Interval]:
    """The figures with 95% bootstrap intervals over images."""
    return {name: bootstrap(one, len(answers)) for name, one in _statistics(answers, classes).items()}


def confusion_of(answers: Sequence[Answer], classes: int) -> npt.NDArray[np.int64]:
    """Counts by true class (rows) and answer (columns)."""
    truth = np.array([one.truth for one in answers], dtype=np.int64)
    return confusion(truth, np.array([one.answer for one in answers], dtype=np.int64), classes)


def by_class(matrix: npt.NDArray[np.int64], names: Sequence[str]) -> list[dict[str, object]]:
    """Precision, recall and F1 of each class; `None` where there is nothing to divide by.

    Example:
        >>> by_class(np.array([[3, 1], [0, 0]]), ["cat", "dog"])[1]["precision"], by_class(
        ...     np.array([[3, 1], [0, 0]]), ["cat", "dog"])[1]["recall"]
        (0.0, None)
    """
    hits, there, said = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)

    def share(above: int, below: int) -> float | None:
        return round(float(above / below), 4) if below else None

    return [
        {
            "class": name,
            "images": int(there[number]),
            "precision": share(hits[number], said[number]),
            "recall": share(hits[number], there[number]),
            "f1": share(2 * hits[number], there[number] + said[number]),
        }
        for number, name in enumerate(names)
    ]


class AnswerMetrics:
    """Figures of an evaluation during training, merged over ranks.

    Args:
        classes: How many there are.
        beside: Figures that are written down with them.
    """

    def __init__(self, classes: int, beside: Mapping[str, float] | None = None) -> None:
        self._classes = classes
        self._beside = dict(beside or {})
        self._answers: dict[str, Answer] = {}

    def update(self, outputs: Tensor, batch: Batch) -> None:
        """Take in the probabilities of one batch."""
        labels = batch["label"].tolist()
        for one in answers_of(outputs.float().cpu(), labels, batch["files"]):
            self._answers[one.file] = one

    def state(self) -> list[Answer]:
        """One answer for each image."""
        return list(self._answers.values())

    def merge(self, states: Sequence[list[Answer]]) -> None:
        """Join the answers of all ranks; an image that two ranks saw counts once."""
        self._answers = {one.file: one for state in states for one in state}

    def compute(self) -> dict[str, float]:
        """The figures by name.

        Raises:
            NonFiniteError: Answers are NaN: no class is likelier than another, and none may be counted.
        """
        lost = [one.file for one in self._answers.values() if not math.isfinite(one.confidence)]
        if lost:
            raise NonFiniteError(
                f"the network answers NaN for {len(lost)} of {len(self._answers)} evaluated images, such as {lost[0]}: "
                "its weights, or the statistics of its normalisation layers, have diverged",
                hint="train again with a lower optim.lr, or with optim.clip_norm: 1",
                slug="nan-loss",
            )
        return {**points(self.state(), self._classes), **self._beside}
