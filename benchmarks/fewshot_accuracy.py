"""Few-shot recognition of CIFAR-10, Omniglot and BCCD beside nearest-pixel and colour-histogram baselines.

    python benchmarks/fewshot_accuracy.py
    python benchmarks/fewshot_accuracy.py --backbone runs/cifar --sets cifar10 --json accuracy.json
    python benchmarks/fewshot_accuracy.py --learn          with small networks that are trained first, on other classes
    python benchmarks/fewshot_accuracy.py --repeat 100     each set so often: the same for any workers and batches

Data is taken from SNELLEN_SHARED. Figures have 95% intervals; thresholds are chosen on queries that no figure is of.
BCCD is cut into crops first, and those of one photograph never lie on both sides of an episode. Differences to the
baselines are paired, with the same method and number of shots. A folder as `--backbone` is that of a run of the task
`classify`.

With `--learn` the task `classify` trains two networks in minutes, and no class of any figure is among what they have
seen: one on five classes of CIFAR-10, for the other five and for blood cells; one on the characters of the background
alphabets of Omniglot, for the one-shot runs, whose alphabets are others.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
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
    "cifar10_unseen": {"val": "cifar10/train", "test": "cifar10/test", "shots": [1, 5, 10, 30],
                       "episodes": {"ways": 5, "queries": 15, "count": 100}},
    "omniglot_background": {"test": "omniglot/images_background", "shots": [1, 5],
                            "episodes": {"ways": 20, "queries": 3, "count": 100, "unknown": 5}},
    "omniglot_runs": {"test": "omniglot/one_shot_runs"},
    "bccd": {"test": "bccd", "shots": [1, 5, 10], "episodes": {"ways": 3, "queries": 10, "count": 100}},
}  # fmt: skip
SEEN = ("airplane", "bird", "deer", "frog", "ship")
"""Every other class of CIFAR-10, by the alphabet."""
LEARNED: dict[str, str] = {"cifar10_unseen": "cifar10", "omniglot_runs": "omniglot", "bccd": "cifar10"}
"""What is evaluated with which network."""
NAMES = ("closed_accuracy", "accuracy", "balanced_accuracy", "macro_f1", "mcc", "unknown_auroc")


def main() -> None:
    """Evaluate each set and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="hog-colour")
    parser.add_argument("--sets", nargs="+", choices=list(SETS))
    parser.add_argument("--learn", action="store_true", help="train small networks on other classes first")
    parser.add_argument("--epochs", type=int, default=12, help="of these")
    parser.add_argument("--work", type=Path, help="keep crops, networks and pages here, and take up what is there")
    parser.add_argument("--no-centre", action="store_true", help="plain cosines")
    parser.add_argument("--repeat", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    summary: dict[str, Any] = {"backbone": options.backbone, "centre": not options.no_centre}
    sets = options.sets or list(LEARNED if options.learn else SETS)
    with tempfile.TemporaryDirectory() as folder:
        scratch = (options.work or Path(folder)).absolute()
        for name in sets:
            backbone = learn(LEARNED[name], scratch, options.epochs) if options.learn else options.backbone
            run = make_run(name, backbone, scratch, centre=not options.no_centre)
            evaluate(run, checkpoints=None, split="test")
            record = read_json(folder_of(run) / RECORD)
            summary[name] = {**record["best"], "better_than": record["better_than"], "cells": brief(record)}
            show(name, record)
            if options.repeat:
                centre = not options.no_centre
                summary[name]["repeated"] = repeat(name, backbone, options.repeat, scratch, centre=centre)
    if options.json:
        options.json.write_text(json.dumps(summary, indent=2), encoding="utf-8")


def learn(name: str, scratch: Path, epochs: int) -> str:
    """The folder of a small network that the task `classify` has trained; one that is there is taken up."""
    run = scratch / "learned" / name
    if (run / "checkpoints" / "best").is_dir():
        return str(run)
    shared = (shared_folder().expanduser() / "data").absolute()
    if name == "cifar10":
        folders = {label: shared / "cifar10/train" / label for label in SEEN}
    else:
        alphabets = sorted((shared / "omniglot/images_background").iterdir())
        folders = {f"{one.name}-{character.name}": character for one in alphabets for character in one.iterdir()}
    for label, folder in sorted(folders.items()):
        for number, file in enumerate(sorted(folder.iterdir())):
            link = scratch / name / ("train" if number % 10 else "val") / label / file.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(file)
    settings = {
        "task": "classify", "name": name, "output": str(scratch / "learned"),
        "data": {"train": str(scratch / name / "train"), "val": str(scratch / name / "val"), "image_size": 32},
        "model": {"name": "resnet18", "pretrained": False,
                  "options": {"layers": [1, 1, 1, 1], "channels": [16, 32, 64, 64]}},
        "augment": {"flip": name == "cifar10"}, "optim": {"epochs": epochs},
    }  # fmt: skip
    scratch.joinpath(f"{name}.yaml").write_text(json.dumps(settings), encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "snellen", "train", str(scratch / f"{name}.yaml"), "--no-check"], check=True, cwd=scratch
    )
    return str(run)


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
    if name == "cifar10_unseen":
        for key, place in places.items():
            places[key] = scratch / "unseen" / key
            for folder in place.iterdir():
                if folder.name not in SEEN and not (places[key] / folder.name).exists():
                    places[key].mkdir(parents=True, exist_ok=True)
                    (places[key] / folder.name).symlink_to(folder)
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


def repeat(name: str, backbone: str, times: int, scratch: Path, *, centre: bool) -> dict[str, Any]:
    """The same run again and again with other numbers of workers, sizes of passes and of parts, without a cache."""
    from snellen.engine import part_embedder

    usual, batch = part_embedder.PART_ROWS, part_embedder._PASS["cpu"]
    totals: set[str] = set()
    files: set[str] = set()
    thresholds: list[float] = []
    settings: set[tuple[int, ...]] = set()
    for number in range(times):
        run = make_run(name, backbone, scratch, centre=centre, cache=False)
        workers = 1 + number % 5
        data = run.data.model_copy(update={"workers": workers})
        # Baselines are other backbones through the same code.
        recognition = run.recognition.model_copy(update={"baselines": ()})
        run = run.model_copy(update={"data": data, "recognition": recognition})
        part_embedder.PART_ROWS = (usual, 7, 64, 100, 333)[number // 5 % 5]  # type: ignore[misc]
        part_embedder._PASS["cpu"] = (batch, 1, 5, 64)[number % 4]
        settings.add((workers, part_embedder.PART_ROWS, part_embedder._PASS["cpu"]))
        evaluate(run, checkpoints=None, split="test")
        record = read_json(folder_of(run) / RECORD)
        totals.add(json.dumps([cell["figures"] for cell in (record["best"], *record["cells"])], sort_keys=True))
        thresholds.append(record["best"]["threshold"])
        content = (folder_of(run) / RECORD).read_bytes() + (folder_of(run) / "predictions.csv").read_bytes()
        files.add(hashlib.sha256(content).hexdigest())
    part_embedder.PART_ROWS, part_embedder._PASS["cpu"] = usual, batch  # type: ignore[misc]
    print(
        f"  {times} repetitions with {len(settings)} different settings of workers, parts and batches: "
        f"{len(totals)} different totals, {len(files)} different files, "
        f"thresholds that differ by {max(thresholds) - min(thresholds):.1e} at most",
        flush=True,
    )
    return {"repetitions": times, "settings": len(settings), "totals": len(totals), "files": len(files)}


if __name__ == "__main__":
    main()
