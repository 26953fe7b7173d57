"""What would make a run fit that only its task knows of: smaller images, smaller parts, an optimiser in fewer bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from snellen.config.resolve import with_setting
from snellen.config.schema import RunConfig
from snellen.estimate.advice import Variant
from snellen.estimate.step import Workload
from snellen.tasks.base import Task

__all__ = ["variants_of"]


def variants_of(task: Task, config: RunConfig, workload: Callable[[RunConfig], Workload]) -> list[Variant]:
    """Other settings of a run that take less memory, each gone through later.

    Args:
        task: What is done.
        config: The run as it is, nothing open.
        workload: The step of other settings.
    """
    found = []
    for key, value, text, price in (*_smaller_images(config), *_smaller_parts(task, config), *_recomputed(config)):
        settings = ((key, value),)
        found.append(Variant(text, price, workload(with_setting(config, key, value)), settings))
    return found


_Changed = Iterator[tuple[str, Any, str, str]]


def _smaller_images(config: RunConfig) -> _Changed:
    size = config.data.image_size
    if not isinstance(size, int):
        return
    multiple = config.data.pad_multiple if isinstance(config.data.pad_multiple, int) else 1
    smaller = max(multiple, int(size * 0.7) // multiple * multiple)
    if smaller < size:
        yield "data.image_size", smaller, f"images of {smaller}", "small details are seen less well"


def _smaller_parts(task: Task, config: RunConfig) -> _Changed:
    price = "parts overlap, so that more is computed; what lies farther apart than a part is not seen together"
    for key, value in task.smaller_parts(config):
        yield key, value, f"{key} {value}", price


def _recomputed(config: RunConfig) -> _Changed:
    if getattr(config.model, "checkpointing", "all") in ("none", "attention", "feed-forward"):
        text, price = "gradient checkpointing of all parts", "the forward pass runs twice: about a third more time"
        yield "model.checkpointing", "all", text, price
