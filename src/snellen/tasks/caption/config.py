"""What a caption run file may say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from snellen.config.schema import Auto, Count, ModelConfig, RunConfig, Section
from snellen.errors import UsageError
from snellen.models.captioning.prompts import parse_prompt
from snellen.tasks.embed.config import EmbedModel

__all__ = ["SCHEMA", "CaptionModel", "CaptionRun", "GenerationConfig"]


def _known(prompt: str) -> str:
    try:
        parse_prompt(prompt)
    except UsageError as error:
        raise ValueError(error.message if error.hint is None else f"{error.message}; {error.hint}") from error
    return prompt


class CaptionModel(ModelConfig):
    """Which Florence-2, and its weights."""

    repository: Annotated[str, Field(min_length=1)] = "florence-community/Florence-2-base"
    """On the Hugging Face hub, in the form that transformers reads; code of a repository is never run."""
    weights: Path | None = None
    """A local folder instead: `hf download REPOSITORY --local-dir FOLDER` makes one."""
    pretrained: bool = True
    """Take the published weights; without them the weights are random, which is good for tests only."""


class GenerationConfig(Section):
    """How answers are searched for; there is no chance in it."""

    max_tokens: Count = 256
    """Longer answers are cut, and marked as not complete."""
    beams: Count = 3
    """Answers that are followed at once; 1 takes the likeliest word each time."""


class CaptionRun(RunConfig):
    """A run of the caption task.

    Example:
        >>> CaptionRun(task="caption").prompts
        ('caption',)
    """

    task: Literal["caption"] = "caption"
    """What is done."""
    model: CaptionModel = CaptionModel()
    """Which model."""
    prompts: Annotated[tuple[Annotated[str, AfterValidator(_known)], ...], Field(min_length=1)] = ("caption",)
    """What is asked about each image: `caption`, `detailed-caption`, `long-caption`, `objects`, `regions`,
    `proposals`, `ocr`, `ocr-regions`, `ground: TEXT`, `find: TEXT`; or the model's own words, such as `<OD>`."""
    generation: GenerationConfig = GenerationConfig()
    """How answers are searched for."""
    features: bool = False
    """Keep a vector of each image: the mean of the tokens that the model has of it."""
    stages: tuple[EmbedModel, ...] = ()
    """Backbones whose features of the same images are computed first, one after the other: each is dropped before the
    next is loaded."""
    batch_size: Count | Auto = "auto"
    """Images of a pass; it is halved when memory runs out."""
    device: str = "auto"
    """Where it is computed: `cpu`, `cuda`, `cuda:1`, `mps`; `auto` takes the accelerator, if there is one."""
    cache: Auto | Literal[False] | Path = "auto"
    """Folder in which vectors of `stages` are kept by the content of files; `false` keeps none."""


SCHEMA = CaptionRun
