"""Which images pairs have joined already, so that a further pair would tell nothing new.

Of images that all show the same, pairs grow with the square of the images. To join them, one pair less than there are
images is enough.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

__all__ = ["Joined"]


class Joined:
    """Images by their place in a list, joined pair by pair.

    Images of one part are joined to groups. Between two parts, each image is joined to the first of the other part that
    it is paired with, whatever its own part holds.

    Args:
        parts: What each image belongs to.

    Example:
        >>> joined = Joined(["train", "train", "train", "val"])
        >>> for one, other in ((0, 1), (1, 2), (0, 3)):
        ...     joined.join(one, other)
        >>> joined.needs(0, 2), joined.needs(0, 3), joined.needs(1, 3)
        (False, False, True)
    """

    def __init__(self, parts: Sequence[Hashable]) -> None:
        self._parts = parts
        self._leader: dict[int, int] = {}
        self._met: set[tuple[int, Hashable]] = set()

    def needs(self, one: int, other: int) -> bool:
        """Whether a pair of these two would tell something new."""
        if self._parts[one] == self._parts[other]:
            return self._leader_of(one) != self._leader_of(other)
        return (one, self._parts[other]) not in self._met or (other, self._parts[one]) not in self._met

    def join(self, one: int, other: int) -> None:
        """These two show the same."""
        if self._parts[one] == self._parts[other]:
            self._leader[self._leader_of(one)] = self._leader_of(other)
        else:
            self._met |= {(one, self._parts[other]), (other, self._parts[one])}

    def _leader_of(self, place: int) -> int:
        while (above := self._leader.get(place, place)) != place:
            self._leader[place] = place = self._leader.get(above, above)
        return place
