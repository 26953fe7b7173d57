"""Figures of a classification as functions of weights, so that a bootstrap computes a thousand of them at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from snellen.ops.bootstrap import Floats, Statistic

__all__ = ["FIGURES", "binary_matrices", "confusion", "figures_of"]

Labels = npt.NDArray[np.int64]

FIGURES: Final = ("accuracy", "balanced_accuracy", "macro_f1", "mcc")
"""What `figures_of` gives."""


def confusion(truth: Labels, answer: Labels, classes: int) -> npt.NDArray[np.int64]:
    """Counts by true class (rows) and answer (columns).

    Example:
        >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    return np.bincount(truth * classes + answer, minlength=classes * classes).reshape(classes, classes)


def binary_matrices(matrix: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each class its own matrix `[[TN, FP], [FN, TP]]` against all others, shape `(classes, 2, 2)`.

    Example:
        >>> binary_matrices(np.array([[1, 1], [0, 1]])).tolist()
        [[[1, 0], [1, 1]], [[1, 1], [0, 1]]]
    """
    hits = np.diag(matrix)
    wrong, missed = matrix.sum(axis=0) - hits, matrix.sum(axis=1) - hits
    rest = matrix.sum() - hits - wrong - missed
    return np.stack([np.stack([rest, wrong], axis=1), np.stack([missed, hits], axis=1)], axis=1)


def figures_of(truth: Labels, answer: Labels, classes: int) -> Mapping[str, Statistic]:
    """Accuracy, balanced accuracy, macro F1 and Matthews' correlation for several classes, by the names in `FIGURES`.

    Balanced accuracy is the mean recall of the classes that occur, macro F1 the mean over those that occur or are
    answered: both as in scikit-learn.

    Args:
        truth: True class of each image.
        answer: What was answered.
        classes: How many there are.

    Source: Gorodkin, Comparing two K-category assignments by a K-category correlation coefficient, 2004.

    Example:
        >>> figures = figures_of(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
        >>> {name: float(figure(np.ones((1, 3)))[0].round(3)) for name, figure in figures.items()}
        {'accuracy': 0.667, 'balanced_accuracy': 0.75, 'macro_f1': 0.667, 'mcc': 0.5}
    """
    right = (truth == answer).astype(np.float64)

    def totals(weights: Floats) -> tuple[Floats, Floats, Floats]:
        return (
            _by_class(weights * right, truth, classes),
            _by_class(weights, truth, classes),
            _by_class(weights, answer, classes),
        )

    def accuracy(weights: Floats) -> Floats:
        return np.asarray(weights @ right / weights.sum(axis=1))

    def balanced(weights: Floats) -> Floats:
        hits, there, _ = totals(weights)
        return _mean(hits / np.maximum(there, 1e-300), there > 0)

    def macro_f1(weights: Floats) -> Floats:
        hits, there, said = totals(weights)
        return _mean(2 * hits / np.maximum(there + said, 1e-300), there + said > 0)

    def mcc(weights: Floats) -> Floats:
        hits, there, said = totals(weights)
        total = weights.sum(axis=1)
        above = hits.sum(axis=1) * total - (there * said).sum(axis=1)
        below = (total**2 - (said**2).sum(axis=1)) * (total**2 - (there**2).sum(axis=1))
        # With one class on either side nothing is correlated; scikit-learn says 0, too.
        return np.where(below > 0, above / np.sqrt(np.maximum(below, 1e-300)), 0.0)

    return dict(zip(FIGURES, (accuracy, balanced, macro_f1, mcc), strict=True))


def _by_class(weights: Floats, labels: Labels, classes: int) -> Floats:
    from scipy import sparse  # noqa: PLC0415 - takes as long as half of torch, and only figures need it

    images = len(labels)
    member = sparse.csr_matrix((np.ones(images), (labels, np.arange(images))), shape=(classes, images))
    return np.asarray((member @ weights.T).T)


def _mean(values: Floats, counted: npt.NDArray[np.bool_]) -> Floats:
    return np.asarray((values * counted).sum(axis=1) / np.maximum(counted.sum(axis=1), 1))
