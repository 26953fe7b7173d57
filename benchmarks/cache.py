"""How fast decoded samples come out of the shared cache, beside other ways of holding them, and what memory each takes.

    python benchmarks/cache.py                          480 pictures of 512 x 512, 4 workers: some minutes on two cores
    python benchmarks/cache.py --pictures 1600 --repeats 9

    snellen   `Items` in an `Arena`, one memory for all workers, read by the loader of training runs, `BatchLoader`,
              whose workers hand their batches over in memory that is used again
    arena     the same `Items` in the loader of the others
    png       decodes every picture in every epoch, with the same decoder
    dicts     a dictionary in each of the workers, which stay: what a data set with a cache of its own does
    lmdb      decoded pictures in an LMDB, read as its documentation does: `transaction.get(key)`, a copy
    lmdb-map  the same LMDB read without a copy (`buffers=True`)
    litdata   decoded pictures in an optimised litdata set, read by its own data set and loader

All hold the same pictures and give the same batches, which is asserted by their sum. All but snellen and litdata run in
the same `DataLoader` with the same collation into shared memory. Orders are random. Warm epochs are timed: the stores
are filled, and one epoch has been read. Repetitions are interleaved, each way's loader is kept between its epochs, and
ratios are taken within a repetition, since other programs share the cores.

Memory is the proportional set size: a page that n processes share counts 1/n for each. `own` is that of the stored
pictures alone, summed over the training process and the workers from what the kernel says of each mapping; `all` is
that of the processes as a whole, less the same processes with the loader that decodes and holds nothing.
"""

# mypy: allow-untyped-calls
# The peers are untyped.

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import numpy.typing as npt
import psutil
import torch
from torch.utils.data import DataLoader, Dataset

from snellen.data.cache.arena import Arena, Arrays, stored_bytes
from snellen.data.cache.items import Items
from snellen.data.reading import read_image
from snellen.data.writing import write_png
from snellen.engine.loading import BatchLoader
from snellen.engine.seeding import Purpose

Pixels = npt.NDArray[np.uint8]
WORKERS = 4
BATCH = 16
BARS = {"png": 5.0, "lmdb": 1.0, "lmdb-map": 1.0, "litdata": 1.0}


def make_pictures(folder: Path, count: int, side: int) -> list[Path]:
    """Pictures that compress about as well as photographs: smooth shapes with some noise."""
    numbers = np.random.default_rng(0)
    paths = []
    for number in range(count):
        coarse = numbers.integers(0, 256, (side // 32, side // 32, 3)).astype(np.float32)
        smooth = torch.nn.functional.interpolate(
            torch.from_numpy(coarse).permute(2, 0, 1)[None], size=(side, side), mode="bicubic"
        )[0].permute(1, 2, 0)
        noisy = smooth.numpy() + numbers.normal(0, 3, (side, side, 3))
        paths.append(folder / f"{number:05d}.png")
        write_png(paths[-1], np.clip(noisy, 0, 255).astype(np.uint8))
    return paths


class Decoded(Dataset[torch.Tensor]):
    """Decodes on each read."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def pixels(self, index: int) -> Pixels:
        """One picture."""
        return read_image(self.paths[index]).pixels

    def __getitem__(self, index: int) -> Pixels:  # type: ignore[override]
        return self.pixels(index)


class Dictionaries(Decoded):
    """A dictionary of its own in each process."""

    def __init__(self, paths: list[Path]) -> None:
        super().__init__(paths)
        self.kept: dict[int, Pixels] = {}

    def pixels(self, index: int) -> Pixels:
        """One picture."""
        if index not in self.kept:
            self.kept[index] = super().pixels(index)
        return self.kept[index]


class Shared(Decoded):
    """The cache of this package."""

    def __init__(self, paths: list[Path], budget: int) -> None:
        super().__init__(paths)
        self.items = Items([[path] for path in paths], self._decode, how="benchmark")
        self.arena = Arena(budget, slots=len(paths))
        self.items.share(self.arena, first=0)

    def _decode(self, index: int) -> Arrays:
        return (read_image(self.paths[index]).pixels,)

    def pixels(self, index: int) -> Pixels:
        """One picture."""
        found: Pixels = self.items.read(index)[0]
        return found


class Stacking:
    """All of a recipe that a loader asks for."""

    def collate(self, samples: Sequence[Pixels]) -> dict[str, Any]:
        """A batch."""
        return {"files": [""] * len(samples), "pixels": np.stack(samples)}


class RunLoader:
    """The loader of training runs, with the batches of an epoch drawn as a run draws them."""

    def __init__(self, dataset: Decoded) -> None:
        self._count, self._epoch = len(dataset), 0
        self._loader = BatchLoader(
            Stacking(),  # type: ignore[arg-type]
            dataset,
            seed=0,
            purpose=Purpose.TRAINING_SAMPLE,
            workers=WORKERS,
        )

    @property
    def _iterator(self) -> Any:
        return self._loader._loader._iterator

    def __iter__(self) -> Iterator[torch.Tensor]:
        self._epoch += 1
        order = torch.randperm(self._count, generator=torch.Generator().manual_seed(self._epoch)).tolist()
        batches = [order[begin : begin + BATCH] for begin in range(0, self._count, BATCH)]
        for batch in self._loader.batches(self._epoch, batches):
            yield torch.from_numpy(batch["pixels"])


class Lmdb(Decoded):
    """Decoded pictures in an LMDB."""

    def __init__(self, paths: list[Path], folder: Path, side: int, *, mapped: bool) -> None:
        super().__init__(paths)
        self.folder, self.side, self.mapped = str(folder), side, mapped
        self.opened: Any = None
        size = 2 * len(paths) * side * side * 3 + (64 << 20)
        with lmdb.open(self.folder, map_size=size) as store, store.begin(write=True) as transaction:
            for index, path in enumerate(paths):
                transaction.put(index.to_bytes(4, "big"), read_image(path).pixels.tobytes())

    def pixels(self, index: int) -> Pixels:
        """One picture."""
        if self.opened is None:
            self.opened = lmdb.open(self.folder, readonly=True, lock=False, readahead=False)
        with self.opened.begin(buffers=self.mapped) as transaction:
            stored = transaction.get(index.to_bytes(4, "big"))
            # The picture is copied into the batch after the transaction, as the map stays where it is.
            return np.frombuffer(stored, np.uint8).reshape(self.side, self.side, 3)


def stacked(samples: list[Any]) -> torch.Tensor:
    """A batch in shared memory, written once."""
    shape = (len(samples), *samples[0].shape)
    batch = torch.empty(shape, dtype=torch.uint8)
    if torch.utils.data.get_worker_info() is not None:
        storage = batch.untyped_storage()._new_shared(batch.numel())
        batch = torch.empty(0, dtype=torch.uint8).set_(storage, 0, shape)  # type: ignore[call-overload]
    into = batch.numpy()
    for place, sample in enumerate(samples):
        into[place] = sample
    return batch


@dataclass
class Way:
    """One way of holding pictures."""

    loader: Any
    shared: Callable[[str], bool] = lambda _: False
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    total: int = -1

    def epoch(self) -> tuple[float, float]:
        """Seconds of one epoch, and those that processors spent on it."""
        before, started, total = self._spent(), time.perf_counter(), 0
        for batch in self.loader:
            total += int(batch[:, ::64, ::64].sum())
        assert self.total in (-1, total), "another set of pictures"
        self.total = total
        return time.perf_counter() - started, self._spent() - before

    def _spent(self) -> float:
        processes = [psutil.Process(), *workers_of(self.loader)]
        # In nanoseconds, where times of processes count in hundredths of a second.
        threads = [thread for process in processes for thread in Path(f"/proc/{process.pid}/task").iterdir()]
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9

    def memory(self) -> tuple[int, int]:
        """Proportional set size of what is stored, and of the processes as a whole, workers and this one."""
        own = whole = 0
        for process in [psutil.Process(), *workers_of(self.loader)]:
            for name, size in mappings(process.pid):
                whole += size
                own += size if self.shared(name) else 0
        return own, whole


def workers_of(loader: Any) -> list[psutil.Process]:
    """The processes of a loader that keeps them."""
    iterator = getattr(loader, "_iterator", None)
    return [psutil.Process(worker.pid) for worker in getattr(iterator, "_workers", []) if worker.is_alive()]


def mappings(pid: int) -> Iterator[tuple[str, int]]:
    """Name and proportional set size of each mapping of a process."""
    name = ""
    for line in Path(f"/proc/{pid}/smaps").read_text(errors="replace").splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            name = f"{words[5]}#{words[4]}" if len(words) > 5 else ""
        elif words[0] == "Pss:":
            yield name, int(words[1]) << 10


def loader_of(dataset: Dataset[Any], shuffled: bool = True) -> DataLoader[Any]:
    """The loader that all ways but litdata share."""
    return DataLoader(
        dataset,
        BATCH,
        shuffle=shuffled,
        num_workers=WORKERS,
        persistent_workers=True,
        collate_fn=stacked,
        generator=torch.Generator().manual_seed(0),
    )


def as_sample(path: str) -> dict[str, Any]:
    """What litdata stores of one picture."""
    return {"pixels": read_image(path).pixels}


def arena_way(loader: Callable[[Decoded], Any], paths: list[Path], budget: int) -> Way:
    """The pictures as the cache of this package holds them."""
    dataset = Shared(paths, budget)
    # Batches lie in memory of the same kind and name.
    mine = str(os.fstat(dataset.arena._file.handle).st_ino)
    return Way(loader(dataset), lambda name: name.startswith("/memfd:snellen-cache") and name.endswith(f"#{mine}"))


def lmdb_way(paths: list[Path], folder: Path, side: int, *, mapped: bool) -> Way:
    """The pictures as an LMDB holds them."""
    return Way(loader_of(Lmdb(paths, folder, side, mapped=mapped)), lambda name: f"{folder.name}/data.mdb" in name)


def litdata_way(paths: list[Path], folder: Path) -> Way:
    """The pictures as litdata holds them."""
    import litdata

    litdata.optimize(
        fn=as_sample, inputs=[str(path) for path in paths], output_dir=str(folder), chunk_bytes="64MB", num_workers=1,
        verbose=False,
    )  # fmt: skip
    dataset = litdata.StreamingDataset(str(folder), shuffle=True)
    loader = litdata.StreamingDataLoader(
        dataset, batch_size=BATCH, num_workers=WORKERS, persistent_workers=True, collate_fn=stacked_named
    )
    return Way(loader, lambda name: str(folder) in name)


def stacked_named(samples: list[dict[str, Any]]) -> torch.Tensor:
    """As `stacked`, of litdata's samples."""
    return stacked([sample["pixels"] for sample in samples])


def ways_of(paths: list[Path], folder: Path, side: int, names: list[str]) -> dict[str, Way]:
    """All ways, filled."""
    budget = len(paths) * stored_bytes((np.zeros((side, side, 3), np.uint8),))
    makers: dict[str, Callable[[], Way]] = {
        "snellen": lambda: arena_way(RunLoader, paths, budget),
        "arena": lambda: arena_way(loader_of, paths, budget),
        "png": lambda: Way(loader_of(Decoded(paths))),
        "lmdb": lambda: Way(
            loader_of(Lmdb(paths, folder / "a", side, mapped=False)), lambda name: "/a/data.mdb" in name
        ),
        "lmdb-map": lambda: Way(
            loader_of(Lmdb(paths, folder / "b", side, mapped=True)), lambda name: "/b/data.mdb" in name
        ),
        "litdata": lambda: litdata_way(paths, folder / "litdata"),
    }
    return {name: makers[name]() for name in names}


def dictionaries(paths: list[Path]) -> int:
    """Bytes that a dictionary in each worker takes beyond a loader that keeps nothing, after the workers saw all."""
    sizes = []
    for kind in (Decoded, Dictionaries):
        way = Way(loader_of(kind(paths)))
        # Each epoch is another order, so that a worker meets more of the pictures each time.
        for _ in range(1 if kind is Decoded else 16):
            way.epoch()
        sizes.append(way.memory()[1])
        del way
        gc.collect()
    return sizes[1] - sizes[0]


def main() -> None:
    """Print the table and write the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pictures", type=int, default=480)
    options.add_argument("--side", type=int, default=512)
    options.add_argument("--repeats", type=int, default=7)
    options.add_argument("--ways", default="snellen,arena,png,lmdb,lmdb-map,litdata")
    options.add_argument("--no-dictionaries", action="store_true")
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="snellen-benchmark-"))
    os.environ["DATA_OPTIMIZER_CACHE_FOLDER"] = str(folder / "optimiser")
    try:
        (folder / "png").mkdir()
        paths = make_pictures(folder / "png", given.pictures, given.side)
        stored = given.pictures * given.side**2 * 3
        files = sum(path.stat().st_size for path in paths)
        sizes = f"{stored >> 20} MiB decoded, {files >> 20} MiB as PNG"
        print(
            f"{given.pictures} pictures of {given.side} x {given.side}: {sizes}; {WORKERS} workers, batches of {BATCH}"
        )
        ways = ways_of(paths, folder, given.side, given.ways.split(","))
        figures = measure(ways, given.repeats, given.pictures, stored)
        if not given.no_dictionaries:
            for way in list(ways.values()):
                way.loader = None
            gc.collect()
            taken = dictionaries(paths)
            figures["dicts"] = {"memory_of_pictures": taken / stored}
            print(f"dicts       {taken / stored:.2f} x the pictures in memory after 16 epochs, each in another order")
        if given.json is not None:
            given.json.write_text(json.dumps(figures, indent=2) + "\n")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(ways: dict[str, Way], repeats: int, pictures: int, stored: int) -> dict[str, dict[str, float]]:
    """Time warm epochs in turns, then look at the memory."""
    for way in ways.values():
        way.epoch()
        way.epoch()
    for _ in range(repeats):
        for way in ways.values():
            seconds, processor = way.epoch()
            way.seconds.append(seconds)
            way.processor.append(processor)
    nothing = ways["png"].memory()[1] if "png" in ways else 0
    figures: dict[str, dict[str, float]] = {}
    first = ways["snellen"]
    for name, way in ways.items():
        ratio = statistics.median(one / own for one, own in zip(way.seconds, first.seconds, strict=True))
        spent = statistics.median(one / own for one, own in zip(way.processor, first.processor, strict=True))
        own, whole = way.memory()
        figures[name] = {
            "pictures_per_second": pictures / statistics.median(way.seconds),
            "ratio_of_time": ratio,
            "ratio_of_processor_time": spent,
            "memory_own": own / stored,
            "memory_all": (whole - nothing) / stored,
        }
        bar = f", bar {BARS[name]:.0f}" if name in BARS else ""
        print(f"{name:10} {figures[name]['pictures_per_second']:8.0f} pictures/s   snellen is {ratio:5.2f} x as fast "
              f"(processor time {spent:5.2f} x{bar})   memory / pictures: own {own / stored:.2f}, "
              f"all {(whole - nothing) / stored:.2f}", flush=True)  # fmt: skip
    return figures


if __name__ == "__main__":
    main()
