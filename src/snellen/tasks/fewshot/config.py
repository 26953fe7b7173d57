"""What a few-shot run file may say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from snellen.config.schema import Auto, Count, DataConfig, RunConfig, Section, Share
from snellen.tasks.embed.config import EmbedModel

__all__ = ["SCHEMA", "EpisodeConfig", "FewShotData", "FewShotModel", "FewShotRun", "RecognitionConfig"]

Cosine = Annotated[float, Field(ge=-1, le=1)]


class EpisodeConfig(Section):
    """Episodes that are drawn from folders of classes: a few classes, supports and queries of each."""

    ways: Count = 5
    """Classes of an episode; all when there are fewer."""
    queries: Count = 15
    """Queries of each class."""
    count: Count = 100
    """Number of episodes."""
    unknown: Annotated[int, Field(ge=0)] = 0
    """Further classes of an episode that have queries and no support: their answer is `Unknown`."""


class FewShotData(DataConfig):
    """Support set and queries: `2.support-set/` and `6.preprocessed/`, runs of Omniglot, or folders of classes."""

    support: Path | None = None
    """Labelled examples; without it they lie beside the queries in `data.test`."""
    truth: Path | None = None
    """Table of images and their classes, which wins over the folders; `snellen fewshot truth` writes one to edit."""
    features: Path | None = None
    """Folder of features that `snellen embed` wrote with the same backbone; images that it lacks are embedded."""
    shots: tuple[Count, ...] = ()
    """Examples of each class to try; without it those that the data has, of 1, 5, 10 and 30."""
    episodes: EpisodeConfig | None = None
    """Draw episodes from folders of classes."""
    validation: Share = 0.2
    """Share of the queries on which thresholds are chosen when there is no `data.val`; figures are of the others."""


class FewShotModel(EmbedModel):
    """Which backbone, and its weights."""

    backbone: Annotated[str, Field(min_length=1)] = "hog"
    """As in the task `embed`."""


class RecognitionConfig(Section):
    """How a query gets its class."""

    methods: Annotated[tuple[Literal["prototypes", "nearest"], ...], Field(min_length=1)] = ("prototypes", "nearest")
    """`prototypes` compares with the mean of each class, `nearest` with every example; the better one on the
    validation queries is reported."""
    centre: bool = False
    """Subtract the mean of all examples first: what all images have in common tells no class. Similarities are lower
    then (SimpleShot, Wang et al. 2019)."""
    thresholds: tuple[Cosine, ...] = ()
    """Similarities under which a query is `Unknown`, for the grid; without them those under which each tenth of the
    validation queries lies: where similarities are depends on the backbone and on `centre`."""
    threshold: Cosine | None = None
    """The one that counts; chosen on the validation queries without it."""
    baselines: tuple[Annotated[str, Field(min_length=1)], ...] = ("pixels", "colour-histogram")
    """Backbones that are evaluated beside, on the same queries."""
    index_from: Count = 1_000_000
    """Supports from which an index is searched (`pip install 'snellen[search]'`), with its recall measured."""


class FewShotRun(RunConfig):
    """A run of the few-shot task.

    Example:
        >>> FewShotRun(task="fewshot").recognition.methods
        ('prototypes', 'nearest')
    """

    task: Literal["fewshot"] = "fewshot"
    """What is done."""
    data: FewShotData = FewShotData()
    """Support set and queries."""
    model: FewShotModel = FewShotModel()
    """Which backbone."""
    recognition: RecognitionConfig = RecognitionConfig()
    """How a query gets its class."""
    device: str = "auto"
    """Where it is computed: `cpu`, `cuda`, `cuda:1`, `mps`; `auto` takes the accelerator, if there is one."""
    cache: Auto | Literal[False] | Path = "auto"
    """Folder in which vectors are kept by the content of files, shared by all runs; `false` keeps none."""


SCHEMA = FewShotRun
