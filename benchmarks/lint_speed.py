"""CPU time of `snellen lint` beside TorchFix and torch-preflight on the same tree, one process each, in one run.

    python benchmarks/lint_speed.py                    the installed timm
    python benchmarks/lint_speed.py --package torchvision --repetitions 5

Process start included. The tree is copied first: torch-preflight passes over everything in site-packages. Each tool
evaluates another number of rules, so the time by rule is printed as well.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from lint_precision import folder_of

from snellen.lint.runner import chosen_rules


def cpu_seconds(command: list[str]) -> tuple[float, str]:
    """User and system time of a process and its children, and what it printed."""
    before = os.times()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, done.stdout + done.stderr


def rules_of_torchfix() -> int:
    """Number of rules with `--select ALL`."""
    return len(set(re.findall(r"TOR\d{3}", cpu_seconds([sys.executable, "-m", "torchfix", "--help"])[1])))


def rules_of_preflight() -> int:
    """Number of rules that it lists."""
    return len(
        set(re.findall(r"\b[A-Z]{2,}\d{3}\b", cpu_seconds([sys.executable, "-m", "torch_preflight", "rules"])[1]))
    )


def main() -> None:
    """Measure all tools in turn, print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", default="timm")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(shutil.copytree(folder_of(options.package), Path(scratch, options.package)))
        measure(folder, options.repetitions, as_json=options.json)


def measure(folder: Path, repetitions: int, *, as_json: bool) -> None:
    """Measure all tools on a tree."""
    files = sum(1 for _ in folder.rglob("*.py"))
    tools = {
        "snellen": ([sys.executable, "-m", "snellen", "lint", str(folder)], len(chosen_rules())),
        "torchfix": (
            [sys.executable, "-m", "torchfix", "--select", "ALL", "-j", "1", str(folder)],
            rules_of_torchfix(),
        ),
        "torch-preflight": ([sys.executable, "-m", "torch_preflight", "check", str(folder)], rules_of_preflight()),
    }
    times: dict[str, list[float]] = {name: [] for name in tools}
    for _ in range(repetitions):
        for name, (command, _) in tools.items():
            times[name].append(cpu_seconds(command)[0])
    medians = {name: statistics.median(values) for name, values in times.items()}
    if as_json:
        counts = {name: count for name, (_, count) in tools.items()}
        print(json.dumps({"files": files, "repetitions": repetitions, "seconds": medians, "rules": counts}, indent=2))
        return
    print(f"{folder.name}, {files} files, median of {repetitions}")
    for name, (_, rules) in tools.items():
        by_file = 1000 * medians[name] / files
        shown = f"{by_file:7.2f} ms a file  {by_file / max(1, rules):8.4f} ms a file and rule"
        print(f"{name:<16} {medians[name]:7.2f} s  {rules:>4} rules  {shown}")


if __name__ == "__main__":
    main()
