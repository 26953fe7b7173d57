"""Forgery predictions as files: masks, overlays, regions, and one submission for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snellen.config.schema import RunConfig
from snellen.data.masks import read_mask
from snellen.data.reading import read_image
from snellen.data.writing import make_folder, write_png
from snellen.models.forgery.detection import Detection, ForgeryDetector, RegionPair
from snellen.report.overlay import draw_overlay
from snellen.tasks.forgery.config import ForgeryRun, SubmissionConfig
from snellen.tasks.forgery.model import build_detector
from snellen.tasks.forgery.submission import write_submission

__all__ = ["ForgeryPredictor", "build_predictor"]

_MOST_LABELS = 127


class ForgeryPredictor:
    """Writes masks, overlays, regions and `submission.csv` below a folder.

    `regions/NAME.png` holds labels: the source of the first pair is 1 and its copy 2, those of the second 3 and 4, and
    so on; the pairs are those of the ledger's record, in the same order.

    Args:
        detector: Any.
        out: The folder.
        submission: Form of the submission file.
        max_pixels: Larger images are refused.
    """

    def __init__(self, detector: ForgeryDetector, *, out: Path, submission: SubmissionConfig, max_pixels: int) -> None:
        self.detector = detector
        self.out = out
        self.submission = submission
        self.max_pixels = max_pixels
        for name in ("masks", "overlays", "regions"):
            make_folder(out / name)

    def predict(self, item: Path, name: str) -> dict[str, Any]:
        """Detect copied areas in one image file and write its pictures.

        Raises:
            DataError: The image cannot be read.
            RunFolderError: The pictures cannot be written.
        """
        image = read_image(item, max_pixels=self.max_pixels)
        found = self.detector.detect(image.pixels)
        write_png(self.out / "masks" / f"{name}.png", found.mask)
        pairs = [(pair.source.box, pair.copy.box, pair.matches) for pair in found.regions]
        overlay = draw_overlay(image.pixels, mask=found.mask, pairs=pairs, score=found.score)
        write_png(self.out / "overlays" / f"{name}.png", overlay)
        if found.regions:
            write_png(self.out / "regions" / f"{name}.png", _labels(found))
        return {
            "name": name,
            "size": list(found.image_size),
            "score": round(found.score, 4),
            "forged": bool(found.mask.any()),
            "altered_share": round(float(found.mask.mean()), 6),
            "regions": [_region(pair) for pair in found.regions],
            "notes": list(image.notes),
            "milliseconds": {stage: round(amount, 1) for stage, amount in found.milliseconds.items()},
        }

    def finish(self, names: Sequence[str], records: Mapping[str, Mapping[str, Any]]) -> list[Path]:
        """Write the submission; an image that could not be read is `authentic`, for a missing line voids the file."""
        path = self.out / "submission.csv"
        write_submission(path, self._lines(names, records), order=self.submission.order)
        return [path]

    def _lines(
        self, names: Sequence[str], records: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[tuple[str, list[npt.NDArray[np.bool_]]]]:
        for name in names:
            record = records.get(name)
            forged = record is not None and record["forged"]
            yield name, [read_mask(self.out / "masks" / f"{name}.png").mask] if forged else []


def _labels(found: Detection) -> npt.NDArray[np.uint8]:
    labels = np.zeros(found.image_size, dtype=np.uint8)
    # Backwards, so that the best pairs lie on top; more pairs than labels would be noise anyway.
    for index, pair in reversed(list(enumerate(found.regions[:_MOST_LABELS]))):
        for label, area in ((2 * index + 1, pair.source), (2 * index + 2, pair.copy)):
            x0, y0, x1, y1 = area.box
            labels[y0:y1, x0:x1][area.mask] = label
    return labels


def _region(pair: RegionPair) -> dict[str, Any]:
    return {
        "kind": pair.kind,
        "score": round(pair.score, 4),
        "source_box": list(pair.source.box),
        "copy_box": list(pair.copy.box),
        "transform": [[round(float(value), 5) for value in row] for row in pair.transform],
        "pixels": pair.copy.pixels,
    }


def build_predictor(config: RunConfig, *, checkpoints: Path | None, out: Path) -> ForgeryPredictor:
    """The predictor of a forgery run file.

    Raises:
        WeightsError: A network without trained weights.
        RunFolderError: The folder cannot be written.
    """
    if not isinstance(config, ForgeryRun):
        raise TypeError(f"expected a ForgeryRun, given {type(config).__name__}")
    detector = build_detector(config.model, checkpoints=checkpoints)
    return ForgeryPredictor(detector, out=out, submission=config.submission, max_pixels=int(config.model.max_pixels))
