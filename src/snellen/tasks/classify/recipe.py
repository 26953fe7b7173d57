"""A classifier, as the engine trains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from snellen.config.schema import RunConfig
from snellen.engine.optimiser import default_groups
from snellen.engine.recipe import Batch, Metrics, StepOutput
from snellen.engine.seeding import keep_random_state
from snellen.errors import SnellenError, UsageError
from snellen.models.backbones.classifiers import Architecture, depth_groups, is_transformer, preprocessing_of
from snellen.tasks.classify.config import ClassifyRun
from snellen.tasks.classify.data import (
    Augment,
    Labelled,
    LabelledImages,
    class_map,
    collate,
    list_labelled,
    note_left_out,
)
from snellen.tasks.classify.loss import balanced_weights, classify_loss
from snellen.tasks.classify.metrics import AnswerMetrics
from snellen.tasks.classify.model import Card, Classifier, build_model
from snellen.tasks.classify.transfer import probe_figures

__all__ = ["ClassifyRecipe", "TransferRecipe", "build_recipe"]


class ClassifyRecipe:
    """Training of a timm classifier on labelled images.

    Args:
        config: Resolved settings.

    Raises:
        DataError: There is nothing to tell apart, or a label that the class map does not know.
    """

    mode: Literal["max", "min"] = "max"

    def __init__(self, config: ClassifyRun) -> None:
        self.config = config
        self.headline = config.headline
        model, side = config.model, config.data.image_size
        if not isinstance(side, int):
            raise TypeError("expected resolved settings")
        classes, self._declared = class_map(config.data)
        architecture = Architecture(model.name, len(classes), side, bool(model.small_stem), dict(model.options))
        preprocessing = preprocessing_of(model.name, side=side, pretrained=self.pretrained)
        self.card = Card(architecture, classes, preprocessing)
        self.weights = self._class_weights()
        self._beside: dict[str, float] = {}

    @property
    def pretrained(self) -> bool:
        """Whether it starts from weights that have learned something."""
        return self.config.model.pretrained or self.config.model.weights is not None

    @property
    def about(self) -> Mapping[str, str]:
        """What is trained, for those who watch."""
        return {
            "model": self.config.model.name,
            "kind": "transformer" if is_transformer(self.config.model.name) else "convolutional",
            "start": "pretrained" if self.pretrained else "random",
            "frozen": str(self.config.model.freeze),
            "images": str(sum(self.card.classes.counts)),
        }

    def _class_weights(self) -> Tensor | None:
        chosen, classes = self.config.loss.class_weights, self.card.classes
        if chosen == "none":
            return None
        if chosen == "balanced":
            return torch.tensor(balanced_weights(classes.counts))
        # They are written in the order of the classes that were declared; a class without images has no output.
        names = self._declared or classes.names
        if len(chosen) != len(names):
            raise UsageError(
                f"loss.class_weights holds {len(chosen)} numbers for {len(names)} classes",
                hint=f"write one for each of {', '.join(names[:8])}",
                slug="class-weights-length",
            )
        by_name = dict(zip(names, chosen, strict=True))
        return torch.tensor([float(by_name[name]) for name in classes.names])

    def build_model(self) -> nn.Module:
        """The classifier, with pretrained weights where it starts from some."""
        model = self.config.model
        # Those who only ask for shapes build on the meta device.
        shapes_only = torch.empty(0).is_meta
        return build_model(
            self.card,
            frozen=str(model.freeze),
            pretrained=model.pretrained and model.weights is None and not shapes_only,
            weights=None if shapes_only else model.weights,
        )

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Learning rates that fall with the depth, where the settings say so."""
        if not isinstance(model, Classifier):
            raise TypeError(f"expected a Classifier, given {type(model).__name__}")
        decay, factor = self.config.optim.weight_decay, self.config.model.layer_decay
        if not isinstance(factor, float) or factor == 1:
            return default_groups(model, weight_decay=decay)
        return depth_groups(model.network, weight_decay=decay, layer_decay=factor)

    def _dataset(self, split: str, samples: Sequence[Labelled] | None = None, *, vary: bool = False) -> LabelledImages:
        return LabelledImages(
            list_labelled(self.config.data, split, self.card.classes) if samples is None else samples,
            self.card.preprocessing,
            augment=self.augment if vary else None,
            balanced=vary and self.config.data.sampling == "balanced",
        )

    @cached_property
    def augment(self) -> Augment:
        """How training images are varied."""
        given = self.config.augment
        values = {name: getattr(given, name) for name in ("crop", "randaugment", "mixup", "cutmix", "erase")}
        if "auto" in values.values():
            raise TypeError("expected resolved settings")
        return Augment(flip=given.flip and given.preset != "none", **values)

    def train_dataset(self) -> LabelledImages:
        """Images of the training split, varied."""
        return self._dataset("train", vary=True)

    def evaluation_dataset(self, split: str) -> LabelledImages | None:
        """Images of another split that can be read."""
        if getattr(self.config.data, split, None) is None:
            return None
        whole = self._dataset(split)
        readable: list[Labelled] = []
        problem: SnellenError | None = None
        for index, sample in enumerate(whole.samples):
            try:
                whole.read(index)
            except SnellenError as error:
                problem = problem or error
                note_left_out(error, index + 1 - len(readable))
            else:
                readable.append(sample)
        if problem is None:
            return whole
        if not readable:
            raise problem
        return self._dataset(split, readable)

    def collate(self, samples: Sequence[Any]) -> Batch:
        """A batch; training images are mixed with each other where the settings say so."""
        vary = any(sample.get("vary") for sample in samples)
        return collate(samples, mix=self._mix if vary else None)

    @cached_property
    def _mix(self) -> v2.Transform | None:
        classes, given = len(self.card.classes), self.augment
        kinds: list[v2.Transform] = []
        if given.mixup:
            kinds.append(v2.MixUp(alpha=given.mixup, num_classes=classes))
        if given.cutmix:
            kinds.append(v2.CutMix(alpha=given.cutmix, num_classes=classes))
        return v2.RandomChoice(kinds) if kinds else None

    def training_step(self, model: nn.Module, batch: Batch) -> StepOutput:
        """Loss of one batch, and the share of it that was right, beside the share that guessing gets."""
        logits = model(batch["pixels"])
        smoothing = self.config.loss.label_smoothing
        loss = classify_loss(
            logits,
            batch["target"],
            label_smoothing=smoothing if isinstance(smoothing, float) else 0.0,
            weights=None if self.weights is None else self.weights.to(logits.device),
        )
        with torch.no_grad():
            right = (logits.argmax(dim=1) == batch["label"]).float().mean()
        logs: dict[str, Tensor | float] = {"accuracy": right}
        if self.weights is None:
            # With weights, a network that learns may be right less often than one that answers the largest class.
            logs["chance"] = self.chance
        return StepOutput(loss=loss, logs=logs)

    @property
    def chance(self) -> float:
        """Accuracy of always answering the most frequent class."""
        counts = self.card.classes.counts
        return 1 / len(counts) if self.config.data.sampling == "balanced" else max(counts) / sum(counts)

    def evaluation_step(self, model: nn.Module, batch: Batch) -> Tensor:
        """Probabilities of one batch."""
        logits: Tensor = model(batch["pixels"])
        return logits.softmax(dim=1)

    def new_metrics(self) -> Metrics:
        """Accuracy and what belongs to it; beside it what the pretrained weights knew before training."""
        return AnswerMetrics(len(self.card.classes), self._beside)


class TransferRecipe(ClassifyRecipe):
    """The same from pretrained weights: before training it is measured what these tell apart already."""

    def prepare(self) -> None:
        """Fit the probes."""
        if self._beside:
            return
        with keep_random_state():
            model = self.build_model()
            self._beside = probe_figures(model, self._dataset("train"), self._dataset("val"), len(self.card.classes))

    def example(self) -> Any:
        """A training sample."""
        return self.train_dataset()[0]


def build_recipe(config: RunConfig) -> ClassifyRecipe:
    """The recipe of a classification run.

    Raises:
        DataError: The training data cannot be listed, or has fewer than two classes.
    """
    if not isinstance(config, ClassifyRun):
        raise TypeError(f"expected a ClassifyRun, given {type(config).__name__}")
    pretrained = config.model.pretrained or config.model.weights is not None
    return TransferRecipe(config) if pretrained and config.data.val is not None else ClassifyRecipe(config)
