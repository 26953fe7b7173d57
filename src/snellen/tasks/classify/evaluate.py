"""Figures of a trained classifier on a split, with intervals, each class on its own, and the worst mistakes."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from snellen.config.schema import RunConfig
from snellen.core.files import write_bytes
from snellen.data.pictures import read_picture
from snellen.data.sources import image_ref
from snellen.data.writing import make_folder
from snellen.engine.embedding import features_of
from snellen.errors import UsageError
from snellen.report.progress import Throughput
from snellen.tasks.base import Evaluation
from snellen.tasks.classify.config import ClassifyRun
from snellen.tasks.classify.data import list_labelled
from snellen.tasks.classify.metrics import Answer, answers_of, by_class, confusion_of, intervals, points
from snellen.tasks.classify.model import Card, answer_settings, load_answerer, load_card

__all__ = ["Answered", "answer_split", "evaluate", "thumbnail", "worst"]

_SIDE = 192
_WORST = 12


@dataclass(frozen=True, slots=True)
class Answered:
    """A split with what the classifier answered.

    Args:
        answers: One for each image that could be read.
        problems: A sentence for each of the others.
        card: Of the classifier.
    """

    answers: list[Answer]
    problems: list[str]
    card: Card


def answer_split(config: ClassifyRun, checkpoints: Path | None, split: str, *, limit: int | None = None) -> Answered:
    """Ask the trained classifier about every image of a split.

    Raises:
        UsageError: There is no run to evaluate.
        DataError: The split is missing, or has labels that the classifier has not learned.
    """
    if checkpoints is None:
        raise UsageError(
            "a run file alone has no trained classifier",
            hint="train first, then give the run's folder: snellen train RUN.yaml",
            slug="missing-checkpoint",
        )
    answerer, card = load_answerer(checkpoints), load_card(checkpoints)
    samples = list_labelled(config.data, split, card.classes)[:limit]
    refs = {image_ref(sample.path).name: sample for sample in samples}
    taken = itertools.count(1)
    with Throughput(f"evaluate {split}", total=len(samples)) as bar:
        found = features_of(
            (image_ref(sample.path) for sample in samples), answerer, settings=answer_settings(),
            watch=lambda: bar(next(taken)),
        )  # fmt: skip
    known = [refs[name] for name in found.names]
    answers = answers_of(torch.from_numpy(found.vectors), [one.label for one in known], [one.path for one in known])
    return Answered(answers, [one.sentence for one in found.unread], card)


def worst(answers: Sequence[Answer], limit: int = _WORST) -> list[Answer]:
    """The mistakes of which the classifier was surest."""
    wrong = [one for one in answers if one.answer != one.truth]
    return sorted(wrong, key=lambda one: (-one.confidence, one.file))[:limit]


def thumbnail(path: str) -> bytes:
    """A small JPEG of an image file; small images are enlarged without smoothing.

    Raises:
        DataError: It cannot be read.
    """
    image = read_picture(path).image.convert("RGBA").convert("RGB")
    scale = _SIDE / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    content = io.BytesIO()
    image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX).save(
        content, "JPEG", quality=80
    )
    return content.getvalue()


def evaluate(
    config: RunConfig,
    *,
    checkpoints: Path | None,
    split: str,
    limit: int | None = None,
    gallery: Path | None = None,
) -> Evaluation:
    """Evaluate the trained classifier of a run on one split.

    Raises:
        UsageError: There is no run to evaluate.
        DataError: The split is missing, nothing in it can be read, or it has labels that were not learned.
    """
    if not isinstance(config, ClassifyRun):
        raise TypeError(f"expected a ClassifyRun, given {type(config).__name__}")
    done = answer_split(config, checkpoints, split, limit=limit)
    answers, names = done.answers, done.card.classes.names
    if not answers:
        raise UsageError(f"none of the images of data.{split} could be read: {done.problems[0]}", slug="corrupt-image")
    figures = points(answers, len(names))
    for name, interval in intervals(answers, len(names)).items():
        figures |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    rows = [
        {
            "image": one.file,
            "class": names[one.truth],
            "answer": names[one.answer],
            "confidence": round(one.confidence, 4),
            "right": one.answer == one.truth,
        }
        for one in answers
    ]
    notes = [f"left out: {problem}" for problem in done.problems]
    mistakes = worst(answers)
    notes += [_sentence(one, names) for one in mistakes[:5]]
    if gallery is not None:
        notes.append(f"{_write_gallery(mistakes, names, gallery)} pictures of the worst mistakes in {gallery}")
    matrix = confusion_of(answers, len(names))
    tables = {
        "classes": by_class(matrix, names),
        "confusion": [
            dict(zip(("class", *names), (name, *row), strict=True))
            for name, row in zip(names, matrix.tolist(), strict=True)
        ],
    }
    return Evaluation(figures, rows, notes, tables)


def _sentence(one: Answer, names: Sequence[str]) -> str:
    return f"look at {one.file}: {names[one.truth]} answered as {names[one.answer]} with {one.confidence:.2f}"


def _write_gallery(mistakes: Sequence[Answer], names: Sequence[str], folder: Path) -> int:
    make_folder(folder)
    for rank, one in enumerate(mistakes, start=1):
        said = f"{names[one.truth]}-as-{names[one.answer]}".replace("/", "-")
        write_bytes(folder / f"{rank:02d}-{said}.jpg", thumbnail(one.file))
    return len(mistakes)
