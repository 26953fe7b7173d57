"""Few-shot recognition of CIFAR-10, Omniglot and BCCD beside nearest-pixel and colour-histogram baselines.

    python benchmarks/fewshot_accuracy.py
    python benchmarks/fewshot_accuracy.py --backbone runs/cifar --sets cifar10 --json accuracy.json
    python benchmarks/fewshot_accuracy.py --repeat 100     also: the same totals for any batches, workers and order

Data is taken from SNELLEN_SHARED. Figures have 95% intervals; thresholds are chosen on queries that no figure is of.
BCCD is cut into crops first, and those of one photograph never lie on both sides of an episode. Differences to the
baselines are paired, with the same method and number of shots. A folder as `--backbone` is that of a run of the task
`classify`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from snellen._env import shared_folder
from snellen.config.machines import Machine
from snellen.config.resolve import resolve
from snellen.core.files import read_json
from snellen.data.cropping import crop_boxes
from snellen.data.layouts import read_layout
from snellen.tasks.fewshot.config import FewShotRun
from snellen.tasks.fewshot.evaluate import RECORD, evaluate, folder_of
from snellen.tasks.fewshot.facts import RESOLVERS

SETS: dict[str, dict[str, Any]] = {
    "cifar10": {"val": "cifar10/train", "test": "cifar10/test", "shots": [1, 5, 10, 30],
                "episodes": {"ways": 5, "queries": 15, "count": 100, "unknown": 2}},
    "omniglot_background": {"test": "omniglot/images_background", "shots": [1, 5],
                            "episodes": {"ways": 20, "queries": 3, "count": 100, "unknown": 5}},
    "omniglot_runs": {"test": "omniglot/one_shot_runs"},
    "bccd": {"test": "bccd", "shots": [1, 5, 10], "episodes": {"ways": 3, "queries": 10, "count": 100}},
}  # fmt: skip
NAMES = ("closed_accuracy", "accuracy", "balanced_accuracy", "macro_f1", "mcc", "unknown_auroc")


def main() -> None:
    """Evaluate each set and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="hog-colour")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--no-centre", action="store_true", help="plain cosines")
    parser.add_argument("--repeat", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    summary: dict[str, Any] = {"backbone": options.backbone, "centre": not options.no_centre}
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.sets:
            run = make_run(name, options.backbone, Path(scratch), centre=not options.no_centre)
            evaluate(run, checkpoints=None, split="test")
            record = read_json(folder_of(run) / RECORD)
            summary[name] = {**record["best"], "better_than": record["better_than"], "cells": brief(record)}
            show(name, record)
        if options.repeat:
            summary["repeated"] = repeat(options, Path(scratch))
    if options.json:
        options.json.write_text(json.dumps(summary, indent=2), encoding="utf-8")


def make_run(name: str, backbone: str, scratch: Path, *, centre: bool, **changes: Any) -> FewShotRun:
    """The settings of a set."""
    shared = (shared_folder().expanduser() / "data").absolute()
    data: dict[str, Any] = dict(SETS[name])
    if name == "bccd":
        if not (scratch / "bccd").is_dir():
            listing = read_layout(shared / "bccd", key="bccd")
            crop_boxes(listing.samples, scratch / "bccd", classes=listing.classes)
        data["test"] = str(scratch / "bccd")
    places = {key: shared / data.pop(key) for key in ("val", "test") if key in data}
    data["shots"] = tuple(data.get("shots", ()))
    run = FewShotRun.model_validate(
        {
            "task": "fewshot", "name": name, "output": scratch / "runs", "cache": scratch / "cache",
            "data": {**places, **data, "workers": 2}, "model": {"backbone": backbone},
            "recognition": {"centre": centre}, **changes,
        }
    )  # fmt: skip
    machine = Machine("here", "cpu", 1, 8.0, bf16=False, cpus=2)
    return resolve(run, machine, root=Path.cwd(), resolvers=RESOLVERS).config


def brief(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Accuracy of known classes, cell by cell."""
    keys = ("backbone", "method", "shots", "threshold")
    return [{**{key: cell[key] for key in keys}, **cell["figures"]} for cell in record["cells"]]


def show(name: str, record: dict[str, Any]) -> None:
    """Print one set."""
    best = record["best"]
    print(f"\n{name}: {best['backbone']}, {best['method']}, {best['shots']} shots, {best['queries']} queries")
    for figure in NAMES:
        if figure in best["figures"]:
            print(f"  {figure:20} {interval(best['figures'][figure])}")
    for cell in record["cells"]:
        figure = interval(cell["figures"]["closed_accuracy"])
        print(f"    {cell['backbone']:18} {cell['method']:10} {cell['shots']:3d} shots  closed accuracy {figure}")
    for other, difference in record["better_than"].items():
        print(f"  better than {other:18} by {interval(difference)}", flush=True)


def interval(values: list[float]) -> str:
    """A figure with its interval."""
    return f"{values[0]:.3f} [{values[1]:.3f}, {values[2]:.3f}]"


def repeat(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """The same run again and again with other numbers of workers and sizes of passes, without a cache."""
    from snellen.engine import part_embedder

    digests: dict[str, int] = {}
    name = "omniglot_runs"
    usual = part_embedder.PART_ROWS
    for number in range(options.repeat):
        run = make_run(name, options.backbone, scratch, centre=not options.no_centre, cache=False)
        data = run.data.model_copy(update={"workers": 1 + number % 5})
        # Baselines are other backbones through the same code.
        recognition = run.recognition.model_copy(update={"baselines": ()})
        run = run.model_copy(update={"data": data, "recognition": recognition})
        part_embedder.PART_ROWS = (usual, 7, 64, 100, 333)[number // 5 % 5]  # type: ignore[misc]
        evaluate(run, checkpoints=None, split="test")
        content = (folder_of(run) / RECORD).read_bytes() + (folder_of(run) / "predictions.csv").read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        digests[digest] = digests.get(digest, 0) + 1
    part_embedder.PART_ROWS = usual  # type: ignore[misc]
    print(f"\n{options.repeat} repetitions: {len(digests)} different results")
    return {"repetitions": options.repeat, "different": len(digests)}


if __name__ == "__main__":
    main()
