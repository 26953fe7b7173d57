"""What an embedding run file may say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from snellen.config.schema import Auto, ModelConfig, RunConfig

__all__ = ["SCHEMA", "EmbedModel", "EmbedRun"]


class EmbedModel(ModelConfig):
    """Which backbone, and its weights."""

    backbone: Annotated[str, Field(min_length=1)] = "dinov2_vits14"
    """A short name (`dinov2_vitb14`, `clip_vitb32`, `sam_vit_b`), `torchvision:NAME`, `transformers:REPOSITORY`, any
    timm name, one that needs no weights (`hog`, `hog-colour`, `colour-histogram`, `pixels`), or the folder of a run of
    the task `classify`: its network without the classifier."""
    weights: Path | None = None
    """Weights from a local file; the names of the official release are understood, and a checkpoint of such a run."""
    pretrained: bool = True
    """Fetch the published weights; without them the weights are random, which is good for tests only."""


class EmbedRun(RunConfig):
    """A run of the embedding task.

    Example:
        >>> EmbedRun(task="embed").model.backbone
        'dinov2_vits14'
    """

    task: Literal["embed"] = "embed"
    """What is done."""
    model: EmbedModel = EmbedModel()
    """Which backbone."""
    device: str = "auto"
    """Where it is computed: `cpu`, `cuda`, `cuda:1`, `mps`; `auto` takes the accelerator, if there is one."""
    cache: Auto | Literal[False] | Path = "auto"
    """Folder in which vectors are kept by the content of files, shared by all runs; `false` keeps none."""


SCHEMA = EmbedRun
