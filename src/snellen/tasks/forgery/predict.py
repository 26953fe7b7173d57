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
from snellen.models.forgery.detection import ForgeryDetector, RegionPair
from snellen.report.overlay import draw_overlay
from snellen.tasks.forgery.config import ForgeryRun, SubmissionConfig
from snellen.tasks.forgery.model import build_detector
from snellen.tasks.forgery.submission import write_submission

__all__ = ["ForgeryPredictor", "build_predictor"]


class ForgeryPredictor:
    """Writes `masks/NAME.png`, `overlays/NAME.png` and `submission.csv` below a folder.

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
        for name in ("masks", "overlays"):
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
