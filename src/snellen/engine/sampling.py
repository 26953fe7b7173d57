"""Which samples come in which step on which rank: a pure function of seed, epoch and step."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from snellen.engine.seeding import Purpose, mix
from snellen.errors import DataError

__all__ = ["MicroBatch", "SamplePlan", "evaluation_batches"]


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """One forward and backward pass of one rank.

    Args:
        indices: Samples.
        weight: Factor of its mean loss, such that the mean gradient over all ranks is that of the mean loss over all
            samples of the step, whatever the sizes of the micro-batches.
    """

    indices: tuple[int, ...]
    weight: float


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """How an epoch's samples are dealt out; every sample counts exactly once in each epoch.

    Two devices with batches of 4 see just what one device with batches of 8 sees.

    Args:
        samples: Length of the dataset.
        batch_size: Samples per rank and micro-batch, at most.
        accumulate: Micro-batches per optimiser step.
        ranks: Number of processes.
        seed: Of the shuffles.

    Raises:
        DataError: There is no sample.

    Example:
        >>> plan = SamplePlan(samples=5, batch_size=2, accumulate=1, ranks=1, seed=0)
        >>> [[len(batch.indices) for batch in step] for step in plan.epoch(0, rank=0)]
        [[2], [2], [1]]
    """

    samples: int
    batch_size: int
    accumulate: int = 1
    ranks: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise DataError(
                "the training set is empty, expected at least 1 sample",
                hint="check the path and the split of the training data",
                slug="empty-dataset",
            )

    @property
    def samples_per_step(self) -> int:
        """Samples of a full optimiser step over all ranks."""
        return self.batch_size * self.accumulate * self.ranks

    @property
    def steps(self) -> int:
        """Optimiser steps of an epoch; the last may be smaller."""
        return -(-self.samples // self.samples_per_step)

    def epoch(self, epoch: int, *, rank: int, start: int = 0) -> list[list[MicroBatch]]:
        """One rank's micro-batches, step by step, from step `start` of an epoch to its end."""
        generator = torch.Generator().manual_seed(mix(self.seed, Purpose.ORDER, epoch) >> 1)
        order = torch.randperm(self.samples, generator=generator)
        return [self._step(order, step, rank) for step in range(start, self.steps)]

    def _step(self, order: torch.Tensor, step: int, rank: int) -> list[MicroBatch]:
        """The last step's samples are dealt out evenly; a rank that gets none in it repeats one with weight 0.

        All ranks have to take part in each exchange of gradients.
        """
        taken = order[step * self.samples_per_step : (step + 1) * self.samples_per_step]
        rounds = -(-len(taken) // (self.batch_size * self.ranks))
        parts = torch.tensor_split(taken, rounds * self.ranks)
        batches = []
        for part in parts[rank :: self.ranks]:
            indices = tuple(part.tolist()) or (int(taken[0]),)
            batches.append(MicroBatch(indices, len(part) * self.ranks / len(taken)))
        return batches


def evaluation_batches(samples: int, *, batch_size: int, rank: int = 0, ranks: int = 1) -> list[tuple[int, ...]]:
    """Indices of one rank's batches of an evaluation; all ranks together take every sample once.

    Example:
        >>> evaluation_batches(5, batch_size=2, rank=1, ranks=2)
        [(1, 3)]
    """
    own = range(rank, samples, ranks)
    return [tuple(own[start : start + batch_size]) for start in range(0, len(own), batch_size)]
