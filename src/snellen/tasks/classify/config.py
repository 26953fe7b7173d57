"""What a classification run file may say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from snellen.config.schema import Auto, Count, DataConfig, ModelConfig, OptimConfig, Positive, RunConfig, Section, Share

__all__ = [
    "SCHEMA",
    "AugmentConfig",
    "ClassifyData",
    "ClassifyModel",
    "ClassifyOptim",
    "ClassifyRun",
    "LossConfig",
    "Option",
]

Option = bool | int | float | str | tuple[int, ...] | tuple[float, ...]
"""A value that timm's factories take."""


class ClassifyData(DataConfig):
    """Folders named after classes, or a table that names the class of each image."""

    image_size: Count | Auto = "auto"  # type: ignore[assignment]  # a square; `auto` is a value of this task
    """Side of the square images that the network takes; `auto` is what pretrained weights were made for, or the usual
    size of the training images."""
    sampling: Literal["plain", "balanced"] = "plain"
    """`balanced` draws every class equally often, however many images it has."""


class ClassifyModel(ModelConfig):
    """Which network, where its weights come from, and which of them learn."""

    name: Annotated[str, Field(min_length=1)] = "resnet18"
    """Any timm name, or a DINOv2 name."""
    pretrained: bool = True
    """Fetch the published weights; `false` starts at random."""
    weights: Path | None = None
    """Pretrained weights from a local file; the classifier in it is not used."""
    freeze: Auto | Literal["all", "part", "none"] = "auto"
    """What stays as it was: `all` but the classifier, `part` (three quarters of the layers), `none`; `auto` decides by
    the number of training images."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] | Auto = "auto"
    """Factor by which the learning rate falls from each layer to the one before; 1 is one rate for all."""
    small_stem: bool | Auto = "auto"
    """Let the first layers shrink small images less than they were made to; only for a random start."""
    options: dict[str, Option] = Field(default_factory=dict)
    """Further arguments of timm's factory, such as `{drop_path_rate: 0.1}`."""

    @model_validator(mode="after")
    def _something_to_keep(self) -> Self:
        if self.freeze in ("all", "part") and not self.pretrained and self.weights is None:
            raise ValueError(
                f"freeze is {self.freeze!r}, which keeps layers as they are; from a random start they know nothing: "
                "write freeze: none, or give pretrained weights"
            )
        return self


class AugmentConfig(Section):
    """How training images are varied."""

    preset: Auto | Literal["none", "light", "standard", "deit"] = "auto"
    """`light` shifts and mirrors, `standard` adds RandAugment, `deit` is the whole recipe of DeiT."""
    crop: Auto | Literal["none", "shift", "resized"] = "auto"
    """`shift` moves the image by up to an eighth of its side, `resized` cuts a random part and scales it."""
    flip: bool = True
    """Mirror left and right; switch it off where that changes the class (letters, digits, left and right)."""
    randaugment: Annotated[int, Field(ge=0, le=30)] | Auto = "auto"
    """Magnitude of RandAugment, 0 for none."""
    mixup: Annotated[float, Field(ge=0)] | Auto = "auto"
    """Strength of mixup, 0 for none."""
    cutmix: Annotated[float, Field(ge=0)] | Auto = "auto"
    """Strength of CutMix, 0 for none."""
    erase: Share | Auto = "auto"
    """Share of images in which a rectangle is blotted out."""


class LossConfig(Section):
    """What is minimised."""

    label_smoothing: Share | Auto = "auto"
    """Share of the target that is spread over all classes."""
    class_weights: Literal["none", "balanced"] | tuple[Annotated[float, Field(ge=0)], ...] = "none"
    """`balanced` weighs each class by the inverse of its number of images; or one number for each class."""


class ClassifyOptim(OptimConfig):
    """How it is learned."""

    lr: Positive | Auto = "auto"  # type: ignore[assignment]  # `auto` is a value of this task
    """Peak learning rate of the classifier; `auto` depends on what learns, and from what start."""
    batch_size: Count = 64
    """Images per device and micro-batch."""
    epochs: Count = 30
    """Passes over the training images."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """Decoupled weight decay; biases and normalisation layers are left out."""
    schedule: Literal["cosine", "one-cycle", "constant"] = "one-cycle"
    """Course of the learning rate."""
    warmup: Share = 0.2
    """Share of all steps in which the learning rate rises."""


class ClassifyRun(RunConfig):
    """A run of the classification task.

    Example:
        >>> ClassifyRun(task="classify").model.name
        'resnet18'
    """

    task: Literal["classify"] = "classify"
    """What is learned."""
    data: ClassifyData = ClassifyData()
    """Where the images are and how they come in."""
    model: ClassifyModel = ClassifyModel()
    """Which network, and which part of it learns."""
    augment: AugmentConfig = AugmentConfig()
    """How training images are varied."""
    loss: LossConfig = LossConfig()
    """What is minimised."""
    optim: ClassifyOptim = ClassifyOptim()
    """How it is learned."""
    headline: Literal["accuracy", "balanced_accuracy", "macro_f1"] = "accuracy"
    """The figure that chooses the best checkpoint; where classes are uneven, `balanced_accuracy`."""


SCHEMA = ClassifyRun
