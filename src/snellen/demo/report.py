"""The demo as one page: findings, curves, time, pictures, figures, the crash."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from snellen.core.files import write_text
from snellen.report.chart import Series, line_chart, stacked_bar
from snellen.report.html import Picture, Section, findings_block, gallery, render_page, text_block, value_table

if TYPE_CHECKING:
    from snellen.demo.story import Story

__all__ = ["write_report"]

_LONGEST_SIDE = 480


def write_report(story: Story, *, seconds: float) -> Path:
    """Write `report.html` into the demo's folder and return its path."""
    sections = []
    if story.before is not None:
        sections.append(Section("Seven planted mistakes, found before training", findings_block(story.before.results)))
    sections.append(Section("Mended", text_block("\n".join(story.mended), preformatted=True)))
    if story.learned is not None:
        learned = story.learned
        kill = f"Killed with SIGKILL after step {learned.killed_at}, resumed, finished at step {learned.steps}."
        records = list(_records(learned.folder / "metrics.jsonl"))
        charts = _charts(records) + stacked_bar(learned.seconds_by_phase, unit="s")
        sections.append(Section("Training", text_block(kill) + charts))
    sections.append(Section("Detectors on photos that none has seen", value_table(story.rows)))
    pictures = [Picture(_small(path), caption) for path, caption in story.pictures if path.is_file()]
    sections.append(Section("Predictions of the keypoint detector", gallery(pictures)))
    crash = text_block(story.traceback, preformatted=True) + text_block("\n".join(story.diagnosis), preformatted=True)
    sections.append(Section("A crash, explained", crash))
    path = story.folder / "report.html"
    write_text(path, render_page("Snellen demo", f"The whole story in {seconds:.0f} seconds", sections))
    return path


def _records(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def _charts(records: list[dict[str, Any]]) -> str:
    charts = []
    for name, label in (("loss", "training loss"), ("pixel_f1", "pixel F1 of forged images, held out")):
        points = [
            (float(record["step"]), math.nan if record[name] is None else float(record[name]))
            for record in records
            if name in record
        ]
        if points:
            charts.append(line_chart([Series(label, points)], x_label="step", y_label=label))
    return "".join(charts)


def _small(path: Path) -> bytes:
    with Image.open(path) as picture:
        small = picture.convert("RGB")
        small.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        buffer = io.BytesIO()
        small.save(buffer, format="JPEG", quality=85)
    return buffer.getvalue()
