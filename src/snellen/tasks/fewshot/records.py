"""What an evaluation leaves on disk: one row for each query, and one record of everything."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from snellen.core.files import read_json, write_text
from snellen.errors import DataError, RunFolderError
from snellen.ops.bootstrap import Interval
from snellen.ops.classification import binary_matrices, confusion
from snellen.tasks.fewshot.episodes import Episode
from snellen.tasks.fewshot.grid import Cell, Outcome
from snellen.tasks.fewshot.metrics import thresholded
from snellen.tasks.fewshot.recognise import Answers

__all__ = ["matrix_of", "read_choice", "record_of", "rows_of", "write_predictions", "write_rows"]

_MOST_CLASSES: Final = 200
"""Of more classes the record holds no matrix: it would have more cells than queries."""
_COLUMNS: Final = ("image", "episode", "part", "truth", "answer", "score", "margin", "best", "second")


def rows_of(answers: Answers, classes: Sequence[str], threshold: float) -> list[dict[str, Any]]:
    """One row for each test query.

    Args:
        answers: Before the threshold.
        classes: Names by number, `Unknown` last.
        threshold: Under it a query is `Unknown`.
    """
    final = thresholded(answers, threshold, len(classes) - 1)
    return [
        {
            "image": query.image,
            "truth": classes[answers.truth[number]] if answers.truth[number] >= 0 else "",
            "answer": classes[final[number]],
            "score": round(float(answers.score[number]), 6),
            "margin": round(float(answers.margin[number]), 6),
            "best": classes[answers.label[number]],
            "second": classes[answers.second_label[number]] if answers.second_label[number] >= 0 else "",
        }
        for number, query in enumerate(answers.queries)
        if not answers.aside[number]
    ]


def write_predictions(
    path: Path, answers: Answers, classes: Sequence[str], threshold: float, episodes: Sequence[Episode]
) -> None:
    """Write one row for each query, those that served to choose the threshold included.

    Raises:
        RunFolderError: The file cannot be written.
    """
    final = thresholded(answers, threshold, len(classes) - 1)
    write_rows(
        path,
        _COLUMNS,
        (
            (
                query.image,
                episodes[answers.episode[number]].name,
                "validation" if answers.aside[number] else "test",
                classes[answers.truth[number]] if answers.truth[number] >= 0 else "",
                classes[final[number]],
                f"{answers.score[number]:.6f}",
                f"{answers.margin[number]:.6f}",
                classes[answers.label[number]],
                classes[answers.second_label[number]] if answers.second_label[number] >= 0 else "",
            )
            for number, query in enumerate(answers.queries)
        ),
    )


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table.

    Raises:
        RunFolderError: The file cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows(rows)
    write_text(path, text.getvalue().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


def matrix_of(cell: Cell, classes: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Counts of the test queries by true class and answer."""
    answers = cell.answers
    use = ~answers.aside & (answers.truth >= 0)
    final = thresholded(answers, cell.chosen.value, len(classes) - 1)
    return confusion(answers.truth[use], final[use], len(classes))


def record_of(outcome: Outcome) -> dict[str, Any]:
    """Everything that was found, as plain data; the same for the same files, whatever the batches and workers were."""
    best = outcome.best
    matrix = matrix_of(best, outcome.classes)
    small = len(outcome.classes) <= _MOST_CLASSES
    return {
        "backbone": outcome.embedded.backbone,
        "fingerprint": outcome.embedded.fingerprint,
        "classes": list(outcome.classes),
        "episodes": len(outcome.data.episodes),
        "best": _cell(best),
        "better_than": {name: _interval(one) for name, one in outcome.against.items()},
        "confusion": matrix.tolist() if small else None,
        "binary": {name: one.tolist() for name, one in zip(outcome.classes, binary_matrices(matrix), strict=True)}
        if small
        else None,
        "cells": [{**_cell(cell), "grid": list(cell.grid)} for cell in outcome.cells],
        "unread": [{"image": one.name, "reason": one.reason} for one in outcome.embedded.unread],
        "notes": list(outcome.notes),
    }


def read_choice(path: Path, fingerprint: str) -> tuple[float, str, int]:
    """Threshold, method and shots that an evaluation chose.

    Args:
        path: Its record.
        fingerprint: Of the backbone that is to be used now.

    Raises:
        DataError: There is no such record, or it is of another backbone.
    """
    again = "snellen evaluate RUN.yaml --split test; or set recognition.threshold"
    try:
        record = read_json(path)
        best = record["best"]
        found, chosen = str(record["fingerprint"]), (float(best["threshold"]), str(best["method"]), int(best["shots"]))
    except (RunFolderError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"no threshold was chosen yet: {path} holds no evaluation", hint=again) from error
    if found != fingerprint:
        raise DataError(
            f"{path} is of the backbone {record.get('backbone')} ({found}), expected {fingerprint}", hint=again
        )
    return chosen


def _cell(cell: Cell) -> dict[str, Any]:
    answers = cell.answers
    return {
        "backbone": answers.backbone,
        "method": answers.method,
        "shots": answers.shots,
        "queries": int((~answers.aside & (answers.truth >= 0)).sum()),
        "validation_queries": int((answers.aside & (answers.truth >= 0)).sum()),
        "threshold": round(cell.chosen.value, 9),
        "threshold_why": cell.chosen.why,
        "figures": {name: _interval(one) for name, one in cell.figures.items()},
    }


def _interval(one: Interval) -> list[float | None]:
    return [None if math.isnan(value) else round(value, 9) for value in (one.value, one.low, one.high)]
