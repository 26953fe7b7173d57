"""How long `snellen check` takes: nothing known yet (cold), a second time (warm), and with the rehearsal.

    python benchmarks/check_time.py --data ../shared/data/cifar10 --repetitions 3      train/ and val/ or test/ inside
    python benchmarks/check_time.py --images 4000 --side 160                           a folder that is made here
    python benchmarks/check_time.py --run forgery.yaml --rehearse --json out.json      run files of your own

Each figure is a process of its own, torch imported, from its start to its end: seconds of the clock, and of the
processors for it and all that it started, which other programs on the machine disturb less. Cold means an empty
`SNELLEN_CACHE`; files that were read a moment ago are still in the memory of the system.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

STATIC, REHEARSED = 10.0, 60.0
"""The bars: seconds of the clock on two quiet cores."""
NETWORKS = ("resnet18", "vit_small_patch16_224")
CLASSES = 10


def made(folder: Path, count: int, side: int) -> Path:
    """Pictures of coloured waves, every one another, three quarters of them to train on."""
    chance = np.random.default_rng(0)
    rows, columns = np.mgrid[0:side, 0:side] / side
    for number in range(count):
        split = "val" if number % 4 == 3 else "train"
        waves = chance.uniform(1, 9, (3, 2, 1, 1)) * np.stack([rows, columns])
        shown = np.sin(waves.sum(axis=1) * 2 * np.pi + chance.uniform(0, 6, (3, 1, 1)))
        shown = shown + chance.normal(0, 0.1, shown.shape)
        pixels = np.clip(127 + 80 * shown, 0, 255).astype(np.uint8).transpose(1, 2, 0)
        place = folder / split / f"class{number % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number:05d}.jpg", quality=90)
    return folder


def run_files(data: Path, folder: Path) -> Iterator[Path]:
    """A run of the task `classify` for each network."""
    val = next(name for name in ("val", "test", "train") if (data / name).is_dir())
    for network in NETWORKS:
        path = folder / f"{network}.yaml"
        path.write_text(
            f"task: classify\ndata: {{train: {data.absolute() / 'train'}, val: {data.absolute() / val}}}\n"
            f"model: {{name: {network}, pretrained: false}}\noptim: {{epochs: 30, batch_size: 64}}\n"
        )
        yield path


def measured(run: Path, cache: Path, *options: str) -> dict[str, Any]:
    """One process: seconds of the clock, of the processors, the exit code."""
    command = [sys.executable, "-m", "snellen", "check", str(run), "--json", *options]
    environment = {**os.environ, "SNELLEN_CACHE": str(cache)}
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, cwd=run.parent)
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    checks = json.loads(done.stdout)["checks"]
    return {"wall": wall, "processor": processor, "crashed": [c["slug"] for c in checks if c["state"] == "crashed"]}


def medians(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Of several processes."""
    middle = {name: statistics.median(one[name] for one in found) for name in ("wall", "processor")}
    return {**middle, "all": found}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder with train/ and val/ or test/, a folder for each class")
    parser.add_argument("--run", type=Path, action="append", default=[], help="a run file; repeatable")
    parser.add_argument("--images", type=int, default=4000, help="of the folder that is made without --data and --run")
    parser.add_argument("--side", type=int, default=160, help="of these images")
    parser.add_argument("--rehearse", action="store_true", help="also with the rehearsal")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="snellen-check-time-") as scratch:
        place = Path(scratch)
        runs = [run.absolute() for run in arguments.run]
        if not runs or arguments.data is not None:
            data = arguments.data or made(place / "data", arguments.images, arguments.side)
            runs += run_files(data, place)
        for run in runs:
            found: dict[str, list[dict[str, Any]]] = {"cold": [], "warm": []}
            for number in range(arguments.repetitions):
                cache = place / f"cache-{run.stem}-{number}"
                found["cold"].append(measured(run, cache))
                found["warm"].append(measured(run, cache))
                if arguments.rehearse:
                    found.setdefault("with rehearsal", []).append(measured(run, cache, "--rehearse"))
            results[run.stem] = {name: medians(several) for name, several in found.items()}
            for name, result in results[run.stem].items():
                bar = REHEARSED if "rehearsal" in name else STATIC
                verdict = "" if result["wall"] <= bar else f"  above {bar:.0f} s"
                seconds = f"{result['wall']:5.1f} s, of the processors {result['processor']:5.1f} s"
                print(f"{run.stem:28} {name:14} {seconds}{verdict}", flush=True)
    machine = {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "load": os.getloadavg()[0],
        "torch": version("torch"),
        "python": platform.python_version(),
    }
    print(f"{machine['cores']} cores, load {machine['load']:.1f}, torch {machine['torch']}")
    if arguments.json:
        bars = {"static": STATIC, "with rehearsal": REHEARSED}
        arguments.json.write_text(json.dumps({"bars": bars, "machine": machine, "results": results}, indent=2))


if __name__ == "__main__":
    main()
