"""Figures of any forgery detector on a split, with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from snellen.config.schema import RunConfig
from snellen.data.writing import make_folder, write_png
from snellen.errors import DataError
from snellen.models.forgery.detection import ForgeryDetector
from snellen.ops.bootstrap import Interval
from snellen.report.overlay import draw_overlay
from snellen.report.progress import track
from snellen.tasks.base import Evaluation
from snellen.tasks.forgery.config import ForgeryRun
from snellen.tasks.forgery.data import ForgerySample, load_sample, samples_of
from snellen.tasks.forgery.metrics import ForgeryMetrics, ForgerySummary
from snellen.tasks.forgery.model import build_detector

__all__ = ["evaluate", "evaluate_detector", "summary_figures", "write_gallery"]


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


def write_gallery(
    detector: ForgeryDetector,
    samples: Sequence[ForgerySample],
    metrics: ForgeryMetrics,
    folder: Path,
    *,
    max_pixels: int,
) -> list[Path]:
    """Draw the worst errors of each kind, the true outline in green.

    Args:
        detector: The one that `metrics` are of; it is run once more on the images that are drawn.
        samples: Those it was evaluated on.
        metrics: What was collected.
        folder: Pictures are named by kind and rank, `miss-1-NAME.png`.
        max_pixels: Larger images were left out before.

    Returns:
        The pictures.
    """
    by_name = {sample.name: sample for sample in samples}
    errors = metrics.gallery()
    make_folder(folder)
    written = []
    for kind, rows in (("false-alarm", errors.false_alarms), ("miss", errors.misses), ("poor-mask", errors.poor_masks)):
        for rank, row in enumerate(rows, start=1):
            image, truth = load_sample(by_name[row.name], max_pixels=max_pixels)
            found = detector.detect(image)
            pairs = [(pair.source.box, pair.copy.box, pair.matches) for pair in found.regions]
            path = folder / f"{kind}-{rank}-{row.name.replace('/', '-')}.png"
            write_png(path, draw_overlay(image, mask=found.mask, pairs=pairs, score=found.score, truth=truth))
            written.append(path)
    return written


def evaluate(
    config: RunConfig,
    *,
    checkpoints: Path | None,
    split: str,
    limit: int | None = None,
    gallery: Path | None = None,
) -> Evaluation:
    """Evaluate the detector of a run file on one split.

    Raises:
        DataError: The split has no folder, or nothing in it can be scored.
        WeightsError: A network without trained weights.
    """
    if not isinstance(config, ForgeryRun):
        raise TypeError(f"expected a ForgeryRun, given {type(config).__name__}")
    samples = samples_of(getattr(config.data, split, None), key=f"data.{split}")[:limit]
    detector = build_detector(config.model, checkpoints=checkpoints)
    max_pixels = int(config.model.max_pixels)
    metrics, problems = evaluate_detector(detector, samples, max_pixels=max_pixels)
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
    if gallery is not None:
        pictures = write_gallery(detector, samples, metrics, gallery, max_pixels=max_pixels)
        notes.append(f"{len(pictures)} pictures of the worst errors in {gallery}")
    return Evaluation(summary_figures(metrics.compute()), rows, notes)
