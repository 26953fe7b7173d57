"""Classes of any number of images, and one table for all of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from snellen.config.schema import RunConfig
from snellen.core.files import write_text
from snellen.data.pictures import read_picture
from snellen.errors import WeightsError
from snellen.tasks.classify.config import ClassifyRun
from snellen.tasks.classify.model import load_classifier

__all__ = ["ClassPredictor", "build_predictor"]

_LIKELIEST = 5
TABLE = "predictions.csv"


class ClassPredictor:
    """Answers one image after the other; `finish` writes `predictions.csv`.

    Args:
        checkpoints: Of a trained run.
        out: The folder.
    """

    def __init__(self, checkpoints: Path, out: Path) -> None:
        model, self.card = load_classifier(checkpoints)
        self.out = out
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device)

    def predict(self, item: Path, name: str) -> dict[str, Any]:
        """The likeliest classes of one image file.

        Raises:
            DataError: The image cannot be read.
        """
        levels = self.card.preprocessing.levels(read_picture(item).image)
        pixels = torch.from_numpy(levels).permute(2, 0, 1)[None].to(self.device)
        with torch.inference_mode():
            probabilities = self.model(pixels).softmax(dim=1)[0].cpu()
        names = self.card.classes.names
        top = probabilities.topk(min(_LIKELIEST, len(names)))
        likeliest = [
            {"class": names[number], "probability": round(value, 6)}
            for number, value in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        ]
        return {"name": name, "file": str(item), "class": likeliest[0]["class"], "likeliest": likeliest}

    def finish(self, names: Sequence[str], records: Mapping[str, Mapping[str, Any]]) -> list[Path]:
        """Write the table; an image that could not be read has an empty class."""
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["name", "file", "class", "probability", "second", "second_probability"])
        for name in names:
            record = records.get(name)
            if record is None:
                writer.writerow([name, "", "", "", "", ""])
                continue
            first, second = record["likeliest"][:2]
            chosen = (first["class"], first["probability"], second["class"], second["probability"])
            writer.writerow([name, record["file"], *chosen])
        path = self.out / TABLE
        write_text(path, table.getvalue())
        return [path]


def build_predictor(config: RunConfig, *, checkpoints: Path | None, out: Path) -> ClassPredictor:
    """The predictor of a trained run.

    Raises:
        WeightsError: A run file alone: it has no trained classifier.
    """
    if not isinstance(config, ClassifyRun):
        raise TypeError(f"expected a ClassifyRun, given {type(config).__name__}")
    if checkpoints is None:
        raise WeightsError(
            "a run file alone has no trained classifier: its answers would be noise",
            hint="train first, then give the run's folder: snellen train RUN.yaml",
            slug="silent-random-weights",
        )
    return ClassPredictor(checkpoints, out)
