"""The demo as one page: findings, curves, time, pictures, figures, the crash."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from snellen.core.files import read_json_lines, write_text
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
        records = list(read_json_lines(learned.folder / "metrics.jsonl"))
        charts = _charts(records) + stacked_bar(_seconds_by_phase(records), unit="s")
        sections.append(Section("Training", text_block(kill) + charts))
    sections.append(Section("Detectors on photos that none has seen", value_table(story.rows)))
    pictures = [Picture(_small(path), caption) for path, caption in story.pictures if path.is_file()]
    sections.append(Section("Predictions of the keypoint detector", gallery(pictures)))
    crash = text_block(story.traceback, preformatted=True) + text_block("\n".join(story.diagnosis), preformatted=True)
    sections.append(Section("A crash, explained", crash))
    path = story.folder / "report.html"
    write_text(path, render_page("Snellen demo", f"The whole story in {seconds:.0f} seconds", sections))
    return path


def _charts(records: list[dict[str, Any]]) -> str:
    losses = [(float(record["step"]), _number(record["loss"])) for record in records if record["kind"] == "train"]
    scores = [
        (float(record["step"]), _number(record["metrics"].get("pixel_f1")))
        for record in records
        if record["kind"] == "val"
    ]
    return line_chart([Series("training loss", losses)], x_label="step", y_label="loss") + line_chart(
        [Series("pixel F1 of forged images, held out", scores)], x_label="step", y_label="pixel F1"
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _seconds_by_phase(records: list[dict[str, Any]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for record in records:
        for phase, seconds in record.get("seconds", {}).items():
            total[phase] = total.get(phase, 0.0) + seconds
    return total


def _small(path: Path) -> bytes:
    with Image.open(path) as picture:
        small = picture.convert("RGB")
        small.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        buffer = io.BytesIO()
        small.save(buffer, format="JPEG", quality=85)
    return buffer.getvalue()
