"""The other side of `workers`: a process that measures files one by one, as its parent asks.

A process of its own, because a decoder that crashes on a broken file takes its process with it. One JSON object a line
in both directions; it ends when its input does, and leaves Ctrl-C to its parent.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from snellen.core.facts.data import ImageRecord, MaskRecord, Pixels
from snellen.data.audit.cache import AuditCache
from snellen.data.audit.measuring import measure_image, measure_mask

__all__ = ["answer", "image_from", "mask_from", "serve", "text_of"]

_Record = TypeVar("_Record", ImageRecord, MaskRecord)


def serve() -> None:
    """Answer jobs until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Answers have a way of their own: what a decoder prints must not come between them.
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    place = json.loads(sys.stdin.buffer.readline())
    with AuditCache(Path(place).parent if place else None, read_only=True) as cache:
        for line in sys.stdin.buffer:
            answers.write(answer(json.loads(line), cache) + "\n")
            answers.flush()


def text_of(record: ImageRecord | MaskRecord) -> str:
    """A record as one line of JSON, without its path."""
    names = [field.name for field in dataclasses.fields(record) if field.name != "path"]
    data: dict[str, Any] = {name: getattr(record, name) for name in names}
    pixels = data.get("pixels")
    if isinstance(pixels, Pixels):
        values = [getattr(pixels, field.name) for field in dataclasses.fields(Pixels)]
        data["pixels"] = [base64.b64encode(value).decode() if isinstance(value, bytes) else value for value in values]
    return json.dumps(data)


def image_from(path: str, text: str) -> ImageRecord:
    """The record that `text_of` wrote.

    Raises:
        ValueError: The text is no such record.
        TypeError: Likewise.
    """
    data = json.loads(text)
    # Thousands of records share these few words.
    data["format"], data["mode"] = sys.intern(data["format"]), sys.intern(data["mode"])
    if data["pixels"] is not None:
        values = dict(zip((field.name for field in dataclasses.fields(Pixels)), data["pixels"], strict=True))
        data["pixels"] = Pixels(**{**values, "signature": base64.b64decode(values["signature"])})
    return ImageRecord(path=path, **data)


def mask_from(path: str, text: str) -> MaskRecord:
    """The record that `text_of` wrote.

    Raises:
        ValueError: The text is no such record.
        TypeError: Likewise.
    """
    data = json.loads(text)
    return MaskRecord(path=path, **{**data, "values": tuple((value, count) for value, count in data["values"])})


def answer(job: dict[str, Any], cache: AuditCache) -> str:
    """The record of a file, as text.

    Args:
        job: Fields of a `snellen.data.audit.workers.Job`, and `stored_as`.
        cache: Where a record of the same content is looked up.
    """
    path, kind = job["path"], job["stored_as"]
    if job["kind"] == "mask":
        return text_of(measure_mask(path, recall=lambda digest: _recall(mask_from, path, cache.get(kind, digest))))
    record = measure_image(
        path,
        pixels=job["kind"] == "image",
        digest=job["digest"],
        recall=lambda digest: _recall(image_from, path, cache.get(kind, digest)),
    )
    return text_of(record)


def _recall(read: Callable[[str, str], _Record], path: str, text: str | None) -> _Record | None:
    try:
        return read(path, text) if text is not None else None
    except (ValueError, TypeError, KeyError):
        return None
