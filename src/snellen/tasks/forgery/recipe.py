"""The forgery network, as the engine trains it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn

from snellen.config.schema import RunConfig
from snellen.engine.optimiser import default_groups
from snellen.engine.recipe import Batch, Metrics, StepOutput
from snellen.errors import UsageError
from snellen.models.contract import common_side_multiple, padded_size
from snellen.models.forgery.detection import Detection
from snellen.models.forgery.net.network import ForgeryNet
from snellen.tasks.forgery.config import ForgeryRun
from snellen.tasks.forgery.data import TrainingCrops, WholeImages, collate, readable, samples_of
from snellen.tasks.forgery.loss import forgery_loss
from snellen.tasks.forgery.metrics import ForgeryMetrics, ImageRow, pixel_scores
from snellen.tasks.forgery.model import build_network, net_detector

__all__ = ["DetectionMetrics", "ForgeryRecipe", "build_recipe"]


class DetectionMetrics:
    """Figures of an evaluation during training, merged over ranks.

    The headline is the mean over forged images: an all-background mask scores 0 there, where a mean over all images
    would reward it for every authentic one.
    """

    def __init__(self) -> None:
        self._collected = ForgeryMetrics()
        self._rows: dict[str, ImageRow] = {}

    def update(self, outputs: list[Detection], batch: Batch) -> None:
        """Score the detections of one batch of whole images."""
        for detection, name, truth in zip(outputs, batch["name"], batch["truth"], strict=True):
            if name not in self._rows:
                self._rows[name] = self._collected.update(name, mask=detection.mask, truth=truth, score=detection.score)

    def state(self) -> list[ImageRow]:
        """One row for each image."""
        return list(self._rows.values())

    def merge(self, states: Sequence[list[ImageRow]]) -> None:
        """Join the rows of all ranks; an image that two ranks saw counts once."""
        self._rows = {row.name: row for rows in states for row in rows}

    def compute(self) -> dict[str, float]:
        """Mean pixel F1 over forged images, pooled pixel F1, and the rates of detections and false alarms."""
        forged = [row for row in self._rows.values() if row.forged]
        authentic = [row for row in self._rows.values() if not row.forged]
        everything = list(self._rows.values())
        pooled = pixel_scores(
            sum(row.hits for row in everything),
            sum(row.false_pixels for row in everything),
            sum(row.missed_pixels for row in everything),
        )
        figures = {"pixel_f1_pooled": pooled["f1"], "images": float(len(everything))}
        if forged:
            figures["pixel_f1"] = sum(row.scores["f1"] for row in forged) / len(forged)
            figures["detection_rate"] = sum(row.flagged for row in forged) / len(forged)
        if authentic:
            figures["false_alarm_rate"] = sum(row.flagged for row in authentic) / len(authentic)
        return figures


class ForgeryRecipe:
    """Training of the forgery network on folders of forged and authentic images."""

    headline = "pixel_f1"
    mode: Literal["max", "min"] = "max"

    def __init__(self, config: ForgeryRun) -> None:
        self.config = config
        self._side: int | None = None

    def build_model(self) -> nn.Module:
        """The network; fixes the side of the crops to what its contracts allow."""
        network = build_network(self.config.model)
        wanted = self.config.data.image_size or 256
        side = wanted if isinstance(wanted, int) else max(wanted)
        multiple = common_side_multiple(network.contracts)
        self._side = max(padded_size(side, side, multiple)[0], padded_size(network.smallest_side, 1, multiple)[0])
        return network

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Pretrained backbones learn ten times slower than the parts that start at random."""
        if not isinstance(model, ForgeryNet):
            raise TypeError(f"expected a ForgeryNet, given {type(model).__name__}")
        backbone_scale = 0.1 if model.backbone.contract.weights != "random" else 1.0
        decay = self.config.optim.weight_decay
        return [
            {**group, "lr_scale": scale}
            for part, scale in ((model.backbone, backbone_scale), (model.decoder, 1.0))
            for group in default_groups(part, weight_decay=decay)
        ]

    def train_dataset(self) -> TrainingCrops:
        """Random crops of the training split."""
        samples = samples_of(self.config.data.train, key="data.train")
        return TrainingCrops(samples, side=self._side or 256, max_pixels=int(self.config.model.max_pixels))

    def evaluation_dataset(self, split: str) -> WholeImages | None:
        """Whole images of another split."""
        root = getattr(self.config.data, split, None)
        if root is None:
            return None
        max_pixels = int(self.config.model.max_pixels)
        return WholeImages(
            readable(samples_of(root, key=f"data.{split}"), max_pixels=max_pixels), max_pixels=max_pixels
        )

    def collate(self, samples: Sequence[Any]) -> Batch:
        """A batch of crops, or of whole images in lists."""
        return collate(samples)

    def training_step(self, model: nn.Module, batch: Batch) -> StepOutput:
        """Logits and loss of one batch of crops."""
        logits = model(batch["image"])
        target = batch["mask"]
        with torch.no_grad():
            predicted = logits > 0
            hits = (predicted & (target > 0)).sum()
            f1 = 2 * hits / (predicted.sum() + (target > 0).sum()).clamp_min(1)
        return StepOutput(loss=forgery_loss(logits, target), logs={"train_f1": f1})

    def evaluation_step(self, model: nn.Module, batch: Batch) -> list[Detection]:
        """Detections in whole images, as prediction makes them."""
        network = _unwrapped(model)
        detector = net_detector(network, self.config.model, device=next(network.parameters()).device)
        return [detector.detect(pixels) for pixels in batch["pixels"]]

    def new_metrics(self) -> Metrics:
        """Pixel and image metrics."""
        return DetectionMetrics()


def _unwrapped(model: nn.Module) -> ForgeryNet:
    for candidate in (model, *model.modules()):
        if isinstance(candidate, ForgeryNet):
            return candidate
    raise TypeError(f"expected a ForgeryNet, given {type(model).__name__}")


def build_recipe(config: RunConfig) -> ForgeryRecipe:
    """The recipe of a forgery run.

    Raises:
        UsageError: The keypoint detector alone: it has nothing to learn.
    """
    if not isinstance(config, ForgeryRun):
        raise TypeError(f"expected a ForgeryRun, given {type(config).__name__}")
    if config.model.detector == "keypoint":
        raise UsageError(
            "model.detector is keypoint, which has nothing to learn",
            hint="predict at once: snellen predict RUN.yaml IMAGES -o OUT; or train with model.detector: net",
        )
    return ForgeryRecipe(config)
