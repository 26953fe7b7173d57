"""CPU time of the commands that must start light, beside `import typer, rich`, in one run.

Example: `python benchmarks/light_start.py --repetitions 9 --json light_start.json`
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

LIMIT = 2.5
"""The bar: CPU time over that of importing typer and rich."""

CRASH = """Traceback (most recent call last):
  File "train.py", line 31, in forward
    scores = scores.masked_fill(mask, -1e9)
RuntimeError: value cannot be converted to type at::Half without overflow
"""


def cpu_seconds(command: list[str]) -> float:
    """User and system time of one process."""
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "crash.log")
        log.write_text(CRASH, encoding="utf-8")
        commands = {
            "import typer, rich": [sys.executable, "-c", "import typer, rich"],
            "import snellen": [sys.executable, "-c", "import snellen"],
            "snellen --help": [sys.executable, "-m", "snellen", "--help"],
            "snellen explain LOG": [sys.executable, "-m", "snellen", "explain", str(log)],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(arguments.repetitions):
            for name, command in commands.items():
                times[name].append(cpu_seconds(command))
    peer = statistics.median(times["import typer, rich"])
    results = {
        name: {"seconds": statistics.median(values), "ratio": statistics.median(values) / peer}
        for name, values in times.items()
    }
    for name, result in results.items():
        verdict = "" if result["ratio"] <= LIMIT else f"  above {LIMIT}"
        print(f"{name:22} {result['seconds']:.3f} s of CPU, {result['ratio']:.2f} x{verdict}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"limit": LIMIT, "results": results}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
