"""One page about an embedding: how fast, how much memory, what was not read, and a map of the vectors."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from snellen.data.features import part_files, read_part
from snellen.data.isolated import IsolatedReader, is_fragile
from snellen.data.pictures import read_picture
from snellen.data.sources import ImageRef
from snellen.engine.embedding import EmbedReport
from snellen.errors import SnellenError
from snellen.models.backbones.embedders import Embedder
from snellen.report.chart import Series, line_chart
from snellen.report.html import Section, render_page, text_block, value_table
from snellen.report.picture_map import Spot, picture_map
from snellen.report.text import harmless

__all__ = ["render_embedding"]

_SHOWN: Final = 200
_PICTURES: Final = 300
_SIDE: Final = 40
_MOST_PIXELS: Final = 60_000_000


def render_embedding(report: EmbedReport, embedder: Embedder, refs: Sequence[ImageRef]) -> str:
    """The page as HTML; at most 300 pictures and 200 unread files, however many images there were.

    Args:
        report: The figures.
        embedder: The backbone.
        refs: Some of the images, to be shown on the map.
    """
    sections = [
        Section("Figures", value_table(_figures(report, embedder))),
        Section("Memory", _memory(report)),
        Section("Changed before embedding", _conversions(report)),
        Section("Not read", _unread(report)),
        Section("Map", _map(report, embedder.width, refs)),
    ]
    subtitle = f"{report.done + report.earlier} images, {embedder.name}, fingerprint {embedder.fingerprint}"
    return render_page("Embeddings", subtitle, sections)


def _figures(report: EmbedReport, embedder: Embedder) -> list[dict[str, object]]:
    size = embedder.preprocessing.input_size
    stored = sum(path.stat().st_size for path in part_files(report.folder))
    values: dict[str, object] = {
        "images embedded now": report.done,
        "done before": report.earlier,
        "known to the cache": report.cached,
        "not read": len(report.unread),
        "seconds": round(report.seconds, 2),
        "images/s": round(report.images_per_second, 2),
        "passes split because memory ran out": report.splits,
        "numbers in a vector": embedder.width,
        "input of the network": f"{size[0]} x {size[1]}" if size else "as large as the picture",
        "preprocessing": embedder.preprocessing.source,
        "weights": embedder.contract.weights or "",
        "size on disk": f"{stored / 1e6:.1f} MB",
    }
    return [
        {"what": name, "figure": value if isinstance(value, str) else f"{value:,}"} for name, value in values.items()
    ]


def _memory(report: EmbedReport) -> str:
    points = [(float(images), resident / 2**20) for images, resident in report.memory]
    chart = line_chart([Series("resident memory", points)], x_label="images", y_label="MB")
    half = points[len(points) // 2 :]
    if len(half) < 3 or half[-1][0] == half[0][0]:
        return chart
    images, resident = np.array(half).T
    slope = float(np.polyfit(images, resident, 1)[0])
    return chart + text_block(f"Second half: {slope * 10_000:+.2f} MB for every 10,000 images.")


def _conversions(report: EmbedReport) -> str:
    if not report.conversions:
        return text_block("Nothing but what the preprocessing of the backbone says, in the images of the last call.")
    rows = [{"images": f"{count:,}", "what": harmless(what)} for what, count in report.conversions.most_common()]
    return value_table(rows)


def _unread(report: EmbedReport) -> str:
    if not report.unread:
        return text_block("Every image has its vector.")
    rows = [{"image": harmless(one.name), "why": harmless(one.reason)} for one in report.unread[:_SHOWN]]
    more = len(report.unread) - len(rows)
    return value_table(rows) + (text_block(f"And {more} more, in unread.jsonl.") if more else "")


def _map(report: EmbedReport, width: int, refs: Sequence[ImageRef]) -> str:
    """The first two principal components of a sample; vectors that somebody damaged are left out."""
    chosen = {ref.name: ref for ref in refs[:: max(1, len(refs) // _PICTURES)][:_PICTURES]}
    names: list[str] = []
    rows: list[npt.NDArray[np.float32]] = []
    for path in part_files(report.folder):
        part = read_part(path)
        for row, name in enumerate(part.names):
            if name in chosen and len(part.vectors[row]) == width and np.isfinite(part.vectors[row]).all():
                names.append(name)
                rows.append(part.vectors[row])
    if len(rows) < 3:
        return text_block("Too few images for a map.")
    vectors = np.stack(rows).astype(np.float64)
    centred = vectors - vectors.mean(axis=0)
    left, strength, _ = np.linalg.svd(centred, full_matrices=False)
    total = float((strength**2).sum()) or 1.0
    share = [float(value**2) / total for value in strength[:2]]
    with IsolatedReader(1) as apart:
        spots = [
            Spot(float(x), float(y), _thumbnail(chosen[name], apart), harmless(name))
            for name, (x, y) in zip(names, left[:, :2] * strength[:2], strict=True)
        ]
    return picture_map(spots) + text_block(
        f"{len(spots)} of the images by the first two principal components, which hold {share[0]:.0%} and "
        f"{share[1] if len(share) > 1 else 0.0:.0%} of their variance."
    )


def _thumbnail(ref: ImageRef, apart: IsolatedReader) -> bytes:
    try:
        content = ref.read()
        if is_fragile(content):
            picture = apart.read(ref.name, content, max_pixels=_MOST_PIXELS)
        else:
            picture = read_picture(ref.name, content=content, max_pixels=_MOST_PIXELS)
    except SnellenError:
        return b""
    image = picture.image.convert("RGBA").convert("RGB")
    image.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=70)
    return file.getvalue()
