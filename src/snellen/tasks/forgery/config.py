"""What a forgery run file may say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from snellen.config.schema import Count, DataConfig, ModelConfig, Positive, RunConfig, Section, Share

__all__ = ["SCHEMA", "CorrelationConfig", "ForgeryData", "ForgeryModel", "ForgeryRun", "SubmissionConfig"]


class ForgeryData(DataConfig):
    """Folders with `forged/`, `masks/` and `authentic/`, or flat folders of images to predict."""

    image_size: Count | tuple[Count, Count] | None = 256
    """Side of the crops that the network is trained on; evaluation and prediction use whole images."""


class CorrelationConfig(Section):
    """How the feature map is compared with itself; lengths in cells of the feature map."""

    kind: Literal["pooled", "dense"] = "dense"
    """`pooled` compares means of patches, `dense` whole patches exactly."""
    patch: Count = 3
    """Side of a patch."""
    stride: Count = 1
    """Step between patches."""
    top_k: Count = 6
    """Matches kept for each patch."""
    exclusion_radius: Annotated[int, Field(ge=0)] = 4
    """Patches at most this many grid steps away are no matches."""


class ForgeryModel(ModelConfig):
    """Which detector, and its parts."""

    detector: Literal["keypoint", "net", "fused"] = "keypoint"
    """`keypoint` needs no weights, `net` is trained, `fused` joins both."""
    backbone: str = "dinov2_vits14"
    """Any timm model, or a DINOv2 name."""
    max_stride: Count = 16
    """The deepest feature map of the backbone with at most this stride is used."""
    weights: Path | None = None
    """Weights of the backbone from a local file."""
    pretrained: bool = False
    """Fetch the published weights of the backbone."""
    correlation: CorrelationConfig = CorrelationConfig()
    """How the feature map is compared with itself."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Probability from which a pixel counts as copied."""
    min_area: Annotated[int, Field(ge=0)] = 64
    """Smaller components are dropped from the network's mask, in pixels."""
    test_time: Literal["none", "flips", "dihedral"] = "none"
    """Views that the network averages over."""
    tile: Annotated[int, Field(ge=0)] = 0
    """Largest side that the network sees at once, in pixels; 0 stands for 96 cells of the backbone."""
    max_pixels: Positive = 300_000_000
    """Larger images are refused before they are decoded."""
    net_weight: Share = 0.5
    """Share of the network in the probabilities of `fused`; areas that keypoints have verified always stay."""


class SubmissionConfig(Section):
    """Form of `submission.csv`."""

    order: Literal["columns", "rows"] = "columns"
    """Whether runs go down the columns or along the rows."""


class ForgeryRun(RunConfig):
    """A run of the forgery task.

    Example:
        >>> ForgeryRun(task="forgery").model.detector
        'keypoint'
    """

    task: Literal["forgery"] = "forgery"
    """What is learned."""
    data: ForgeryData = ForgeryData()
    """Where the images are and how they come in."""
    model: ForgeryModel = ForgeryModel()
    """Which detector."""
    submission: SubmissionConfig = SubmissionConfig()
    """Form of the submission file."""


SCHEMA = ForgeryRun
