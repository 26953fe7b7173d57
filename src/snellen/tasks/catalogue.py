"""The tasks that exist."""

from __future__ import annotations

import difflib
from types import MappingProxyType

from snellen.errors import UsageError
from snellen.tasks.base import Task

__all__ = ["TASKS", "get"]

TASKS = MappingProxyType(
    {
        task.name: task
        for task in (
            Task("forgery", "copy-move forgery: find copied areas and where they came from"),
            Task("classify", "classification: which class an image shows, fine-tuned or from a random start"),
            Task("deblur", "video deblurring: sharp frames from blurred ones, with or without a spike camera"),
            Task("embed", "embeddings: any number of images into vectors of a fixed backbone"),
            Task("probe", "heads on frozen features: several classifications on vectors that are computed once"),
            Task("caption", "captions: words, boxes and text of any number of images, by Florence-2"),
            Task("fewshot", "few-shot recognition: classes told apart by a few examples, and what is like none"),
        )
    }
)
"""Tasks by name."""


def get(name: str) -> Task:
    """The task of a name.

    Raises:
        UsageError: There is none; names the nearest.

    Example:
        >>> get("forgery").name
        'forgery'
    """
    if name in TASKS:
        return TASKS[name]
    nearest = difflib.get_close_matches(name, TASKS, n=1)
    raise UsageError(
        f"task: {name}, expected one of {', '.join(TASKS)}",
        hint=f"did you mean {nearest[0]}?" if nearest else None,
    )
