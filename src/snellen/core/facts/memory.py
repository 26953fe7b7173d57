"""Sizes in memory."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["UnfoldFacts"]


@dataclass(frozen=True, slots=True)
class UnfoldFacts:
    """Sizes of the features that patches are taken from in the run.

    Args:
        batch: Images per device.
        channels: Channels of the feature map.
        height: Rows of the feature map.
        width: Columns of the feature map.
        bytes_per_value: 2 in half precision, else 4.
        why: Where the numbers come from.
    """

    batch: int
    channels: int
    height: int
    width: int
    bytes_per_value: int
    why: str = ""

    def bytes_for(self, patch: int, stride: int) -> int:
        """Memory of `unfold(features, patch, stride=stride)`.

        Example:
            >>> facts = UnfoldFacts(8, 384, 100, 100, 4)
            >>> round(facts.bytes_for(12, 4) / 2**30, 2)
            0.87
        """
        rows = max(0, (self.height - patch) // stride + 1)
        columns = max(0, (self.width - patch) // stride + 1)
        return self.batch * self.channels * patch * patch * rows * columns * self.bytes_per_value
