"""Search for the nearest of a million supports: exact in blocks, by an index, and plain NumPy, in one run.

    python benchmarks/fewshot_search.py
    python benchmarks/fewshot_search.py --supports 100000 --queries 1000 --json search.json

Vectors lie around 1,000 centres, as those of classes do. Every way runs in a process of its own and is charged with the
memory that it takes beyond the vectors themselves. Plain NumPy is `queries @ supports.T` and `argpartition`, for as
many queries at once as `--plain-bytes` allows: for all at once the similarities alone would take 40 GB.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snellen.ops.cosine_search import nearest, unit_rows
from snellen.ops.vector_index import VectorIndex

Vectors = npt.NDArray[np.float32]
CENTRES = 1000


def main() -> None:
    """Make the vectors, search them in every way, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--supports", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--plain-bytes", type=int, default=512 * 2**20)
    parser.add_argument("--ways", nargs="+", default=["exact", "plain", "index"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(search(options.one[0], Path(options.one[1]), options.k, options.plain_bytes)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        make(Path(scratch), options.supports, options.queries, options.width)
        for way in options.ways:
            command = [sys.executable, __file__, "--one", way, scratch, "-k", str(options.k)]
            command += ["--plain-bytes", str(options.plain_bytes)]
            row = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            rows.append(row)
            print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        found = {row["way"]: np.load(Path(scratch) / f"{row['way']}.npy") for row in rows}
    summary: dict[str, Any] = {"supports": options.supports, "queries": options.queries, "width": options.width}
    summary |= {"k": options.k, "rows": rows}
    seconds = {row["way"]: row["seconds"] for row in rows}
    if {"exact", "plain"} <= set(seconds):
        same = [len(np.intersect1d(one, two)) for one, two in zip(found["exact"], found["plain"], strict=True)]
        summary["same_neighbours"] = float(np.sum(same) / found["plain"].size)
        summary["plain_over_exact"] = round(seconds["plain"] / seconds["exact"], 3)
        print(f"plain NumPy takes {summary['plain_over_exact']} times the time; same: {summary['same_neighbours']:.6f}")
    if options.json:
        options.json.write_text(json.dumps(summary, indent=2), encoding="utf-8")


def make(folder: Path, supports: int, queries: int, width: int) -> None:
    """Write supports and queries of length 1."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((CENTRES, width), np.float32)
    for name, count in (("supports", supports), ("queries", queries)):
        file = np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.float32, shape=(count, width))
        for first in range(0, count, 50_000):
            rows = min(50_000, count - first)
            noise = generator.standard_normal((rows, width), np.float32)
            file[first : first + rows] = unit_rows(centres[generator.integers(0, CENTRES, rows)] + noise)
        file.flush()


def search(way: str, folder: Path, k: int, plain_bytes: int) -> dict[str, Any]:
    """Search in one way; time, CPU seconds, and the memory beyond that of the vectors."""
    supports, queries = np.load(folder / "supports.npy"), np.load(folder / "queries.npy")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before, started, cpu = memory("VmRSS"), time.perf_counter(), time.process_time()
    extra: dict[str, Any] = {}
    if way == "exact":
        indices = nearest(queries, supports, k=k, unit=True).indices
    elif way == "plain":
        indices = plain(queries, supports, k, plain_bytes)
    else:
        index = VectorIndex.build(supports)
        extra["build_seconds"] = round(time.perf_counter() - started, 2)
        started = time.perf_counter()
        extra["recall"] = round(index.tune(queries, k=k), 4)
        extra |= {"effort": index.effort, "tune_seconds": round(time.perf_counter() - started, 2)}
        started = time.perf_counter()
        indices = index.search(queries, k).indices
    row: dict[str, Any] = {"way": way, "seconds": round(time.perf_counter() - started, 2)}
    row |= {"cpu_seconds": round(time.process_time() - cpu, 2), "extra_mib": round(memory("VmHWM") - before)}
    np.save(folder / f"{way}.npy", indices)
    return {**row, **extra}


def plain(queries: Vectors, supports: Vectors, k: int, most: int) -> npt.NDArray[np.int64]:
    """As one would write it."""
    rows = max(1, most // (4 * len(supports)))
    found = []
    for first in range(0, len(queries), rows):
        similar = queries[first : first + rows] @ supports.T
        # Without the copy the view would keep the whole partition.
        found.append(np.argpartition(similar, -k, axis=1)[:, -k:].copy())
    return np.concatenate(found)


def memory(name: str) -> float:
    """A figure of this process in MiB."""
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    main()
