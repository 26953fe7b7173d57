"""One page about a run: what it said of itself, curves, figures with intervals, confusion, and the worst mistakes."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snellen.config.schema import RunConfig
from snellen.core.files import write_text
from snellen.core.run_folder import RunFolder
from snellen.errors import SnellenError
from snellen.report.chart import Series, line_chart
from snellen.report.html import Picture, Section, gallery, render_page, text_block, value_table
from snellen.report.text import harmless
from snellen.tasks.classify.config import ClassifyRun
from snellen.tasks.classify.evaluate import Answered, answer_split, thumbnail, worst
from snellen.tasks.classify.metrics import by_class, confusion_of, intervals

__all__ = ["write_page"]

PAGE = "report.html"
_MOST_CLASSES = 40
_ALWAYS = {"precision", "resume", "interrupted"}
"""Events of every run; the others are findings."""
_STYLE = (
    "table.confusion{width:auto}table.confusion td{text-align:right;min-width:3em}"
    "table.confusion th.column{writing-mode:vertical-rl}"
)


def write_page(config: RunConfig, folder: Path) -> Path:
    """Write `report.html` into a run's folder.

    Args:
        config: Of the run.
        folder: With its checkpoints.

    Raises:
        SnellenError: Its validation images or its checkpoints cannot be read, or the page cannot be written.
    """
    if not isinstance(config, ClassifyRun):
        raise TypeError(f"expected a ClassifyRun, given {type(config).__name__}")
    with RunFolder.open(folder, lock=False) as run:
        records, events = list(run.metrics()), list(run.events())
    sections = [Section("What it said of itself", _events(events)), Section("Curves", _curves(records))]
    split = "val" if config.data.val is not None else None
    if split is not None:
        sections += _of_split(answer_split(config, folder / "checkpoints", split), split)
    subtitle = f"{config.model.name}, {config.data.train}"
    path = folder / PAGE
    write_text(path, render_page(f"Classification: {folder.name}", harmless(subtitle), sections, style=_STYLE))
    return path


def _events(events: Sequence[Mapping[str, Any]]) -> str:
    said = [one for one in events if one.get("slug") not in _ALWAYS]
    if not said:
        return text_block("Nothing: no rule that watches training found anything.")
    return value_table([{"rule": one.get("slug", ""), "found": harmless(str(one.get("message", "")))} for one in said])


def _curves(records: Sequence[Mapping[str, Any]]) -> str:
    train = [one for one in records if one.get("kind") == "train"]
    val = [one for one in records if one.get("kind") == "val"]
    losses = [
        Series("training loss", [(float(one["step"]), float(one["loss"])) for one in train]),
        Series("validation log loss", [(float(one["step"]), _of(one, "log_loss")) for one in val]),
    ]
    shares = [
        Series("training accuracy", [(float(one["step"]), float(one["logs"]["accuracy"])) for one in train]),
        Series("validation accuracy", [(float(one["step"]), _of(one, "accuracy")) for one in val]),
    ]
    rates = [Series("learning rate", [(float(one["step"]), float(one["lr"])) for one in train])]
    return "".join(
        line_chart([one for one in series if one.points], x_label="step", y_label=label)
        for series, label in ((losses, "loss"), (shares, "accuracy"), (rates, "learning rate"))
    ) + text_block("Training figures are those of varied, and perhaps mixed, images: they may lie below validation.")


def _of(record: Mapping[str, Any], name: str) -> float:
    return float(record["metrics"].get(name, float("nan")))


def _of_split(done: Answered, split: str) -> list[Section]:
    names, answers = done.card.classes.names, done.answers
    if not answers:
        return [Section(f"Figures on data.{split}", text_block("No image could be read."))]
    figures = [
        {"figure": name.replace("_", " "), "value": str(interval), "images": len(answers)}
        for name, interval in intervals(answers, len(names)).items()
    ]
    matrix = confusion_of(answers, len(names))
    pictures = []
    for one in worst(answers):
        caption = f"{names[one.truth]}, answered {names[one.answer]} with {one.confidence:.2f}: {Path(one.file).name}"
        try:
            pictures.append(Picture(thumbnail(one.file), harmless(caption)))
        except SnellenError:
            continue
    absent = done.card.classes.absent
    left = [f"{len(done.problems)} images could not be read."] if done.problems else []
    left += [f"Declared, without a training image, never answered: {', '.join(absent)}."] if absent else []
    return [
        Section(f"Figures on data.{split}, with 95% intervals", value_table(figures) + "".join(map(text_block, left))),
        Section("Classes", value_table(by_class(matrix, names))),
        Section("Confusion", _confusion(matrix, names)),
        Section("Surest mistakes", gallery(pictures) if pictures else text_block("No mistakes.")),
    ]


def _confusion(matrix: npt.NDArray[np.int64], names: Sequence[str]) -> str:
    """Rows are true classes; with many classes, the most frequent confusions as a list."""
    if len(names) > _MOST_CLASSES:
        pairs = [(int(matrix[row, column]), row, column) for row, column in zip(*np.nonzero(matrix), strict=True)]
        wrong = sorted((pair for pair in pairs if pair[1] != pair[2]), reverse=True)[:_MOST_CLASSES]
        return value_table([{"class": names[r], "answered": names[c], "images": count} for count, r, c in wrong])
    head = "".join(f"<th class=column>{html.escape(harmless(name))}</th>" for name in names)
    rows = []
    for number, name in enumerate(names):
        total = max(1, int(matrix[number].sum()))
        cells = "".join(
            f'<td style="background:color-mix(in srgb, var(--{"s2" if number == column else "bad"}) '
            f'{round(100 * count / total)}%, transparent)">{count or ""}</td>'
            for column, count in enumerate(matrix[number].tolist())
        )
        rows.append(f"<tr><th>{html.escape(harmless(name))}</th>{cells}</tr>")
    header = f"<thead><tr><th>is / answered</th>{head}</tr></thead>"
    return f"<table class=confusion>{header}<tbody>{''.join(rows)}</tbody></table>"
