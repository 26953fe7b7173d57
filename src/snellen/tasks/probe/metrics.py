"""Figures of heads: with intervals for an evaluation, without for the one after each epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from snellen.data.class_map import ClassMap
from snellen.engine.recipe import Batch
from snellen.ops.bootstrap import Floats, Interval, Statistic, area_under_curve, bootstrap, ratio_of
from snellen.ops.classification import confusion, figures_of

__all__ = ["ClassFigures", "HeadFigures", "ProbeMetrics", "figures_by_name", "head_figures"]

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float32]

_RESAMPLES: Final = 1000
_CELLS: Final = 50_000_000
"""Images times classes times resamples that the intervals of classes may take; of larger sets there are fewer."""


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """How well one class is told from the others.

    Args:
        name: The class.
        support: Images of it.
        precision: Of the images that were said to be of it, the share that is; 0 when none was.
        recall: Of its images, the share that was found; NaN without one.
        f1: Their harmonic mean.
        auc: Area under the ROC curve; NaN when all images are of it, or none.
    """

    name: str
    support: int
    precision: Interval
    recall: Interval
    f1: Interval
    auc: Interval


@dataclass(frozen=True, slots=True)
class HeadFigures:
    """How well one head does.

    Args:
        images: Labelled images.
        figures: `accuracy`, `balanced_accuracy`, `macro_f1`, `mcc`, `auc` (mean over the classes).
        classes: Of each class.
        matrix: Counts by true class (rows) and answer (columns).
    """

    images: int
    figures: Mapping[str, Interval]
    classes: tuple[ClassFigures, ...]
    matrix: npt.NDArray[np.int64]


def head_figures(truth: Labels, probabilities: Probabilities, classes: ClassMap, *, seed: int = 0) -> HeadFigures:
    """Figures of one head with 95% bootstrap intervals over images.

    Args:
        truth: Number of the class of each labelled image.
        probabilities: Shape `(images, classes)`.
        classes: Their names.
        seed: Of the resamples.
    """
    images, answer = len(truth), probabilities.argmax(axis=1)
    resamples = max(100, min(_RESAMPLES, _CELLS // max(1, images * len(classes))))

    def interval(statistic: Statistic, count: int = _RESAMPLES) -> Interval:
        return bootstrap(statistic, images, resamples=count, seed=seed)

    figures = {name: interval(one) for name, one in figures_of(truth, answer, len(classes)).items()}
    figures["auc"] = interval(_mean_auc(truth, probabilities), resamples)
    by_class = []
    for number, name in enumerate(classes.names):
        actual, said = truth == number, answer == number
        hits = actual & said
        by_class.append(
            ClassFigures(
                name,
                int(actual.sum()),
                interval(ratio_of(hits, said, empty=0.0), resamples),
                interval(ratio_of(hits, actual, empty=float("nan")), resamples),
                interval(ratio_of(2 * hits, actual.astype(np.int64) + said, empty=0.0), resamples),
                interval(area_under_curve(probabilities[:, number], actual), resamples),
            )
        )
    return HeadFigures(images, figures, tuple(by_class), confusion(truth, answer, len(classes)))


def figures_by_name(head: str, found: HeadFigures) -> dict[str, float]:
    """Plain numbers as `HEAD/FIGURE` and `HEAD/CLASS/FIGURE`, each with `_low` and `_high`."""
    intervals = {f"{head}/{name}": one for name, one in found.figures.items()}
    for each in found.classes:
        intervals |= {
            f"{head}/{each.name}/precision": each.precision,
            f"{head}/{each.name}/recall": each.recall,
            f"{head}/{each.name}/f1": each.f1,
            f"{head}/{each.name}/auc": each.auc,
        }
    numbers: dict[str, float] = {}
    for name, one in intervals.items():
        if not np.isnan(one.value):
            numbers |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
    return numbers


class ProbeMetrics:
    """Figures of an evaluation during training, merged over ranks."""

    def __init__(self, classes: Mapping[str, int]) -> None:
        self._classes = dict(classes)
        self._rows: dict[str, dict[str, tuple[int, list[float]]]] = {}

    def update(self, outputs: Mapping[str, Any], batch: Batch) -> None:
        """Take in the probabilities of one batch."""
        for place, name in enumerate(self._classes):
            answers, truths = outputs[name].tolist(), batch["targets"][:, place].tolist()
            for file, answer, truth in zip(batch["files"], answers, truths, strict=True):
                self._rows.setdefault(file, {})[name] = (truth, answer)

    def state(self) -> dict[str, Any]:
        """By image: truth and probabilities of each head."""
        return self._rows

    def merge(self, states: Sequence[dict[str, Any]]) -> None:
        """Join the images of all ranks."""
        self._rows = {file: rows for state in states for file, rows in state.items()}

    def compute(self) -> dict[str, float]:
        """Accuracy, balanced accuracy, macro F1, correlation and AUC of each head; `macro_f1` is their mean."""
        figures: dict[str, float] = {}
        for name, classes in self._classes.items():
            rows = [row[name] for row in self._rows.values() if row[name][0] >= 0]
            if not rows:
                continue
            truth = np.array([truth for truth, _ in rows], np.int64)
            answers = np.array([answer for _, answer in rows], np.float32)
            once = np.ones((1, len(rows)))
            for figure, statistic in figures_of(truth, answers.argmax(axis=1), classes).items():
                figures[f"{name}/{figure}"] = float(statistic(once)[0])
            figures[f"{name}/auc"] = float(_mean_auc(truth, answers)(once)[0])
        means = [value for name, value in figures.items() if name.endswith("/macro_f1")]
        return {"macro_f1": float(np.mean(means)) if means else float("nan"), **figures}


def _mean_auc(truth: Labels, probabilities: Probabilities) -> Statistic:
    """Mean over the classes of the area under the curve of each against all others, as scikit-learn's macro `ovr`."""
    each = [area_under_curve(probabilities[:, one], truth == one) for one in range(probabilities.shape[1])]

    def statistic(weights: Floats) -> Floats:
        values = np.stack([one(weights) for one in each])
        there = ~np.isnan(values)
        counts = there.sum(axis=0)
        return np.where(counts > 0, np.where(there, values, 0.0).sum(axis=0) / np.maximum(counts, 1), np.nan)

    return statistic
