"""Figures of trained heads on a split, with intervals, and what is left on disk of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snellen.config.schema import RunConfig
from snellen.core.files import write_csv, write_json, write_text
from snellen.data.class_map import ClassMap
from snellen.data.writing import make_folder
from snellen.errors import DataError
from snellen.tasks.base import Evaluation
from snellen.tasks.probe.answers import PREDICTIONS, HeadAnswers, Probed, answer_of
from snellen.tasks.probe.config import ProbeRun, columns_of
from snellen.tasks.probe.data import read_splits
from snellen.tasks.probe.features import FrozenFeatures
from snellen.tasks.probe.labels import targets_of
from snellen.tasks.probe.metrics import figures_by_name, head_figures
from snellen.tasks.probe.model import load_probe
from snellen.tasks.probe.page import render_probe

__all__ = ["evaluate"]


def evaluate(
    config: RunConfig,
    *,
    checkpoints: Path | None,
    split: str,
    limit: int | None = None,
    gallery: Path | None = None,
) -> Evaluation:
    """Evaluate the heads of a trained run; page, record and table lie in its folder, or in `gallery`.

    Raises:
        WeightsError: There is no trained run, or its backbone is another one.
        DataError: The split has no folder; a label is of a class that was not learned.
        RunFolderError: The page cannot be written.
    """
    if not isinstance(config, ProbeRun):
        raise TypeError(f"expected a ProbeRun, given {type(config).__name__}")
    features = FrozenFeatures(config)
    net, notes = load_probe(checkpoints, features.embedder)
    parts, said = read_splits(config, (split,))
    if split not in parts:
        raise DataError(f"there is no split {split!r} to evaluate on", hint=f"set data.{split} in the run file")
    part = parts[split]
    unknown = [name for name in net.classes if name not in part.labels]
    if unknown:
        raise DataError(f"the run was trained with the heads {', '.join(net.classes)}; {', '.join(unknown)} is missing")
    targets = targets_of(part, net.classes)
    vectors = features.of(part.images[:limit])
    place = {image: row for row, image in enumerate(part.images)}
    targets = targets[[place[image] for image in vectors.images]]
    answers = net.probabilities(vectors.matrix)
    heads = tuple(
        _answers(name, classes, targets[:, column], answers[name], config.seed)
        for column, (name, classes) in enumerate(net.classes.items())
    )
    notes = (*notes, *said, *vectors.notes, *(f"left out: {one.sentence}" for one in vectors.unread))
    card = net.card
    probed = Probed(split, f"{card['backbone']}, fingerprint {card['fingerprint']}", vectors, heads, notes)
    where = gallery or (checkpoints.parent / f"evaluation-{split}" if checkpoints is not None else None)
    rows = [_row(probed, row) for row in range(len(vectors.images))]
    metrics = _metrics(probed)
    if where is not None:
        _write(probed, rows, metrics, where)
        notes = (*notes, f"wrote {where / 'report.html'}")
    return Evaluation(metrics, rows, notes)


def _answers(
    name: str, classes: ClassMap, truth: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float32], seed: int
) -> HeadAnswers:
    labelled = truth >= 0
    found = head_figures(truth[labelled], probabilities[labelled], classes, seed=seed) if labelled.any() else None
    return HeadAnswers(name, classes, truth, probabilities, found)


def _metrics(probed: Probed) -> dict[str, float]:
    numbers: dict[str, float] = {"images": float(len(probed.vectors.images))}
    for head in probed.heads:
        if head.figures is not None:
            numbers |= figures_by_name(head.name, head.figures)
    return numbers


def _row(probed: Probed, row: int) -> dict[str, Any]:
    found: dict[str, Any] = {"image": probed.vectors.images[row]}
    for head in probed.heads:
        truth = int(head.truth[row])
        answer, probability = answer_of(head.classes, head.probabilities[row])
        found |= {
            f"{head.name}_truth": head.classes.names[truth] if truth >= 0 else None,
            head.name: answer,
            f"{head.name}_probability": round(probability, 6),
        }
    return found


def _write(probed: Probed, rows: list[dict[str, Any]], metrics: Mapping[str, float], where: Path) -> None:
    make_folder(where)
    columns = columns_of([one.name for one in probed.heads], truth=True)
    write_csv(where / PREDICTIONS, columns, ([one[name] for name in columns] for one in rows))
    record = {
        "split": probed.split,
        "backbone": probed.backbone,
        "metrics": metrics,
        "heads": {
            one.name: {
                "classes": list(one.classes.names),
                "absent": list(one.classes.absent),
                "confusion": [] if one.figures is None else one.figures.matrix.tolist(),
            }
            for one in probed.heads
        },
        "unread": [{"image": one.name, "reason": one.reason} for one in probed.vectors.unread],
        "notes": list(probed.notes),
    }
    write_json(where / "evaluation.json", record)
    write_text(where / "report.html", render_probe(probed))
