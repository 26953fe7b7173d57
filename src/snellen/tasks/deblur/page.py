"""Pages about a run and about what it made of videos: curves, figures, strips, and before and after under a slider."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from snellen.config.schema import RunConfig
from snellen.core.files import write_text
from snellen.core.run_folder import RunFolder
from snellen.data.reading import read_image
from snellen.errors import SnellenError
from snellen.report.chart import Series, line_chart, stacked_bar
from snellen.report.html import Picture, Section, gallery, render_page, text_block, value_table
from snellen.report.text import harmless
from snellen.tasks.deblur.config import DeblurRun
from snellen.tasks.deblur.metrics import FIGURES

__all__ = ["before_after", "prediction_page", "write_page"]

PAGE = "report.html"
_WIDEST = 960
_MOST = 12
_GAP = 4
_STYLE = (
    ".gallery{grid-template-columns:1fr}.compare{position:relative;display:inline-block;max-width:100%;line-height:0;"
    "container-type:inline-size}.compare>img{width:100%;display:block}.compare>div{position:absolute;"
    "inset:0 auto 0 0;width:50%;min-width:12px;max-width:100%;overflow:hidden;resize:horizontal;"
    "border-right:2px solid var(--s1)}.compare>div>img{width:100cqw;max-width:none;display:block}"
)


def write_page(config: RunConfig, folder: Path) -> Path:
    """Write `report.html` into a run's folder.

    Raises:
        SnellenError: The folder cannot be read, or the page cannot be written.
    """
    if not isinstance(config, DeblurRun):
        raise TypeError(f"expected a DeblurRun, given {type(config).__name__}")
    with RunFolder.open(folder, lock=False) as run:
        records = list(run.metrics())
    train = [one for one in records if one.get("kind") == "train"]
    val = [one for one in records if one.get("kind") == "val"]
    sections = [Section("Curves", _curves(train, val)), Section("Where the time went", _times(train))]
    recoveries = [one for one in records if one.get("kind") == "recovery"]
    if recoveries:
        names = ("step", "action", "slowed", "culprit")
        rows = [{name: one.get(name) for name in names} | {"first file": one["files"][0]} for one in recoveries]
        sections.insert(1, Section("Steps that were not finite, and what was done", value_table(rows)))
    if val:
        last = val[-1]["metrics"]
        figures = [{"figure": name, "mean over frames": last.get(name)} for name in (*FIGURES, "frames")]
        sections.append(Section("Last validation", value_table(figures)))
    sections.append(Section("Blurred, restored, sharp", _strips(folder / "samples")))
    spikes = "without spikes" if config.model.spikes == "none" else f"spikes by {config.model.spikes}"
    title = harmless(f"{config.model.name}, {spikes}, {config.data.train}")
    path = folder / PAGE
    write_text(path, render_page(f"Deblurring: {folder.name}", title, sections, style=_STYLE))
    return path


def prediction_page(out: Path, records: Sequence[Mapping[str, Any]], problems: Sequence[str]) -> Path:
    """Write `report.html` beside predictions: every video, and before and after of some of its frames."""
    rows = [
        {
            "video": harmless(str(one.get("name"))),
            "frames": one.get("frames"),
            "size": " x ".join(map(str, reversed(one.get("size", [])))),
            "frames per second": one.get("frames_per_second"),
        }
        for one in records
    ]
    pictures = []
    for path in sorted((out / "strips").glob("*.png"))[:_MOST]:
        try:
            both = read_image(path).pixels
        except SnellenError:
            continue
        width = (both.shape[1] - _GAP) // 2
        pictures.append(before_after(both[:, :width], both[:, width + _GAP :], path.stem))
    sections = [Section("Videos", value_table(rows))]
    if pictures:
        hint = text_block("Drag the right lower corner of the left image: blurred to its left, restored to its right.")
        sections.append(Section("Before and after", hint + "".join(pictures)))
    notes = [f"{one.get('name')}: {note}" for one in records for note in one.get("notes", ())]
    if notes:
        sections.append(Section("To be known", "".join(text_block(harmless(one)) for one in notes)))
    if problems:
        sections.append(Section("Passed over", "".join(text_block(harmless(one)) for one in problems)))
    path = out / PAGE
    write_text(path, render_page("Deblurred videos", harmless(str(out)), sections, style=_STYLE))
    return path


def before_after(before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8], caption: str) -> str:
    """Two images on top of each other under a divider that can be dragged; styles alone, no script.

    Example:
        >>> grey = np.zeros((8, 8, 3), np.uint8)
        >>> "<script" in before_after(grey, grey, "frame 1")
        False
    """
    under, over = (base64.b64encode(_jpeg(image)).decode() for image in (after, before))
    text = html.escape(harmless(caption))
    # The image on top is as wide as the whole (100cqw), whatever of it is shown.
    width = min(_WIDEST, before.shape[1])
    return (
        f'<figure><div class=compare style="width:{width}px">'
        f'<img src="data:image/jpeg;base64,{under}" alt="{text}, restored" width={width}>'
        f'<div><img src="data:image/jpeg;base64,{over}" alt="{text}, blurred"></div></div>'
        f"<figcaption>{text}</figcaption></figure>"
    )


def _jpeg(image: npt.NDArray[np.uint8]) -> bytes:
    if image.shape[1] > _WIDEST:
        height = max(1, round(image.shape[0] * _WIDEST / image.shape[1]))
        image = np.asarray(cv2.resize(image, (_WIDEST, height), interpolation=cv2.INTER_AREA), np.uint8)
    encoded = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
    return bytes(encoded.tobytes())


def _curves(train: Sequence[Mapping[str, Any]], val: Sequence[Mapping[str, Any]]) -> str:
    losses = [Series("loss", [(float(one["step"]), _number(one.get("loss"))) for one in train])]
    psnr = [
        Series("restored", [(float(one["step"]), _number(one["metrics"].get("psnr"))) for one in val]),
        Series("blurred input", [(float(one["step"]), _number(one["metrics"].get("input_psnr"))) for one in val]),
    ]
    gain = [
        Series("crops of training", [(float(one["step"]), _number(one["logs"].get("train_gain"))) for one in train])
    ]
    marks = [(float(one["step"]), float(bool(one.get("non_finite")))) for one in train]
    bad = [Series("steps that were not finite", marks)]
    return "".join(
        f"<h3>{html.escape(label)}</h3>"
        + line_chart([one for one in series if one.points], x_label="step", y_label=label)
        for series, label in (
            (losses, "training loss"),
            (psnr, "PSNR of validation, dB"),
            (gain, "gain over the blurred crops, dB"),
            (bad, "not finite: 1 where loss or gradient was NaN or infinite"),
        )
    )


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _times(train: Sequence[Mapping[str, Any]]) -> str:
    total: dict[str, float] = {}
    for one in train:
        for name, seconds in one.get("seconds", {}).items():
            total[name] = total.get(name, 0.0) + float(seconds)
    return stacked_bar(total, unit="s")


def _strips(folder: Path) -> str:
    pictures = []
    for path in sorted(folder.glob("*.png"))[:_MOST] if folder.is_dir() else ():
        try:
            pictures.append(Picture(_jpeg(read_image(path).pixels), harmless(path.stem)))
        except SnellenError:
            continue
    return gallery(pictures) if pictures else text_block("No validation has run.")
