"""What spike streams beside frames are, before anything is trained on them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SpikeStreams"]


@dataclass(frozen=True, slots=True)
class SpikeStreams:
    """The spike streams of a data folder.

    Args:
        key: Of the folder, such as `data.train`.
        streams: How many there are.
        broken: File and reason of each that cannot be read: empty, or of a length that no geometry gives.
        torn: File and reason of each whose last step is cut off; whole steps are read.
        silent: Streams without a spike, of those that were looked into.
        looked: How many were looked into.
    """

    key: str
    streams: int
    broken: tuple[tuple[str, str], ...] = ()
    torn: tuple[tuple[str, str], ...] = ()
    silent: tuple[str, ...] = ()
    looked: int = 0
