"""How fast spikes are summed into time bins, beside Python loops over the steps.

    python benchmarks/voxels.py                    1,000 steps of 250 x 400, 32 bins
    python benchmarks/voxels.py --stream FILE.dat  the steps of a file

    snellen     `packed_voxels`: packed bits added 64 pixels at once, only the sums unpacked
    reader      the whole stream is decoded by an index and a mask for each pixel, as readers of spike cameras do, then
                a loop adds each step to its bin
    comparator  the same in one loop, without keeping the decoded stream
    decoded     the stream is unpacked whole by `np.unpackbits`, then a loop adds each step to its bin
    step        a loop unpacks each step and adds it to its bin: the least that a loop can do

Streams of one byte a pixel need no decoding: `snellen` packs them first, `step` adds them as they are. `read` is what
looking at each byte once takes, which no way can go below.

All start from the stored steps in memory and give the same numbers, which is asserted. Every way runs in one thread;
its processor time is taken, since other programs share the cores. Repetitions are interleaved; ratios are taken within
a repetition and their median is reported. Each way runs once before it is timed, so that the steps lie in the
processor's cache, as those do that were just read from a file, and none pays for the memory that another gave back.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snellen.data.spikes.streams import SpikeFormat, steps_of
from snellen.ops.voxels import packed_voxels

BAR = 20.0
FORM = SpikeFormat(250, 400)
Grid = npt.NDArray[np.float32]
Packed = npt.NDArray[np.uint8]


def snellen(raw: Packed, bins: int) -> Grid:
    """The way of this package."""
    return packed_voxels(raw, bins, height=FORM.height, width=FORM.width, flip=True)


def decoded(raw: Packed, bins: int) -> Grid:
    """Unpack everything, then loop."""
    steps = len(raw)
    spikes = np.unpackbits(raw, bitorder="little").reshape(steps, FORM.height, FORM.width)[:, ::-1]
    grid = np.zeros((bins, FORM.height, FORM.width), np.float32)
    for step in range(steps):
        grid[step * bins // steps] += spikes[step]
    return grid


def each_step(raw: Packed, bins: int) -> Grid:
    """Unpack and add step by step."""
    steps = len(raw)
    grid = np.zeros((bins, FORM.height, FORM.width), np.float32)
    for step in range(steps):
        frame = np.unpackbits(raw[step], bitorder="little").reshape(FORM.height, FORM.width)
        grid[step * bins // steps] += frame[::-1]
    return grid


def comparator(raw: Packed, bins: int) -> Grid:
    """Decode each step by an index and a mask for each pixel."""
    steps = len(raw)
    pixels = np.arange(FORM.height * FORM.width)
    place, mask = pixels // 8, np.left_shift(1, pixels % 8).astype(np.uint8)
    grid = np.zeros((bins, FORM.height, FORM.width), np.float32)
    for step in range(steps):
        frame = (np.bitwise_and(raw[step][place], mask) == mask).reshape(FORM.height, FORM.width)
        grid[step * bins // steps] += np.flipud(frame)
    return grid


def reader(raw: Packed, bins: int) -> Grid:
    """Decode everything as readers of spike cameras do, then loop."""
    steps = len(raw)
    pixels = np.arange(FORM.height * FORM.width)
    place, mask = pixels // 8, np.left_shift(1, pixels % 8).astype(np.uint8)
    spikes = np.zeros((steps, FORM.height, FORM.width), np.uint8)
    for step in range(steps):
        frame = (np.bitwise_and(raw[step][place], mask) == mask).reshape(FORM.height, FORM.width)
        spikes[step] = np.flipud(frame)
    grid = np.zeros((bins, FORM.height, FORM.width), np.float32)
    for step in range(steps):
        grid[step * bins // steps] += spikes[step]
    return grid


def snellen_bytes(raw: Packed, bins: int) -> Grid:
    """The way of this package where a pixel is a byte."""
    return snellen(np.packbits(raw, axis=1, bitorder="little"), bins)


def each_step_bytes(raw: Packed, bins: int) -> Grid:
    """Add step by step."""
    steps = len(raw)
    grid = np.zeros((bins, FORM.height, FORM.width), np.float32)
    for step in range(steps):
        grid[step * bins // steps] += raw[step].reshape(FORM.height, FORM.width)[::-1]
    return grid


def read(raw: Packed, bins: int) -> None:
    """Look at every byte once."""
    del bins
    np.bitwise_or.reduce(raw.reshape(-1).view(np.uint64))


Way = Callable[[Packed, int], Grid | None]
WAYS: dict[int, dict[str, Way]] = {
    1: {"snellen": snellen, "reader": reader, "comparator": comparator, "decoded": decoded, "step": each_step,
        "read": read},
    8: {"snellen": snellen_bytes, "step": each_step_bytes, "read": read},
}  # fmt: skip


def measure(raw: Packed, bins: int, repeats: int, ways: dict[str, Way]) -> dict[str, list[float]]:
    """Seconds of every way in every repetition."""
    expected = ways["step"](raw, bins)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            way(raw, bins)  # warms up
            started = time.process_time()
            grid = way(raw, bins)
            seconds[name].append(time.process_time() - started)
            if grid is not None and expected is not None:
                assert np.array_equal(grid, expected), name
    return seconds


def main() -> None:
    """Print the table and write the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--stream", type=Path)
    options.add_argument("--bins", type=int, default=32)
    options.add_argument("--repeats", type=int, default=15)
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    if given.stream is None:
        drawn = np.random.default_rng(0).integers(0, 256, (2, 1000, FORM.step_bytes), dtype=np.uint8)
        raw = drawn[0] & drawn[1]
    else:
        raw = np.fromfile(given.stream, np.uint8)[: steps_of(given.stream, FORM)[0] * FORM.step_bytes]
        raw = raw.reshape(-1, FORM.step_bytes)
    figures = {bits: report(raw, given.bins, given.repeats, bits) for bits in WAYS}
    print(f"bar: {BAR:.0f} x a loop over the steps of one bit a pixel")
    if given.json is not None:
        found = {"steps": len(raw), "bins": given.bins, "ways": figures[1], "ways_of_bytes": figures[8]}
        given.json.write_text(json.dumps(found, indent=2) + "\n")


def report(raw: Packed, bins: int, repeats: int, bits: int) -> dict[str, dict[str, float]]:
    """Measure one layout and print its table."""
    stored = raw if bits == 1 else np.unpackbits(raw, axis=1, bitorder="little")
    seconds = measure(stored, bins, repeats, WAYS[bits])
    print(f"{len(raw)} steps of {FORM.height} x {FORM.width}, {bits} bits a pixel, into {bins} bins, "
          f"{repeats} repetitions")  # fmt: skip
    figures: dict[str, dict[str, float]] = {}
    for name, times in seconds.items():
        ratio = statistics.median(each / own for each, own in zip(times, seconds["snellen"], strict=True))
        figures[name] = {"median_ms": 1e3 * statistics.median(times), "best_ms": 1e3 * min(times), "ratio": ratio}
        best = min(times) / min(seconds["snellen"])
        print(f"{name:12} {figures[name]['median_ms']:8.1f} ms (best {1e3 * min(times):6.1f})   x {ratio:5.2f} (best "
              f"against best x {best:.2f})")  # fmt: skip
    return figures


if __name__ == "__main__":
    main()
