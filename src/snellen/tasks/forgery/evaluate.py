"""Figures of any forgery detector on a split, with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from snellen.config.schema import RunConfig
from snellen.errors import DataError
from snellen.models.forgery.detection import ForgeryDetector
from snellen.report.progress import track
from snellen.tasks.base import Evaluation
from snellen.tasks.forgery.bootstrap import Interval
from snellen.tasks.forgery.config import ForgeryRun
from snellen.tasks.forgery.data import ForgerySample, load_sample, samples_of
from snellen.tasks.forgery.metrics import ForgeryMetrics, ForgerySummary
from snellen.tasks.forgery.model import build_detector

__all__ = ["evaluate", "evaluate_detector", "summary_figures"]


def evaluate_detector(
    detector: ForgeryDetector, samples: Iterable[ForgerySample], *, max_pixels: int
) -> tuple[ForgeryMetrics, list[str]]:
    """Run a detector over samples; what cannot be read is left out and named.

    Args:
        detector: Any.
        samples: Images with their truth.
        max_pixels: Larger images are left out.

    Returns:
        The collected metrics, and a sentence for each image left out.
    """
    metrics, problems = ForgeryMetrics(), []
    for sample in track(list(samples), description=f"evaluate {detector.name}"):
        try:
            image, truth = load_sample(sample, max_pixels=max_pixels)
        except DataError as error:
            problems.append(error.message)
            continue
        found = detector.detect(image)
        metrics.update(sample.name, mask=found.mask, heatmap=found.heatmap, truth=truth, score=found.score)
    return metrics, problems


def summary_figures(summary: ForgerySummary) -> dict[str, float]:
    """The figures of a summary by name; those of an interval with `_low` and `_high`."""
    intervals: dict[str, Interval] = {
        **{f"pixel_{name}": interval for name, interval in summary.mean_forged.items()},
        **{f"pixel_{name}_pooled": interval for name, interval in summary.pooled.items()},
        "pixel_f1_all": summary.mean["f1"],
        "image_f1": summary.image_f1,
        "image_auc": summary.image_auc,
        "detection_rate": summary.detection_rate,
        "false_alarm_rate": summary.false_alarm_rate,
    }
    figures = {"images": float(summary.images), "forged": float(summary.forged)}
    for name, interval in intervals.items():
        if not math.isnan(interval.value):
            figures |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    if summary.sweep is not None:
        figures["best_threshold"] = summary.sweep.best_threshold
    return figures


def evaluate(config: RunConfig, *, checkpoints: Path | None, split: str, limit: int | None) -> Evaluation:
    """Evaluate the detector of a run file on one split.

    Raises:
        DataError: The split has no folder, or nothing in it can be scored.
        WeightsError: A network without trained weights.
    """
    if not isinstance(config, ForgeryRun):
        raise TypeError(f"expected a ForgeryRun, given {type(config).__name__}")
    samples = samples_of(getattr(config.data, split, None), key=f"data.{split}")[:limit]
    detector = build_detector(config.model, checkpoints=checkpoints)
    metrics, problems = evaluate_detector(detector, samples, max_pixels=int(config.model.max_pixels))
    if not metrics.rows:
        raise DataError(f"none of {len(samples)} images of data.{split} could be scored: {problems[0]}")
    rows: list[dict[str, Any]] = [
        {
            "image": row.name,
            "forged": row.forged,
            "flagged": row.flagged,
            "score": row.score,
            **dict(row.scores.items()),
        }
        for row in metrics.rows
    ]
    notes = [f"left out: {problem}" for problem in problems]
    return Evaluation(summary_figures(metrics.compute()), rows, notes)
