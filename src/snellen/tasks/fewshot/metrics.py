"""Figures of few-shot answers with intervals, and the threshold under which an answer is `Unknown`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from snellen.ops.bootstrap import Interval, area_under_curve, bootstrap, mean_of
from snellen.ops.classification import figures_of
from snellen.ops.few_shot import Labels
from snellen.tasks.fewshot.recognise import Answers

__all__ = ["Chosen", "choose_threshold", "figures", "grid_of", "grid_rows", "thresholded"]

_KEPT: Final = 0.95
"""Right answers that a threshold keeps where no unknown query tells what to reject."""

Picked = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A threshold and where it comes from.

    Args:
        value: Under it a query is `Unknown`.
        why: How it was chosen.
        score: Mean of the share of known queries that are answered right and of unknown ones that are rejected.
    """

    value: float
    why: str
    score: float = float("nan")


def thresholded(answers: Answers, threshold: float, unknown: int) -> Labels:
    """Answers in which a score under the threshold is `Unknown`, whose number is given."""
    return np.where(answers.score < threshold, unknown, answers.label)


def choose_threshold(answers: Answers, picked: Picked, unknown: int) -> Chosen:
    """The threshold that does best on some of the queries.

    With unknown queries among them, it maximises the mean of the share of known queries that are answered right and the
    share of unknown ones that are rejected; without, it keeps 95% of the right answers.

    Args:
        answers: Before any threshold.
        picked: Which queries may be looked at.
        unknown: Number of the class `Unknown`.
    """
    use = picked & (answers.truth >= 0)
    score, known = answers.score[use], answers.truth[use] != unknown
    right = known & (answers.label[use] == answers.truth[use])
    count = f"on {int(use.sum())} validation queries"
    if not right.any():
        return Chosen(0.0, f"{count} none is right: no threshold can be chosen", 0.0)
    if known.all():
        value = float(np.quantile(score[right], 1 - _KEPT, method="lower"))
        kept = float((score[right] >= value).sum() / len(score))
        return Chosen(value, f"keeps {_KEPT:.0%} of the right answers {count}, none of which is unknown", kept)
    values = np.unique(score)
    # In the middle between two scores, and under the lowest: no answer may hang on the last bit of a similarity.
    cuts = np.concatenate([[values[0] - 1e-6], (values[1:] + values[:-1]) / 2, [values[-1] + 1e-6]])
    accepted = right.sum() - np.searchsorted(np.sort(score[right]), cuts, side="left")
    rejected = np.searchsorted(np.sort(score[~known]), cuts, side="left")
    figure = (accepted / known.sum() + rejected / (~known).sum()) / 2
    # Of equal ones the middle: scores of other queries lie around those of these.
    best = np.flatnonzero(figure == figure.max())
    place = best[len(best) // 2]
    return Chosen(float(cuts[place]), f"does best {count}, {int((~known).sum())} of them unknown", float(figure[place]))


def figures(
    answers: Answers, picked: Picked, threshold: float, unknown: int, *, resamples: int = 1000
) -> Mapping[str, Interval]:
    """Figures of some of the queries, with 95% intervals; whole episodes are drawn where there are several.

    Args:
        answers: Before any threshold.
        picked: Of which queries; those without a truth are left out.
        threshold: Under it a query is `Unknown`.
        unknown: Number of the class `Unknown`.
        resamples: Of the bootstrap.

    Returns:
        `accuracy`, `balanced_accuracy`, `macro_f1`, `mcc` with `Unknown` as a class; `closed_accuracy` of queries of
        known classes without a threshold; `answered` the share of those that are not rejected; `unknown_auroc` of the
        score as a sign of the unknown. What cannot be told is left out.
    """
    use = picked & (answers.truth >= 0)
    truth, label, score = answers.truth[use], answers.label[use], answers.score[use]
    if not len(truth):
        return {}
    answer = np.where(score < threshold, unknown, label)
    groups = np.unique(answers.episode[use], return_inverse=True)[1]
    clusters = groups if groups.max() > 0 else None
    statistics = dict(figures_of(truth, answer, unknown + 1))
    found = {name: bootstrap(one, len(truth), groups=clusters, resamples=resamples) for name, one in statistics.items()}
    known = truth != unknown
    if known.any():
        inner = np.unique(groups[known], return_inverse=True)[1] if clusters is not None else None
        for name, values in (("closed_accuracy", label == truth), ("answered", score >= threshold)):
            statistic = mean_of(values[known].astype(np.float64))
            found[name] = bootstrap(statistic, int(known.sum()), groups=inner, resamples=resamples)
    if known.any() and not known.all():
        statistic = area_under_curve(-score, ~known)
        found["unknown_auroc"] = bootstrap(statistic, len(truth), groups=clusters, resamples=resamples)
    return found


def grid_of(cells: Sequence[Answers]) -> tuple[float, ...]:
    """Thresholds to try: under each of them lies another tenth of the similarities.

    Args:
        cells: Answers before any threshold; one grid serves to compare them. Validation queries count, all queries
            where there are none.
    """
    score = np.concatenate([one.score[one.aside] if one.aside.any() else one.score for one in cells])
    if not len(score):
        return ()
    return tuple(float(one) for one in np.unique(np.quantile(score, np.linspace(0, 1, 11)).round(4)))


def grid_rows(answers: Answers, picked: Picked, thresholds: tuple[float, ...], unknown: int) -> list[dict[str, float]]:
    """One row for each threshold, without intervals.

    Args:
        answers: Before any threshold.
        picked: Of which queries; those without a truth are left out.
        thresholds: To try.
        unknown: Number of the class `Unknown`.
    """
    use = picked & (answers.truth >= 0)
    truth, ones = answers.truth[use], np.ones((1, int(use.sum())))
    if not len(truth):
        return []
    rows = []
    for threshold in thresholds:
        answer = thresholded(answers, threshold, unknown)[use]
        row = {name: float(one(ones)[0]) for name, one in figures_of(truth, answer, unknown + 1).items()}
        rows.append({"threshold": threshold, **row, "unknown": float((answer == unknown).mean())})
    return rows
