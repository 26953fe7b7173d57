"""Whether memory stays flat while very many images are embedded.

    python benchmarks/embedding_memory.py                          100,000 images, about ten minutes on two cores
    python benchmarks/embedding_memory.py --images 20000           a first impression
    python benchmarks/embedding_memory.py --tiff 0.01              every hundredth one a TIFF, decoded apart

The CIFAR-10 files of `$SNELLEN_SHARED/data` (without it, pictures made here) are repeated under names of their own.
Resident memory and the number of live tensors are noted after each part. Memory that was freed is kept by the allocator
for the next picture, so it settles within some ten thousand images: the slope is fitted after the first half, and after
the first fifth for comparison.
"""

from __future__ import annotations

import argparse
import gc
import io
import itertools
import json
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from snellen._env import shared_folder
from snellen.data.features import part_files
from snellen.data.sources import ImageRef
from snellen.engine.embedding import EmbedReport, EmbedSettings, embed_images
from snellen.models.backbones.embedders import load_embedder
from snellen.report.chart import Series, line_chart
from snellen.report.html import Section, render_page, text_block

BAR = 1.0
"""MB for every 10,000 images."""


def pictures(folder: Path) -> list[Path]:
    """The files that are repeated."""
    found = sorted((shared_folder() / "data" / "cifar10").rglob("*.jpg"))
    if found:
        return found
    random = np.random.default_rng(0)
    for index in range(500):
        Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    return sorted(folder.glob("*.png"))


def refs(files: list[Path], count: int, tiff: float) -> Iterator[ImageRef]:
    """Distinct names for the same files."""
    content = io.BytesIO()
    Image.open(files[0]).save(content, "TIFF", compression="tiff_lzw")
    for index, path in zip(range(count), itertools.cycle(files), strict=False):
        packed = content.getvalue() if tiff and index % round(1 / tiff) == 0 else None
        yield ImageRef(f"/data/of/some/length/{path.parent.name}/{index:09d}-{path.name}", path, content=packed)


def live_tensors() -> int:
    """Tensors that the garbage collector knows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())


def main() -> None:
    """Measure and print; write JSON and a page where they are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument(
        "--backbone", default="test_resnet", help="the smallest of timm: one that is no network has no tensors to count"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tiff", type=float, default=0.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--html", type=Path, help="a page with the curve")
    chosen = parser.parse_args()
    tensors: list[tuple[int, int]] = []

    def note(report: EmbedReport) -> None:
        if report.memory and (not tensors or tensors[-1][0] != report.done):
            tensors.append((report.done, live_tensors()))
            if len(tensors) % 10 == 0:
                print(f"{report.done:>7} images, {report.memory[-1][1] / 2**20:7.1f} MB, {tensors[-1][1]} tensors, "
                      f"{report.images_per_second:.0f} images/s", flush=True)  # fmt: skip

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        embedder = load_embedder(chosen.backbone, pretrained=False)
        report = embed_images(
            refs(pictures(place), chosen.images, chosen.tiff),
            embedder,
            place / "features",
            settings=EmbedSettings(workers=chosen.workers),
            progress=note,
        )
        parts = len(part_files(place / "features"))
    result = summary(report, tensors, parts)
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if chosen.html:
        chosen.html.write_text(render(result), encoding="utf-8")
    print(json.dumps({name: value for name, value in result.items() if name not in ("memory", "tensors")}, indent=2))


def summary(report: EmbedReport, tensors: list[tuple[int, int]], parts: int) -> dict[str, Any]:
    """The figures."""
    points = np.array(report.memory, float)
    late = points[points[:, 0] > 0.2 * points[-1, 0]]
    slope = slope_after(points, 0.5)
    counts = [count for images, count in tensors if images > 0.2 * report.done]
    return {
        "images": report.done,
        "parts": parts,
        "unread": len(report.unread),
        "images_per_second": round(report.images_per_second, 1),
        "slope_mb_per_10000": round(slope, 3),
        "slope_after_the_first_fifth": round(slope_after(points, 0.2), 3),
        "bar": BAR,
        "held": slope <= BAR,
        "resident_mb_first_last": [round(float(late[0, 1]) / 2**20, 1), round(float(late[-1, 1]) / 2**20, 1)],
        "live_tensors_min_max": [min(counts), max(counts)],
        "memory": report.memory,
        "tensors": tensors,
    }


def slope_after(points: npt.NDArray[np.float64], share: float) -> float:
    """MB for every 10,000 images, by a line through what was noted after a share of them."""
    late = points[points[:, 0] > share * points[-1, 0]]
    return float(np.polyfit(late[:, 0], late[:, 1] / 2**20, 1)[0]) * 10_000


def render(result: dict[str, Any]) -> str:
    """A page with the curve."""
    points = [(float(images), resident / 2**20) for images, resident in result["memory"]]
    chart = line_chart([Series("resident memory", points)], x_label="images", y_label="MB")
    text = f"{result['slope_mb_per_10000']} MB for every 10,000 images after the first half."
    return render_page(
        "Memory while embedding", f"{result['images']} images", [Section("Memory", chart + text_block(text))]
    )


if __name__ == "__main__":
    main()
