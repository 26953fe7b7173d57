"""Allocations of one or more steps in the order in which they happened, and what they add up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Allocation", "Category", "Event", "Timeline"]


class Category(StrEnum):
    """What memory is for."""

    PARAMETERS = "parameters"
    BUFFERS = "buffers"
    INPUTS = "inputs"
    GRADIENTS = "gradients"
    OPTIMISER = "optimiser state"
    AVERAGE = "weight average"
    ACTIVATIONS = "activations"
    BACKWARD = "backward"
    UPDATE = "update"


@dataclass(slots=True)
class Allocation:
    """One block of memory.

    Args:
        size: Bytes.
        category: What it is for; settled when a phase ends.
        module: Path of the module whose forward made it, `""` outside of any.
        operation: The operator, for example `aten.convolution.default`.
        shape: Of the tensor that came with it.
        dtype: Of that tensor.
        inside: Whether an operator only held it while it ran, by a rule of thumb.
    """

    size: int
    category: Category
    module: str = ""
    operation: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    inside: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """An allocation, by its number, is made or given back."""

    allocation: int
    made: bool


@dataclass(slots=True)
class Timeline:
    """What happened to memory in a step.

    Args:
        allocations: By number.
        events: In the order in which they happened.
        flops: Floating-point operations; one multiply-add counts as two.
        operators: Operations and bytes read and written of every operator, views left out.
        convolution: Bytes read and written by the largest convolution.
        unreached: Names of parameters that were to be trained and got no gradient.
    """

    allocations: list[Allocation] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    flops: int = 0
    operators: list[tuple[int, int]] = field(default_factory=list)
    convolution: int = 0
    unreached: frozenset[str] = frozenset()

    def beside(self, blocks: Sequence[Allocation]) -> Timeline:
        """The same with blocks that are there all the while."""
        shift = len(blocks)
        before = [Event(number, made=True) for number in range(shift)]
        after = [Event(event.allocation + shift, event.made) for event in self.events]
        return Timeline([*blocks, *self.allocations], before + after, self.flops, self.operators, self.convolution)

    @property
    def peak(self) -> int:
        """The largest number of bytes alive at once."""
        return self._peak()[0]

    @property
    def outside_peak(self) -> int:
        """The same without what operators are said to hold while they run."""
        current = best = 0
        for event in self.events:
            block = self.allocations[event.allocation]
            current += 0 if block.inside else block.size if event.made else -block.size
            best = max(best, current)
        return best

    def at_peak(self) -> dict[Category, int]:
        """Bytes by category when most were alive."""
        found: Counter[Category] = Counter()
        for number in self._alive_at(self._peak()[1]):
            found[self.allocations[number].category] += self.allocations[number].size
        return dict(found)

    def largest_at_peak(self, count: int = 10) -> Sequence[Allocation]:
        """The largest blocks that were alive when most bytes were."""
        alive = [self.allocations[number] for number in self._alive_at(self._peak()[1])]
        return sorted(alive, key=lambda block: -block.size)[:count]

    def _peak(self) -> tuple[int, int]:
        current = best = position = 0
        for index, event in enumerate(self.events):
            size = self.allocations[event.allocation].size
            current += size if event.made else -size
            if current > best:
                best, position = current, index
        return best, position

    def _alive_at(self, position: int) -> set[int]:
        alive: set[int] = set()
        for event in self.events[: position + 1]:
            if event.made:
                alive.add(event.allocation)
            else:
                alive.discard(event.allocation)
        return alive
