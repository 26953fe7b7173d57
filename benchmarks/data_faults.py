"""How many planted faults `snellen check` finds in copies of real data sets, and what it says of sound ones.

    python benchmarks/data_faults.py                                   every fault, every set, 5 seeds: about an hour
    python benchmarks/data_faults.py --sets raccoon bccd --seeds 1     a first impression
    python benchmarks/data_faults.py --kinds blurred-image --misses    each miss by its name

The sets are the folders below `$SNELLEN_SHARED/data`. Of large ones a part is taken: some files of each folder. A fault
counts as found when its rule fires and names a file that was touched. A false alarm is an image that any rule names and
that was neither touched nor named in the sound copy; what is said of the sound copy itself is listed for a person to
read.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from snellen._env import shared_folder
from snellen.check import CheckSettings, check
from snellen.check.run import plan_of_folder
from snellen.core.finding import CheckResult, Finding, State
from snellen.core.plan import NotApplicable, Plan
from snellen.data.layouts import splits_of

__all__ = ["ROOT", "CannotPlant", "copy_part", "count", "examine", "named", "planters", "relative"]

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from plant import (  # type: ignore[import-not-found]  # noqa: E402 - it lies with the tests
    CannotPlant,
    Planter,
    planters,
)

LEFT_OUT = {"camera_variety"}
"""Files that are damaged on purpose."""
OF_TWINS = {
    "duplicate-across-splits",
    "duplicate-image",
    "label-conflict",
    "near-duplicate-image",
    "source-across-splits",
}
"""Faults for which images have to be compared with each other."""
LARGE = 1000
"""Files from which on a part is taken."""
PART = 240
"""Files of that part, about."""


@dataclass(slots=True)
class Tally:
    """What became of one fault in one set."""

    planted: int = 0
    found: int = 0
    false_alarms: int = 0
    images: int = 0
    missed: list[str] = field(default_factory=list)


def copy_part(source: Path, target: Path) -> Path:
    """Copy a set, or an even part of the files of each of its folders, the same stems everywhere."""
    files = sorted(path for path in source.rglob("*") if path.is_file() and path.name != "SOURCE.json")
    folders = {path.parent for path in files}
    each = max(3, PART // len(folders)) if len(files) > LARGE and not _in_pairs(folders) else len(files)
    listed = {path.parent for path in files if path.suffix in (".txt", ".csv", ".json")}
    taken: dict[Path, int] = defaultdict(int)
    for path in files:
        taken[path.parent] += 1
        # A folder with a list of its files stays whole.
        if taken[path.parent] <= each or not listed.isdisjoint(path.parents):
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    return target


def _in_pairs(folders: set[Path]) -> bool:
    return any("mask" in folder.name or "annot" in folder.name for folder in folders)


def examine(folder: Path, *, twins: bool = True) -> Sequence[CheckResult]:
    """Every check of the family of data over a bare folder.

    Args:
        folder: A data set.
        twins: Whether images are compared with each other, which takes most of the time.
    """

    def refuse(_plan: Plan) -> None:
        raise NotApplicable("left out")

    splits = {name: str(path) for name, path in splits_of(folder).items()} or {"train": str(folder)}
    plan = plan_of_folder(folder, {"data": splits}, facts={} if twins else {"twins": refuse})
    return check(plan, settings=CheckSettings(select=("data",))).results


def named(finding: Finding) -> set[str]:
    """The files that a finding names."""
    return {one.location.path for one in finding.evidence if one.location is not None}


def tries(original: Path, scratch: Path, planter: Planter, seeds: int) -> Iterator[tuple[int, Path, set[str]]]:
    """A copy for each seed, with the files that were touched; ends at the first refusal."""
    for seed in range(seeds):
        copy = scratch / "planted" / original.name
        shutil.rmtree(copy.parent, ignore_errors=True)
        shutil.copytree(original, copy, symlinks=True)
        try:
            touched = {str(path) for path in planter(copy, random.Random(f"{original.name} {seed}"))}
        except CannotPlant:
            return
        except Exception as error:  # noqa: BLE001 - an hour's work does not end with one planter
            print(f"  {planter.__name__} fails on {original.name}: {type(error).__name__}: {error}", flush=True)
            return
        yield seed, copy, touched


def count(
    slug: str, results: Sequence[CheckResult], copy: Path, touched: set[str], known: set[tuple[str, str]]
) -> tuple[bool, set[tuple[str, str]]]:
    """Whether the rule names a touched file, and rule and file of what is newly accused without having been touched."""
    stems = tuple({Path(path).stem for path in touched})
    alone = tuple({Path(path).parent.parent for path in touched if _only_one(Path(path).parent)} - {copy})
    found, wrong = False, set[tuple[str, str]]()
    for finding in (finding for result in results for finding in result.findings):
        names = {name for name in named(finding) if Path(name).is_relative_to(copy)}
        # A mask or an annotation (`a_mask.png`, or all in the folder of a sample) is named in place of its image.
        hit = {name for name in names if name in touched or Path(name).stem.startswith(stems)}
        hit |= {name for name in names if any(Path(name).is_relative_to(folder) for folder in alone)}
        if finding.slug == slug:
            said = any(Path(path).name in finding.message for path in touched)
            found = found or bool(hit) or said
        wrong |= {(finding.slug, relative(name, copy)) for name in names - hit} - known
    return found, wrong


def _only_one(folder: Path) -> bool:
    return folder.is_dir() and sum(1 for _ in folder.iterdir()) == 1


def relative(name: str, folder: Path) -> str:
    """A file by its place in a copy."""
    return Path(name).relative_to(folder).as_posix()


def run(
    sets: Sequence[Path], kinds: Sequence[str], seeds: int, out: Path, *, misses: bool
) -> dict[str, dict[str, Tally]]:
    """Plant, check and count; writes after each set."""
    tallies: dict[str, dict[str, Tally]] = defaultdict(dict)
    sound: dict[str, list[str]] = {}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="data_faults_") as place:
        for source in sets:
            original = copy_part(source, Path(place, "sound", source.name))
            results = examine(original)
            known = {
                (finding.slug, relative(name, original))
                for result in results
                for finding in result.findings
                for name in named(finding)
                if Path(name).is_relative_to(original)
            }
            crashed = [f"CRASHED {result.slug}: {result.reason}" for result in results if result.state is State.CRASHED]
            sound[source.name] = crashed + [
                f"{finding.level.value} {finding.slug}: {finding.message}"
                for result in results
                for finding in result.findings
            ]
            for slug, planter in planters():
                if kinds and slug not in kinds and planter.__name__ not in kinds:
                    continue
                tally = Tally()
                for seed, copy, touched in tries(original, Path(place), planter, seeds):
                    found, wrong = count(slug, examine(copy, twins=slug in OF_TWINS), copy, touched, known)
                    tally.planted += 1
                    tally.found += found
                    tally.false_alarms += len({name for _, name in wrong})
                    tally.images += sum(path.is_file() for path in copy.rglob("*"))
                    if not found:
                        tally.missed.append(f"{seed}: {', '.join(sorted(Path(one).name for one in touched)[:3])}")
                    if wrong and misses:
                        print(f"  false alarm: {slug} {planter.__name__} {source.name} {seed}: {sorted(wrong)[:3]}")
                if tally.planted:
                    tallies[f"{slug}/{planter.__name__}"][source.name] = tally
                    if misses and tally.missed:
                        print(f"  missed: {slug} {planter.__name__} {source.name}: {tally.missed}")
            print(f"{source.name}: {time.perf_counter() - started:.0f} s", flush=True)
            write(out, tallies, sound, seeds)
    return tallies


def write(out: Path, tallies: dict[str, dict[str, Tally]], sound: dict[str, list[str]], seeds: int) -> None:
    """Everything that was counted, as JSON."""
    planted = {
        kind: {
            name: {
                "planted": tally.planted,
                "found": tally.found,
                "false_alarms": tally.false_alarms,
                "files": tally.images,
                "missed": tally.missed,
            }
            for name, tally in sets.items()
        }
        for kind, sets in tallies.items()
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"seeds": seeds, "planted": planted, "sound": sound}, indent=1), encoding="utf-8")


def show(tallies: dict[str, dict[str, Tally]]) -> None:
    """A line for each way to plant a fault."""
    print(
        f"\n{'fault':<24} {'planted by':<26} {'sets':>4} {'planted':>7} {'found':>6} {'share':>6} {'false alarms':>13}"
    )
    everything = Tally()
    for kind, sets in sorted(tallies.items()):
        slug, _, name = kind.partition("/")
        planted, found = sum(t.planted for t in sets.values()), sum(t.found for t in sets.values())
        false = sum(t.false_alarms for t in sets.values())
        everything.planted += planted
        everything.found += found
        everything.false_alarms += false
        everything.images += sum(t.images for t in sets.values())
        print(f"{slug:<24} {name:<26} {len(sets):>4} {planted:>7} {found:>6} {found / planted:>6.0%} {false:>13}")
    if everything.planted:
        share = everything.found / everything.planted
        wrong = everything.false_alarms / max(everything.images, 1)
        print(f"all: {everything.found} of {everything.planted} found ({share:.1%})", end="; ")
        print(f"{everything.false_alarms} of {everything.images} files accused without a reason ({wrong:.2%})")


def main() -> None:
    """Read the arguments, run, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kinds", nargs="*", default=[], help="slugs or names of planters; all without")
    parser.add_argument("--sets", nargs="*", default=[], help="names of sets; all without")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--misses", action="store_true", help="print each miss and false alarm")
    parser.add_argument("--out", type=Path, default=Path("data_faults.json"))
    given = parser.parse_args()
    data = (ROOT / shared_folder().expanduser()).resolve() / "data"
    if not data.is_dir():
        sys.exit(f"there is no folder of data sets at {data}; set SNELLEN_SHARED")
    sets = [path for path in sorted(data.iterdir()) if path.is_dir() and path.name not in LEFT_OUT]
    sets = [path for path in sets if not given.sets or path.name in given.sets]
    show(run(sets, given.kinds, given.seeds, given.out, misses=given.misses))


if __name__ == "__main__":
    main()
