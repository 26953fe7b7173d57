"""What a run needs of memory: on the device, on the host, and on disk for its checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["CheckpointFacts", "HostMemoryFacts", "MemoryChange", "MemoryFacts", "PhaseMemory", "UnfoldFacts"]


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


@dataclass(frozen=True, slots=True)
class PhaseMemory:
    """Memory of the device in one phase of a run, in bytes.

    Args:
        phase: `train`, `validate`, `save` or `predict`.
        tensors: What tensors take at the peak.
        low: The least that the device must have: tensors and the smallest context.
        high: What is enough: all that the allocator holds without pressure, workspaces, the largest context.
        what: What it looks at: `8 crops of 256 x 256`, `the largest image, 3000 x 2000`.
    """

    phase: str
    tensors: int
    low: int
    high: int
    what: str = ""


@dataclass(frozen=True, slots=True)
class MemoryChange:
    """One change of a run that saves memory.

    Args:
        text: What to do.
        price: What it costs.
        saved: Bytes less at the upper end.
        high: The upper end of what is needed then, in bytes.
        fits: `yes`, `no` or `perhaps`.
        settings: Key path and value, where settings make it.
    """

    text: str
    price: str
    saved: int
    high: int
    fits: str
    settings: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """What a run needs on one device of the machine that it is meant for.

    Args:
        machine: Its name.
        precision: Format of the heavy operations.
        batch_size: Samples of a micro-batch.
        phases: Every phase of the run.
        budget: Bytes of the device that a run may have, `None` when unknown.
        budget_from: Where that number comes from.
        context: Least and most bytes that CUDA takes beside PyTorch; part of `low` and `high`.
        largest_batch: The largest micro-batch that surely fits, `None` when the budget is unknown.
        changes: What would make it fit, the best first; empty when it fits.
        parts: At the peak of the hungriest phase: what for, bytes.
        found_by: `shapes`, or `numbers` when a step had to be computed.
    """

    machine: str
    precision: str
    batch_size: int
    phases: tuple[PhaseMemory, ...]
    budget: int | None = None
    budget_from: str = ""
    context: tuple[int, int] = (0, 0)
    largest_batch: int | None = None
    changes: tuple[MemoryChange, ...] = ()
    parts: tuple[tuple[str, int], ...] = ()
    found_by: str = "shapes"

    @property
    def worst(self) -> PhaseMemory:
        """The phase that needs most."""
        return max(self.phases, key=lambda phase: phase.high)

    def sentence(self) -> str:
        """For people: the hungriest phase against what there is."""
        worst = self.worst
        need = f"{worst.low / 2**30:.1f} to {worst.high / 2**30:.1f} GiB on {self.machine} in `{worst.phase}`"
        there = f" of {self.budget / 2**30:.1f}" if self.budget is not None else ""
        batch = f"; the largest batch that fits is {self.largest_batch}" if self.largest_batch is not None else ""
        return f"memory: {need}{there} ({worst.what}, {self.precision}){batch}"


@dataclass(frozen=True, slots=True)
class CheckpointFacts:
    """What the checkpoints of a run take on disk, in bytes.

    Args:
        last: One from which training goes on: weights, their average, the state of the optimiser.
        best: One of the best weights.
        kept: How many of each kind stay.

    Example:
        >>> CheckpointFacts(last=300, best=100, kept=2).most
        1100
    """

    last: int
    best: int
    kept: int

    @property
    def most(self) -> int:
        """All that are kept, and the one that is being written beside them."""
        return self.kept * (self.last + self.best) + max(self.last, self.best)


@dataclass(frozen=True, slots=True)
class HostMemoryFacts:
    """What a run needs of the main memory, in bytes: least and most.

    Args:
        limit: What it may use, `None` when unknown.
        limit_from: What sets the limit: the machine, or a control group.
        process: The training process: Python, libraries, and on a CPU the step itself.
        worker: One loader process with the largest image open.
        batch: One batch that waits to be used.
        saving: What writing a checkpoint takes.
        workers: Loader processes on the machine.
        prefetched: Batches that each of them keeps ready.
        what: The largest image, and how the batch is made up.
    """

    limit: int | None
    limit_from: str
    process: tuple[int, int]
    worker: tuple[int, int]
    batch: int
    saving: int
    workers: int
    prefetched: int = 2
    what: str = ""

    def need(self, workers: int) -> tuple[int, int]:
        """Least and most with so many loader processes.

        Example:
            >>> facts = HostMemoryFacts(None, "", (100, 200), (10, 20), batch=5, saving=7, workers=4)
            >>> facts.need(0), facts.need(4)
            ((112, 212), (187, 327))
        """
        waiting = max(1, workers * self.prefetched) * self.batch + self.saving
        low, high = (own + workers * each + waiting for own, each in zip(self.process, self.worker, strict=True))
        return low, high
