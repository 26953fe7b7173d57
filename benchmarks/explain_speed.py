"""How fast and in how much memory `explain` reads a huge log, and what the first answer on a short one costs.

The peer is this machine: `grep` for one word over the same log, and `python -c pass`.

Example: `python benchmarks/explain_speed.py --megabytes 1024 --json explain_speed.json`
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SPEED, MEMORY, FIRST = 40.0, 250.0, 0.4
"""The bars: MB/s on one core, MB of memory, seconds of CPU for the first answer."""

CRASH = """Traceback (most recent call last):
  File "/home/user/project/train.py", line 31, in forward
    scores = scores.masked_fill(mask, -1e9)
RuntimeError: value cannot be converted to type at::Half without overflow
"""
WORDS = (
    "loading",
    "image",
    "file",
    "with",
    "shape",
    "from",
    "the",
    "cache",
    "of",
    "worker",
    "while",
    "reading",
    "label",
)


def training(_: random.Random) -> Iterator[str]:
    """A training log of mmdetection's kind: the same lines, other numbers."""
    step = 0
    while True:
        step += 50
        yield (
            f"2021-08-18 20:{step // 60 % 60:02d}:{step % 60:02d},257 - mmdet - INFO - Epoch [1][{step}/5808]\t"
            f"lr: 1.0e-02, eta: 5:01:12, time: 0.{step % 997}, memory: 8104, loss_cls: 0.{step % 9973}, acc: 91.5, "
            f"loss: 1.{step % 887}\n"
        )


def diverged(_: random.Random) -> Iterator[str]:
    """A loss that stays NaN: a trigger on every line."""
    step = 0
    while True:
        step += 1
        yield f"step {step} | loss: nan | grad_norm: nan | lr: 1e-4 | memory 8104\n"


def names(generator: random.Random) -> Iterator[str]:
    """Every line holds a name that was never seen before."""
    while True:
        name = "".join(generator.choices("abcdefghijklmnopqrstuvw", k=12))
        words = " ".join(generator.choices(WORDS, k=6))
        yield f"{words} /home/user/data/images/{name}.jpg {generator.random():.4f}\n"


def progress(_: random.Random) -> Iterator[str]:
    """A progress bar that is drawn over and over on one line."""
    step = 0
    while True:
        step += 1
        end = "\n" if step % 1000 == 0 else ""
        yield f"\rEpoch 3:  45%|####      | {step % 1000}/1000 [00:10<00:12,  4.50it/s, loss=0.{step % 997}]{end}"


def one_line(_: random.Random) -> Iterator[str]:
    """No line end at all."""
    while True:
        yield "the quick brown fox jumps over the lazy dog, loss 0.5; "


KINDS: dict[str, Callable[[random.Random], Iterator[str]]] = {
    kind.__name__: kind for kind in (training, diverged, names, progress, one_line)
}


def write(path: Path, kind: str, megabytes: int) -> None:
    """A log of some size, with a crash in its middle and one at its end."""
    lines = KINDS[kind](random.Random(0))
    block, size = [], 0
    while size < 4 << 20:
        line = next(lines)
        block.append(line)
        size += len(line)
    data = "".join(block).encode()
    with path.open("wb") as file:
        count = max(1, megabytes * 1_000_000 // len(data))
        for number in range(count):
            file.write(data)
            if number == count // 2:
                file.write(f"\n{CRASH}".encode())
        file.write(f"\n{CRASH}".encode())


def child(command: list[str]) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and peak memory in MB of one process; its own, not its siblings'."""
    program = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=False);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); print(used.ru_utime + used.ru_stime, used.ru_maxrss)"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True, check=True)
    wall = time.perf_counter() - started
    seconds, memory = map(float, done.stdout.split())
    return seconds, wall, memory / (1e3 if sys.platform != "darwin" else 1e6)


def huge(folder: Path, megabytes: int) -> dict[str, Any]:
    """Speed and memory on a log of every kind."""
    results: dict[str, Any] = {}
    for kind in KINDS:
        path = folder / f"{kind}.log"
        write(path, kind, megabytes)
        size = path.stat().st_size / 1e6
        seconds, wall, memory = child([sys.executable, "-m", "snellen", "explain", str(path)])
        results[kind] = {
            "megabytes": size,
            "mb_per_s": size / seconds,
            "seconds": seconds,
            "wall": wall,
            "peak_mb": memory,
        }
        if shutil.which("grep"):
            results[kind]["grep_ratio"] = seconds / max(child(["grep", "-ic", "out of memory", str(path)])[0], 1e-3)
        path.unlink()
    return results


def first(folder: Path, repetitions: int) -> dict[str, float]:
    """CPU of the first answer on a log of 200 lines, process start included."""
    log = folder / "short.log"
    lines = training(random.Random(0))
    text = "".join(next(lines) for _ in range(196))
    log.write_text(text + CRASH, encoding="utf-8")
    commands = {
        "pass": [sys.executable, "-c", "pass"],
        "explain": [sys.executable, "-m", "snellen", "explain", str(log)],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repetitions):
        for name, command in commands.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    seconds = {name: statistics.median(values) for name, values in times.items()}
    return {
        "seconds": seconds["explain"],
        "python": seconds["pass"],
        "ratio": seconds["explain"] / max(seconds["pass"], 1e-3),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as name:
        results = {
            "first_answer": first(Path(name), arguments.repetitions),
            "huge": huge(Path(name), arguments.megabytes),
        }
    answer = results["first_answer"]
    verdict = "" if answer["seconds"] <= FIRST else f"  above {FIRST}"
    print(
        f"first answer, 200 lines: {answer['seconds']:.3f} s of CPU, {answer['ratio']:.1f} x python -c pass{verdict}\n"
        f"{'log':12}{'MB':>8}{'MB/s':>8}{'peak MB':>9}{'x grep':>8}"
    )
    for kind, row in results["huge"].items():
        marks = [
            *([f"below {SPEED} MB/s"] if row["mb_per_s"] < SPEED else []),
            *([f"above {MEMORY} MB"] if row["peak_mb"] > MEMORY else []),
        ]
        ratio = f"{row['grep_ratio']:8.1f}" if "grep_ratio" in row else f"{'-':>8}"
        figures = f"{kind:12}{row['megabytes']:8.0f}{row['mb_per_s']:8.0f}{row['peak_mb']:9.0f}{ratio}"
        print(f"{figures}  {', '.join(marks)}".rstrip())
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
