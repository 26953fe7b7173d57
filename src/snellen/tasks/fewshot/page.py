"""One page about an evaluation: figures, grid, matrices, the worst mistakes as pictures, and what was not read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from snellen.ops.classification import binary_matrices
from snellen.report.chart import Series, line_chart
from snellen.report.html import Picture, Section, gallery, render_page, text_block, value_table
from snellen.report.text import harmless
from snellen.tasks.fewshot.gallery import Mistake
from snellen.tasks.fewshot.grid import Cell, Outcome
from snellen.tasks.fewshot.records import matrix_of

__all__ = ["render_evaluation"]

_MOST_CLASSES: Final = 24
_MOST_ROWS: Final = 200
_NAMES: Final = ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "closed_accuracy", "answered", "unknown_auroc")


def render_evaluation(outcome: Outcome, wrong: Sequence[Mistake]) -> str:
    """The page as HTML.

    Args:
        outcome: What was found.
        wrong: The worst mistakes.
    """
    best = outcome.best
    charts = [
        line_chart(
            [
                Series(cell.name, [(row["threshold"], row["accuracy"]) for row in cell.grid])
                for cell in outcome.cells
                if cell.answers.backbone == best.answers.backbone and cell.answers.method == best.answers.method
            ],
            x_label="threshold",
            y_label="accuracy",
        )
    ]
    sections = [
        Section("Figures", text_block(_sentence(outcome)) + value_table(_rows(outcome.cells))),
        Section(
            "Notes", "".join(text_block(harmless(one)) for one in outcome.notes[:_MOST_ROWS]) or text_block("None.")
        ),
        Section(
            "Worst mistakes",
            text_block("The query has the red frame; the examples beside it are those that it is most similar to.")
            + gallery([Picture(one.picture, one.caption) for one in wrong])
            if wrong
            else text_block("None."),
        ),
        *_matrices(outcome),
        # The longest table is the last.
        Section(
            "Shots and thresholds",
            text_block("Accuracy by threshold, `Unknown` counted as a class.")
            + charts[0]
            + value_table(
                [
                    {"method": cell.answers.method, "shots": cell.answers.shots, **row}
                    for cell in outcome.cells
                    if cell.answers.backbone == best.answers.backbone
                    for row in cell.grid
                ][:_MOST_ROWS]
            ),
        ),
    ]
    subtitle = f"{outcome.embedded.backbone}, {len(outcome.classes) - 1} classes, {len(outcome.data.episodes)} episodes"
    return render_page("Few-shot recognition", subtitle, sections)


def _sentence(outcome: Outcome) -> str:
    best = outcome.best
    better = "; ".join(f"{one} more known queries right than {name}" for name, one in outcome.against.items())
    return (
        f"Best on the validation queries: {best.name}, threshold {best.chosen.value:.4f} ({best.chosen.why}). "
        f"Figures are of the test queries, with 95% intervals{f'; {better}' if better else ''}."
    )


def _rows(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """A row for each cell; figures that none of them has are left out."""
    names = [name for name in _NAMES if any(name in cell.figures for cell in cells)]
    return [_row(cell, names) for cell in cells]


def _row(cell: Cell, names: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "backbone": cell.answers.backbone,
        "method": cell.answers.method,
        "shots": cell.answers.shots,
        "threshold": cell.chosen.value,
    }
    return row | {name: str(cell.figures[name]) if name in cell.figures else "" for name in names}


def _matrices(outcome: Outcome) -> list[Section]:
    matrix = matrix_of(outcome.best, outcome.classes)
    there = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1))
    binary = binary_matrices(matrix)
    counts = [
        {
            "class": harmless(outcome.classes[number]),
            "right": int(binary[number, 1, 1]),
            "missed": int(binary[number, 1, 0]),
            "wrongly_answered": int(binary[number, 0, 1]),
            "rightly_not": int(binary[number, 0, 0]),
        }
        for number in there[:_MOST_ROWS]
    ]
    sections = [Section("Each class against all others", value_table(counts))]
    if len(there) <= _MOST_CLASSES:
        names = [harmless(outcome.classes[number]) for number in there]
        rows = [
            {"truth": name, **{f"{column}": int(matrix[one, two]) for column, two in zip(names, there, strict=True)}}
            for name, one in zip(names, there, strict=True)
        ]
        sections.insert(
            0, Section("Confusion", text_block("Rows are the truth, columns the answers.") + value_table(rows))
        )
    return sections
