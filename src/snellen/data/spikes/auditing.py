"""Looks at all spike streams of a folder: can they be read, are they whole, is there a spike in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from snellen.core.facts.spikes import SpikeStreams
from snellen.data.spikes.geometry import SpikeHints, find_format
from snellen.data.spikes.streams import steps_of
from snellen.errors import DataError

__all__ = ["audit_streams"]

_LOOKED_INTO = 64
_SAMPLE = 1 << 20


def audit_streams(key: str, streams: Mapping[str, tuple[int, int] | None], hints: SpikeHints) -> SpikeStreams:
    """Look at streams; of each its length and its first megabyte, and at most 64 whole ones for spikes.

    Args:
        key: Of the folder.
        streams: Files, each with the height and width of the frames beside it.
        hints: How they are stored, as far as that is stated.
    """
    broken: list[tuple[str, str]] = []
    torn: list[tuple[str, str]] = []
    readable: list[str] = []
    for path, frames in streams.items():
        try:
            form = find_format(path, replace(hints, frames=frames))
            steps, left = steps_of(path, form)
        except DataError as error:
            broken.append((path, error.message.removeprefix(path).strip()))
            continue
        readable.append(path)
        if left:
            torn.append((path, f"{steps} whole steps of {form}, then {left} of {form.step_bytes} bytes"))
    chosen = readable[:: max(1, -(-len(readable) // _LOOKED_INTO))]
    silent = tuple(path for path in chosen if _silent(Path(path)))
    return SpikeStreams(key, len(streams), tuple(broken), tuple(torn), silent, len(chosen))


def _silent(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return not any(np.frombuffer(part, np.uint8).any() for part in iter(lambda: file.read(_SAMPLE), b""))
    except OSError:
        return False
