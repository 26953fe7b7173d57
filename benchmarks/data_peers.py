"""The same planted folders given to Snellen, cleanvision and torch-preflight: which kinds of fault each finds.

    python benchmarks/data_peers.py                         clothing, 100 photographs
    python benchmarks/data_peers.py --set stl10_examples --json out.json

One copy of a real set for each way to plant a fault. A peer has found it when it flags a touched file for any reason
that it did not give in the sound copy. torch-preflight reads code only: it is run all the same, on a script that
trains on the folder.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

from data_faults import ROOT, CannotPlant, copy_part, count, examine, known_of, planters, relative

from snellen._env import shared_folder

SCRIPT = """import torch
from torchvision import datasets, models, transforms

data = datasets.ImageFolder("{folder}", transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()]))
loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)
model = models.resnet18(num_classes=10)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for images, labels in loader:
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(images), labels).backward()
    optimizer.step()
"""


def by_cleanvision(folder: Path) -> set[tuple[str, str]]:
    """What cleanvision flags: kind and file. A folder that it gives up on counts as nothing found."""
    from cleanvision import Imagelab

    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        lab = Imagelab(data_path=str(folder))
        lab.find_issues(n_jobs=1)
    flags = lab.issues.filter(regex="^is_.*_issue$")
    return {
        (column.removeprefix("is_").removesuffix("_issue"), str(Path(path).relative_to(folder)))
        for column in flags
        for path in flags.index[flags[column].astype(bool)]
    }


def by_preflight(folder: Path, work: Path) -> str:
    """What torch-preflight says of a script that trains on the folder."""
    script = work / "train.py"
    script.write_text(SCRIPT.format(folder=folder), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("torch-preflight")), "check", str(work)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return "\n".join(line for line in done.stdout.splitlines() if line.strip() and str(work) not in line)


def compare(source: Path, seed: int) -> tuple[list[dict[str, object]], dict[str, object]]:
    """A row for each planter, and what is said of the sound copy."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="data_peers_") as place:
        original = copy_part(source, Path(place, "sound", source.name))
        results = examine(original)
        known = known_of(results, original)
        flagged = by_cleanvision(original)
        work = Path(place, "work")
        work.mkdir()
        silent = by_preflight(original, work)
        sound = {
            "snellen": sorted({slug for slug, _ in known}),
            "cleanvision": sorted({kind for kind, _ in flagged}),
            "cleanvision_flags": len(flagged),
            "torch-preflight": silent,
        }
        for slug, planter in planters():
            copy = Path(place, "planted", source.name)
            shutil.rmtree(copy.parent, ignore_errors=True)
            shutil.copytree(original, copy, symlinks=True)
            try:
                touched = {str(path) for path in planter(copy, random.Random(seed))}
            except CannotPlant:
                continue
            ours, _ = count(slug, examine(copy), copy, touched, known)
            names = {relative(path, copy) for path in touched}
            try:
                theirs = sorted({kind for kind, path in by_cleanvision(copy) - flagged if path in names})
                note = ""
            except Exception as error:  # noqa: BLE001 - whatever a peer raises on a damaged folder is its answer
                theirs, note = [], f"{type(error).__name__}: {error}"[:200]
            preflight = by_preflight(copy, work) != silent
            row = {"fault": slug, "planted_by": planter.__name__, "snellen": ours}
            rows.append({**row, "cleanvision": theirs, "cleanvision_raises": note, "torch-preflight": preflight})
            told = ", ".join(theirs) or (f"raises {note[:40]}" if note else "-")
            print(f"{slug:<26} {planter.__name__:<26} {_yes(ours):<8} {told:<44} {_yes(preflight)}", flush=True)
    return rows, sound


def _yes(found: bool) -> str:
    return "yes" if found else "-"


def main() -> None:
    """Read the arguments, compare, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--set", default="clothing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    source = (ROOT / shared_folder().expanduser()).resolve() / "data" / given.set
    if not source.is_dir():
        sys.exit(f"there is no data set at {source}; set SNELLEN_SHARED")
    print(f"{'fault':<26} {'planted by':<26} {'snellen':<8} {'cleanvision':<44} torch-preflight")
    rows, sound = compare(source, given.seed)
    kinds = {str(row["fault"]) for row in rows}
    for peer in ("snellen", "cleanvision", "torch-preflight"):
        found = {str(row["fault"]) for row in rows if row[peer]}
        print(f"{peer}: {len(found)} of {len(kinds)} kinds")
    print(f"of the sound copy: {sound}")
    if given.json is not None:
        given.json.write_text(json.dumps({"set": given.set, "rows": rows, "sound": sound}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
