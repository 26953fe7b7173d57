"""How much memory a run needs, as an interval, and how large its batches may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from snellen.estimate.allocator import OutOfMemory, Peaks, replay
from snellen.estimate.devices import Device, overhead
from snellen.estimate.step import NeedsNumbers, Phase, StepFailed, Workload, record
from snellen.trace.timeline import Allocation, Category, Timeline

__all__ = ["TRAINING", "Need", "Predictor", "Verdict", "unseen_bytes"]

TRAINING: Final[tuple[Phase, ...]] = ("train", "validate", "save")
"""The phases of the process that trains."""

_LARGEST_BATCH = 1 << 16
_TWO = 2
"""One sample alone takes other ways through some models, such as a batch norm of one value."""
_OF_ALL = 0.03
"""The least of that, as a share of everything: the median error that is promised for measured peaks."""
_OF_SAMPLES = (Category.INPUTS, Category.ACTIVATIONS, Category.BACKWARD)
_UNSEEN = 0.06
"""Share of the activations that kernels may want for themselves on top: copies in another layout, partial sums."""


@dataclass(frozen=True, slots=True)
class Need:
    """Memory that a phase of a run needs on one device, in bytes.

    Args:
        phase: `train`, `validate`, `save` or `predict`.
        allocated: What tensors take at the peak.
        low: The least that the device must have: tensors and the smallest context.
        high: What is enough: all that the allocator would hold without pressure, workspaces and the largest context.
        parts: Bytes at the peak by what they are for.
        largest: The largest blocks at the peak.
        how: `shapes`, or `numbers` when a real step on the CPU had to be run.
    """

    phase: Phase
    allocated: int
    low: int
    high: int
    parts: Mapping[Category, int]
    largest: Sequence[Allocation]
    how: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a need fits a device.

    Args:
        fits: `yes` when even the upper end does, `no` when not even the lower does, else `perhaps`.
        need: What is needed.
    """

    fits: str
    need: Need


class Predictor:
    """Predicts for one workload, any batch size.

    A step is gone through with two and with three samples. Where both make the same blocks in the same order, every
    block grows evenly with the batch, and other batch sizes follow; else they are gone through themselves. A step that
    depends on values is really computed, once and with two samples, and what it makes of them is taken to grow evenly.

    Args:
        workload: What a step does.
        phases: What the run consists of; prediction alone where nothing is trained.
    """

    def __init__(self, workload: Workload, phases: Sequence[Phase] = TRAINING) -> None:
        self.workload = workload
        self.phases = phases if workload.optimiser is not None else ("predict",)
        self._timelines: dict[tuple[int, Phase], tuple[Timeline, str]] = {}
        self._peaks: dict[int, Peaks] = {}
        self._tops: dict[int, tuple[dict[Category, int], Sequence[Allocation]]] = {}

    def timeline(self, batch_size: int, phase: Phase) -> tuple[Timeline, str]:
        """What happens to memory in a phase, and how that was found: by `shapes` or by `numbers`."""
        key = 1 if self._does_not_grow(phase) else batch_size, phase
        if key not in self._timelines:
            self._timelines[key] = self._found(*key)
        return self._timelines[key]

    def _does_not_grow(self, phase: Phase) -> bool:
        """Whether the batch size makes no difference."""
        alone = phase == "predict" and self.workload.prediction is not None
        return alone or phase == "save" or (phase == "validate" and self.workload.one_by_one)

    def _validates_as_it_predicts(self) -> bool:
        """Whether both look at the same: the largest input, or a batch of samples."""
        workload = self.workload
        return workload.validation is None if workload.prediction is None else workload.one_by_one

    def _found(self, batch_size: int, phase: Phase) -> tuple[Timeline, str]:
        if phase == "validate" and self._validates_as_it_predicts():
            looking, how = self.timeline(batch_size, "predict")
            return looking.beside(self._held_while_training()), how
        if self._does_not_grow(phase):
            return self._recorded(batch_size, phase)
        small = self._recorded(_TWO, phase)
        if small[1] == "numbers":
            return _scaled(small[0], batch_size / _TWO), "numbers"
        large = self._recorded(_TWO + 1, phase)
        grown = _grown(small[0], large[0], batch_size) if batch_size not in (_TWO, _TWO + 1) else None
        return (grown, small[1]) if grown is not None else self._recorded(batch_size, phase)

    def _held_while_training(self) -> list[Allocation]:
        """What the process that trains holds beside the model while it validates."""
        saved = self._recorded(1, "save")[0].allocations
        return [block for block in saved if block.category in (Category.OPTIMISER, Category.AVERAGE)]

    def _recorded(self, batch_size: int, phase: Phase) -> tuple[Timeline, str]:
        key = batch_size, phase
        if key not in self._timelines:
            workload = replace(self.workload, batch_size=batch_size, unreached=self._unreached(phase))
            try:
                self._timelines[key] = record(workload, phase), "shapes"
            except NeedsNumbers:
                self._timelines[key] = record(workload, phase, real=True), "numbers"
        return self._timelines[key]

    def _unreached(self, phase: Phase) -> frozenset[str]:
        """What a training step finds, where the optimiser has a state without one being gone through."""
        if phase in ("train", "predict"):
            return self.workload.unreached
        try:
            trained, how = self._recorded(_TWO, "train")
        except StepFailed:
            return self.workload.unreached
        return trained.unreached if how == "shapes" else self.workload.unreached

    def need(self, device: Device, batch_size: int, phase: Phase) -> Need:
        """Memory of one phase."""
        timeline, how = self.timeline(batch_size, phase)
        least, most = overhead(device)
        if id(timeline) not in self._tops:
            self._tops[id(timeline)] = timeline.at_peak(), timeline.largest_at_peak()
        parts, largest = self._tops[id(timeline)]
        allocated = sum(parts.values())
        if device.capability is None:
            high = allocated + unseen_bytes(timeline, parts)
            return Need(phase, allocated, timeline.outside_peak, high, parts, largest, how)
        if id(timeline) not in self._peaks:
            self._peaks[id(timeline)] = replay(timeline)
        peaks = self._peaks[id(timeline)]
        high = peaks.reserved + unseen_bytes(timeline, parts) + most
        return Need(phase, allocated, peaks.allocated + least, high, parts, largest, how)

    def worst(self, device: Device, batch_size: int) -> Need:
        """The phase that needs most."""
        return max((self.need(device, batch_size, phase) for phase in self.phases), key=lambda need: need.high)

    def verdict(self, device: Device, batch_size: int) -> Verdict:
        """Whether a batch size fits; under pressure the allocator gives its cache back, which is played through."""
        needs = [self.need(device, batch_size, phase) for phase in self.phases]
        worst = max(needs, key=lambda need: need.high)
        if device.memory_bytes is None:
            return Verdict("unknown", worst)
        if any(need.low > device.memory_bytes for need in needs):
            return Verdict("no", worst)
        if all(need.high <= device.memory_bytes for need in needs):
            return Verdict("yes", worst)
        return Verdict("perhaps" if all(self._squeezed(device, batch_size, n) for n in needs) else "no", worst)

    def _squeezed(self, device: Device, batch_size: int, need: Need) -> bool:
        """Whether the allocator gets by with the memory there is when the context is small."""
        try:
            replay(self.timeline(batch_size, need.phase)[0], capacity=(device.memory_bytes or 0) - overhead(device)[0])
        except OutOfMemory:
            return False
        return True

    def largest_batch(self, device: Device, *, sure: bool = True) -> int:
        """The largest batch size that fits, 0 when not even one sample does.

        Args:
            device: Where.
            sure: Whether the upper end of the interval has to fit, too.
        """
        wanted = ("yes",) if sure else ("yes", "perhaps")

        def fits(batch_size: int) -> bool:
            return self.verdict(device, batch_size).fits in wanted

        if device.memory_bytes is None or not fits(1):
            return 0
        guess = self._by_line(device.memory_bytes, device)
        low, high = 1, 2
        if fits(guess):
            low, high = guess, guess + max(1, guess // 16)
        while high < _LARGEST_BATCH and fits(high):
            low, high = high, high * 2
        return _bisect(low, high, fits)

    def _by_line(self, memory: int, device: Device) -> int:
        """Memory grows evenly with the batch: where the line through two sizes meets what there is."""
        first, second = self.worst(device, 1).high, self.worst(device, 2).high
        slope = max(1, second - first)
        return max(1, min(_LARGEST_BATCH, 1 + (memory - first) // slope))


def _grown(small: Timeline, large: Timeline, batch_size: int) -> Timeline | None:
    """The timeline of a batch size from those of two and of three samples, `None` when they differ in kind."""
    if len(small.allocations) != len(large.allocations) or small.events != large.events:
        return None
    if len(small.operators) != len(large.operators):
        return None

    def line(two: int, three: int) -> int:
        return max(0, two + (three - two) * (batch_size - _TWO))

    # Most blocks are as large for any batch; a hundred batch sizes are asked for before the largest is found.
    blocks = [
        one
        if one.size == other.size and one.shape == other.shape
        else replace(one, size=line(one.size, other.size), shape=tuple(map(line, one.shape, other.shape)))
        for one, other in zip(small.allocations, large.allocations, strict=True)
    ]
    costs = [
        one if one == other else (line(one[0], other[0]), line(one[1], other[1]))
        for one, other in zip(small.operators, large.operators, strict=True)
    ]
    flops, convolution = line(small.flops, large.flops), line(small.convolution, large.convolution)
    return Timeline(blocks, small.events, flops, costs, convolution)


def _scaled(timeline: Timeline, factor: float) -> Timeline:
    """The timeline of another batch size from one that was computed: what is made of the samples grows with them."""
    weights = {block.shape for block in timeline.allocations if block.category is Category.PARAMETERS}

    def grows(block: Allocation) -> bool:
        cast = block.operation.startswith("aten._to_copy") and block.shape in weights
        return block.category in _OF_SAMPLES and not cast

    blocks = [
        replace(block, size=int(block.size * factor)) if grows(block) else block for block in timeline.allocations
    ]
    costs = [(int(flops * factor), int(moved * factor)) for flops, moved in timeline.operators]
    convolution = int(timeline.convolution * factor)
    return Timeline(blocks, timeline.events, int(timeline.flops * factor), costs, convolution)


def unseen_bytes(timeline: Timeline, parts: Mapping[Category, int] | None = None) -> int:
    """The most that kernels want for themselves: what a convolution reads and writes, in a layout of its own.

    Args:
        timeline: Of a phase.
        parts: Bytes at its peak by what they are for, where they are known already.
    """
    parts = timeline.at_peak() if parts is None else parts
    share = int(_UNSEEN * (parts.get(Category.ACTIVATIONS, 0) + parts.get(Category.BACKWARD, 0)))
    return max(share, timeline.convolution, int(_OF_ALL * sum(parts.values())))


def _bisect(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """The largest size that fits, knowing that `low` does and `high` does not."""
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low
