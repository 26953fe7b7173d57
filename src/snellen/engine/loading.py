"""Batches from a dataset, in this process or in others, with the same result either way."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from snellen.engine.handover import Handed, Lender, forget_ended
from snellen.engine.recipe import Batch, MapDataset, Recipe
from snellen.engine.seeding import Purpose, seed_host
from snellen.errors import ContractError, SnellenError

__all__ = ["BatchLoader"]


class BatchLoader:
    """Loads the batches it is told to, epoch after epoch; loader processes live as long as it does.

    Every sample has its own random numbers, seeded from `(seed, purpose, epoch, index)`, so the batches do not depend
    on the number of processes or on what was loaded before.

    Args:
        recipe: Collates the samples.
        dataset: The samples.
        seed: Of the run.
        purpose: Training or evaluation samples.
        workers: Loader processes; 0 loads in this one.
        pin: Put batches into page-locked memory, for copies to CUDA.
    """

    def __init__(
        self, recipe: Recipe, dataset: MapDataset, *, seed: int, purpose: Purpose, workers: int = 0, pin: bool = False
    ) -> None:
        self._order = _BatchOrder()
        self._loader: DataLoader[Any] = DataLoader(
            _SeededDataset(dataset, seed, purpose),
            batch_sampler=self._order,
            collate_fn=_Collate(recipe),
            num_workers=workers,
            pin_memory=pin,
            persistent_workers=workers > 0,
            worker_init_fn=_start_worker,
            # Without a generator of its own, the loader would draw from the process's.
            generator=torch.Generator().manual_seed(seed),
        )

    def batches(self, epoch: int, batches: Iterable[Sequence[int]]) -> Iterator[Batch]:
        """The collated batches, in order.

        Args:
            epoch: For the samples' random numbers.
            batches: Indices of the samples of each batch.

        Raises:
            ContractError: The recipe's `collate` does not name the files.
            SnellenError: Whatever the dataset raised, also from a loader process.
        """
        self._order.batches = [[(epoch, index) for index in batch] for batch in batches]
        for batch in self._loader:
            if isinstance(batch, _Failed):
                raise batch.error
            yield _checked(batch.batch if isinstance(batch, Handed) else batch)

    def close(self) -> None:
        """End the loader processes now, and not when memory happens to be tidied up."""
        iterator = self._loader._iterator
        self._loader._iterator = None
        if iterator is not None:
            iterator._shutdown_workers()  # type: ignore[attr-defined]
        forget_ended()


class _BatchOrder:
    """A batch sampler whose list is replaced before each epoch."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[int, int]]] = []

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Failed:
    """An error on its way out of a loader process, where torch would turn it into text."""

    def __init__(self, error: SnellenError) -> None:
        self.error = error


class _SeededDataset(Dataset[Any]):
    def __init__(self, dataset: MapDataset, seed: int, purpose: Purpose) -> None:
        self._dataset = dataset
        self._key = (seed, purpose)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, key: tuple[int, int]) -> Any:
        epoch, index = key
        seed_host(*self._key, epoch, index)
        try:
            return self._dataset[index]
        except SnellenError as error:
            if get_worker_info() is None:
                raise
            return _Failed(error)


class _Collate:
    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._lender: Lender | None = None

    def __call__(self, samples: list[Any]) -> Any:
        failed = [sample for sample in samples if isinstance(sample, _Failed)]
        if failed:
            return failed[0]
        batch = self._recipe.collate(samples)
        if get_worker_info() is None:
            return batch
        if self._lender is None:
            # Made in the loader process, whose memory it is.
            self._lender = Lender()
        return self._lender.hand(batch)


def _start_worker(_: int) -> None:
    # Ctrl-C reaches the whole group of processes; the training process decides when its loaders end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _checked(batch: Any) -> Batch:
    if not isinstance(batch, dict) or not isinstance(batch.get("files"), list):
        found = sorted(batch) if isinstance(batch, dict) else type(batch).__name__
        raise ContractError(
            f"collate returned {found}, expected a dict whose key 'files' lists the source of every sample"
        )
    return batch
