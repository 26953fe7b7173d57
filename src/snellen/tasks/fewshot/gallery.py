"""The worst mistakes as pictures: a query beside the examples that it was found most similar to."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from snellen.core.facts.data import Sample
from snellen.core.files import write_bytes
from snellen.data.pictures import read_picture
from snellen.errors import SnellenError
from snellen.ops.few_shot import Vectors
from snellen.report.text import harmless
from snellen.tasks.fewshot.episodes import FewShotSet
from snellen.tasks.fewshot.metrics import thresholded
from snellen.tasks.fewshot.model import Embedded
from snellen.tasks.fewshot.recognise import Answers, neighbours

__all__ = ["Mistake", "mistakes", "write_pictures"]

_MOST: Final = 24
_SUPPORTS: Final = 3
_SIDE: Final = 128
_GAP: Final = 6
_MOST_PIXELS: Final = 60_000_000
_QUERY: Final = (180, 40, 40)
_SUPPORT: Final = (200, 200, 200)


@dataclass(frozen=True, slots=True)
class Mistake:
    """A query that was answered wrongly.

    Args:
        image: Its file.
        caption: Truth, answer, similarity, and what the examples beside it are.
        picture: PNG: the query framed, then the examples.
    """

    image: str
    caption: str
    picture: bytes


def mistakes(
    answers: Answers,
    data: FewShotSet,
    embedded: Embedded,
    threshold: float,
    classes: Sequence[str],
    *,
    centre: Vectors | None = None,
) -> list[Mistake]:
    """The wrong answers that were given most surely, by their margin; each image once.

    Args:
        answers: Before the threshold.
        data: What was compared.
        embedded: Its vectors.
        threshold: Under it a query is `Unknown`.
        classes: Names by number, `Unknown` last.
        centre: Was subtracted from every vector.
    """
    final = thresholded(answers, threshold, len(classes) - 1)
    wrong = np.flatnonzero(~answers.aside & (answers.truth >= 0) & (final != answers.truth))
    # Rejected ones last: there the margin says nothing.
    order = wrong[np.lexsort((wrong, -answers.margin[wrong], final[wrong] == len(classes) - 1))]
    shown: dict[str, int] = {}
    for number in order:
        shown.setdefault(answers.queries[number].image, int(number))
        if len(shown) == _MOST:
            break
    found = []
    for number in shown.values():
        query, episode = answers.queries[number], data.episodes[answers.episode[number]]
        what = f"{query.label}, answered {classes[final[number]]}"
        beside = neighbours(episode, query, embedded, shots=answers.shots, count=_SUPPORTS, centre=centre)
        found.append(_mistake(query, beside, what))
    return found


def write_pictures(wrong: Sequence[Mistake], folder: Path) -> list[Path]:
    """Write them into a folder, named by rank.

    Raises:
        RunFolderError: The folder cannot be written.
    """
    written = []
    for rank, one in enumerate(wrong, start=1):
        path = folder / f"mistake-{rank:02d}-{Path(one.image).stem}.png"
        write_bytes(path, one.picture)
        written.append(path)
    return written


def _mistake(query: Sample, beside: Sequence[tuple[str, str, float]], what: str) -> Mistake:
    cells = [_thumbnail(query.image, _QUERY), *(_thumbnail(image, _SUPPORT) for image, _, _ in beside)]
    strip = Image.new("RGB", (len(cells) * (_SIDE + _GAP) - _GAP, _SIDE), "white")
    for place, cell in enumerate(cells):
        strip.paste(cell, (place * (_SIDE + _GAP), 0))
    content = io.BytesIO()
    strip.save(content, "PNG")
    similar = ", ".join(f"{label} {score:.3f}" for _, label, score in beside)
    caption = harmless(f"{Path(query.image).name}: {what}; beside it {similar}")
    return Mistake(query.image, caption, content.getvalue())


def _thumbnail(path: str, frame: tuple[int, int, int]) -> Image.Image:
    cell = Image.new("RGB", (_SIDE, _SIDE), frame)
    room = _SIDE - 4
    try:
        picture = read_picture(path, max_pixels=_MOST_PIXELS).image.convert("RGB")
    except (SnellenError, OSError, ValueError):
        return cell
    scale = min(room / picture.width, room / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    picture = picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR)
    cell.paste(picture, ((_SIDE - size[0]) // 2, (_SIDE - size[1]) // 2))
    return cell
