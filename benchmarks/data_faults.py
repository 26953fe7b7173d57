"""How many planted faults `snellen check` finds in copies of real data sets, and what it says of sound ones.

    python benchmarks/data_faults.py                                   each way to plant a fault in 3 sets, 5 seeds
    python benchmarks/data_faults.py --per-kind 0                      in every set that can hold it: hours
    python benchmarks/data_faults.py --seeds 0                         the sound sets alone
    python benchmarks/data_faults.py --kinds blurred-image --misses    each miss by its name

What `--out` holds already is kept, but for the kinds that are asked for: so it can be measured in pieces.

The sets are the folders below `$SNELLEN_SHARED/data`. Sound sets are checked whole, by every rule that judges data; a
finding that is not listed below as true, with its reason, is a false alarm. Planted are faults in copies, of large sets
in a part: some files of some folders. A fault counts as found when its rule fires and names a file that was touched, or
says something of the whole folder that it did not say before.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from snellen._env import shared_folder
from snellen.check import CheckSettings, check
from snellen.check.run import plan_of_folder
from snellen.core.finding import CheckResult, Finding, State
from snellen.data.audit import crops, verifying
from snellen.data.audit import scan as audit_scan
from snellen.data.audit.cache import AuditCache
from snellen.data.audit.worker import answer
from snellen.data.audit.workers import Job, Outcome
from snellen.data.layouts import splits_of

__all__ = ["ROOT", "CannotPlant", "Copy", "copy_part", "count", "examine", "known_of", "planters", "relative"]

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from plant import (  # type: ignore[import-not-found]  # noqa: E402 - it lies with the tests
    CannotPlant,
    Planter,
    planters,
)

Result = TypeVar("Result")

LEFT_OUT = {"camera_variety"}
"""Files that are damaged on purpose."""
FAMILIES = ("data", "tasks")
LARGE = 1000
"""Files from which on a part is taken."""
MANY, FEW_FOLDERS, FEW_FILES = 10, 4, 8
"""Of a folder of more than so many folders the part has so few, and of each so many files."""
TRUE_FINDINGS: Mapping[tuple[str, str], str] = {
    ("ants_bees", "mixed-grey-and-colour"): "a grey photograph among coloured ones",
    ("bccd", "invalid-box"): "a box of no width and height",
    ("camvid", "source-across-splits"): "all frames are of one drive: the split is the source's own, and leaks",
    ("cifar10", "duplicate-across-splits"): "one photograph twice",
    ("cifar10", "mixed-grey-and-colour"): "grey photographs among coloured ones",
    ("cifar10", "near-duplicate-image"): "seven pairs, each seen to be one photograph, brightened or stretched",
    ("coco128", "mixed-grey-and-colour"): "grey photographs among coloured ones",
    ("forgery_biomedical", "mixed-colour-modes"): "half of the files have an alpha channel",
    ("forgery_columbia", "mask-interpolated"): "the mask is a JPEG of 70 grey values",
    ("forgery_comofod", "near-duplicate-image"): "scenes that were forged twice",
    ("forgery_grip", "mask-interpolated"): "masks of 256 grey values with soft borders",
    ("forgery_micc_f220", "near-duplicate-image"): "scenes that were forged several times",
    ("nuclei_dsb2018", "mixed-grey-and-colour"): "stained tissue among fluorescence in grey",
    ("raccoon", "mixed-grey-and-colour"): "a grey photograph among coloured ones",
}
"""What is said of sound sets rightly, by set and rule, and why; everything else that is said is a false alarm."""


@dataclass(slots=True)
class Tally:
    """What became of one fault in one set."""

    planted: int = 0
    found: int = 0
    false_alarms: int = 0
    images: int = 0
    missed: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Sound:
    """What is said of a sound set: how many checks had something to judge, and their findings."""

    asked: int = 0
    true: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)


def copy_part(source: Path, target: Path) -> Path:
    """Copy a set, or of a large one some files of some of its folders, the same stems everywhere."""
    files = sorted(path for path in source.rglob("*") if path.is_file() and path.name != "SOURCE.json")
    folders = {path.parent for path in files}
    if len(files) > LARGE and not _in_pairs(folders):
        files = _part_of(files, source)
    for path in files:
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, place)
    return target


def _part_of(files: Sequence[Path], source: Path) -> list[Path]:
    listed = {path.parent for path in files if path.suffix in (".txt", ".csv", ".json")}
    below: defaultdict[Path, set[str]] = defaultdict(set)
    for path in files:
        for folder in path.relative_to(source).parents:
            below[source / folder.parent].add(folder.name)
    kept = {
        place / name
        for place, names in below.items()
        for name in (sorted(names)[:FEW_FOLDERS] if len(names) > MANY else names)
    }
    taken: dict[Path, int] = defaultdict(int)
    part = []
    for path in files:
        taken[path.parent] += 1
        folders = [source / folder for folder in path.relative_to(source).parents]
        # A folder with a list of its files stays whole.
        few = taken[path.parent] <= FEW_FILES or not listed.isdisjoint(folders)
        if few and all(folder in kept for folder in folders):
            part.append(path)
    return part


def _in_pairs(folders: set[Path]) -> bool:
    return any("mask" in folder.name or "annot" in folder.name for folder in folders)


def examine(folder: Path, rules: Sequence[str] = FAMILIES) -> Sequence[CheckResult]:
    """Check a bare folder.

    Args:
        folder: A data set.
        rules: Slugs or families.
    """
    splits = {name: str(path) for name, path in splits_of(folder).items()} or {"train": str(folder)}
    return check(plan_of_folder(folder, {"data": splits}), settings=CheckSettings(select=rules)).results


def measure_here(jobs: Sequence[Job], *, cache: Path | None = None, workers: int | None = None) -> Iterator[Outcome]:
    """Takes the place of `workers.work`: to start a process for the three files that changed would be all the cost."""
    del workers
    with AuditCache(cache.parent if cache is not None else None, read_only=True) as known:
        for job in jobs:
            asked = {"kind": job.kind, "path": job.path, "digest": job.digest, "stored_as": job.stored_as}
            yield Outcome(job, text=answer(asked, known))


def once(measure: Callable[..., Result]) -> Callable[..., Result]:
    """The same function of a file, with what it said of files that have not changed since."""
    known: dict[object, Result] = {}

    def asked(path: str, *rest: object) -> Result:
        found = os.stat(path)  # noqa: PTH116 - beside the path, what tells that it has not changed
        key = (path, found.st_ino, found.st_ctime_ns, rest)
        if key not in known:
            known[key] = measure(path, *rest)
        return known[key]

    return asked


def named(finding: Finding) -> set[str]:
    """The files that a finding names."""
    return {one.location.path for one in finding.evidence if one.location is not None}


@dataclass(slots=True)
class Copy:
    """A copy of a set in which faults are planted one after the other; what was not touched stays as it is.

    Args:
        original: What it is a copy of.
        place: Where it lies.
    """

    original: Path
    place: Path
    _states: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def restore(self) -> None:
        """Undo what a planter did; files that it left alone are known to the audit's cache."""
        wanted = {path.relative_to(self.original): path for path in self.original.rglob("*")}
        self.place.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.place.rglob("*"), reverse=True):
            inner = path.relative_to(self.place)
            if path.is_dir() and not path.is_symlink():
                if inner not in wanted or not wanted[inner].is_dir():
                    shutil.rmtree(path)
            elif self._states.get(inner) != _state(path):
                path.unlink()
        for inner, path in sorted(wanted.items()):
            copy = self.place / inner
            if path.is_dir():
                copy.mkdir(exist_ok=True)
            elif not copy.exists():
                shutil.copy2(path, copy)
                self._states[inner] = _state(copy)


def _state(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_ino, found.st_ctime_ns


def tries(copy: Copy, planter: Planter, seeds: int) -> Iterator[tuple[int, set[str]]]:
    """The files that were touched, for each seed; ends at the first refusal."""
    for seed in range(seeds):
        copy.restore()
        try:
            touched = {str(path) for path in planter(copy.place, random.Random(f"{copy.original.name} {seed}"))}
        except CannotPlant:
            return
        except Exception as error:  # noqa: BLE001 - an hour's work does not end with one planter
            print(f"  {planter.__name__} fails on {copy.place.name}: {type(error).__name__}: {error}", flush=True)
            return
        yield seed, touched


def known_of(results: Sequence[CheckResult], folder: Path) -> set[tuple[str, str]]:
    """Rule and file of all that is said; of what names no file, `""` in its place."""
    return {
        (finding.slug, name)
        for result in results
        for finding in result.findings
        for name in ({relative(one, folder) for one in named(finding) if Path(one).is_relative_to(folder)} or {""})
    }


def count(
    slug: str, results: Sequence[CheckResult], copy: Path, touched: set[str], known: set[tuple[str, str]]
) -> tuple[bool, set[tuple[str, str]]]:
    """Whether the rule finds what was planted, and rule and file of what is newly accused without having been touched.

    Args:
        slug: The rule.
        results: What is said of the copy.
        copy: Where it lies.
        touched: Its files that were changed.
        known: What was said before, from `known_of`.
    """
    stems = tuple({Path(path).stem.casefold() for path in touched})
    alone = tuple({Path(path).parent.parent for path in touched if _only_one(Path(path).parent)} - {copy})
    gone = {Path(path).parent for path in touched if not Path(path).exists()}
    found, wrong = False, set[tuple[str, str]]()
    for finding in (finding for result in results for finding in result.findings):
        names = {name for name in named(finding) if Path(name).is_relative_to(copy)}
        # A mask or an annotation (`a_mask.png`, or all in the folder of a sample) is named in place of its image.
        hit = {name for name in names if name in touched or Path(name).stem.casefold().startswith(stems)}
        hit |= {name for name in names if any(Path(name).is_relative_to(folder) for folder in alone)}
        if finding.slug == slug:
            # In place of files that are gone their neighbours are named.
            hit |= {name for name in names if Path(name).parent in gone and (slug, relative(name, copy)) not in known}
            said = any(Path(path).name in finding.message for path in touched)
            found = found or bool(hit) or said or (not names and (slug, "") not in known)
        wrong |= {(finding.slug, relative(name, copy)) for name in names - hit} - known
    return found, wrong


def _only_one(folder: Path) -> bool:
    return folder.is_dir() and sum(1 for _ in folder.iterdir()) == 1


def relative(name: str, folder: Path) -> str:
    """A file by its place in a copy."""
    return Path(name).relative_to(folder).as_posix()


def judge_sound(source: Path) -> Sound:
    """Check a whole set, and tell true findings from false alarms."""
    sound = Sound()
    for result in examine(source):
        if result.state is State.CRASHED:
            sound.false.append(f"CRASHED {result.slug}: {result.reason}")
        sound.asked += result.state in (State.PASSED, State.WARNED, State.FAILED)
        for finding in result.findings:
            line = f"{finding.level.value} {finding.slug}: {finding.message}"
            why = TRUE_FINDINGS.get((source.name, finding.slug))
            (sound.false if why is None else sound.true).append(line if why is None else f"{line} ({why})")
    return sound


def plant(
    slug: str, planter: Planter, copies: Sequence[Copy], seeds: int, most: int, *, misses: bool
) -> dict[str, Tally]:
    """Plant one fault in the first sets that can hold it."""
    tallies: dict[str, Tally] = {}
    for copy in copies:
        if most and len(tallies) >= most:
            break
        tally, known = Tally(), None
        for seed, touched in tries(copy, planter, seeds):
            if known is None:
                known = known_of(examine(copy.original, (slug,)), copy.original)
            found, wrong = count(slug, examine(copy.place, (slug,)), copy.place, touched, known)
            tally.planted += 1
            tally.found += found
            tally.false_alarms += len({name for _, name in wrong})
            tally.images += sum(path.is_file() for path in copy.place.rglob("*"))
            if not found:
                tally.missed.append(f"{seed}: {', '.join(sorted(Path(one).name for one in touched)[:3])}")
            if wrong and misses:
                print(f"  false alarm: {slug} {planter.__name__} {copy.place.name} {seed}: {sorted(wrong)[:3]}")
        if tally.planted:
            tallies[copy.place.name] = tally
            if misses and tally.missed:
                print(f"  missed: {slug} {planter.__name__} {copy.place.name}: {tally.missed}", flush=True)
    return tallies


def run(
    sets: Sequence[Path], kinds: Sequence[str], seeds: int, out: Path, *, most: int, misses: bool
) -> dict[str, dict[str, Tally]]:
    """Check the sound sets, plant, check and count; writes as it goes."""
    tallies, sound = read(out)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="data_faults_") as place:
        os.environ["SNELLEN_CACHE"] = str(Path(place, "cache"))
        for source in sets if not kinds else ():
            sound[source.name] = judge_sound(source)
            write(out, tallies, sound, seeds)
        copies = [
            Copy(copy_part(source, Path(place, "sound", source.name)), Path(place, "planted", source.name))
            for source in (sets if seeds else ())
        ]
        audit_scan.work = measure_here  # type: ignore[assignment, attr-defined]
        verifying.read_grey = once(verifying.read_grey)  # type: ignore[attr-defined]
        crops._view = once(crops._view)  # most of what a check of unchanged pictures costs
        print(f"{len(sound)} sound sets, {len(copies)} copies: {time.perf_counter() - started:.0f} s", flush=True)
        for slug, planter in planters() if seeds else ():
            if kinds and slug not in kinds and planter.__name__ not in kinds:
                continue
            # The same sets every time, others for each way to plant.
            order = sorted(copies, key=lambda copy: _chance(f"{planter.__name__} {copy.place.name}"))
            found = plant(slug, planter, order, seeds, most, misses=misses)
            tallies[f"{slug}/{planter.__name__}"] = found
            told = ", ".join(f"{name} {tally.found}/{tally.planted}" for name, tally in found.items())
            print(f"{time.perf_counter() - started:5.0f} s {slug} {planter.__name__}: {told or 'nowhere'}", flush=True)
            write(out, tallies, sound, seeds)
    show_sound(sound)
    return tallies


def _chance(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def show_sound(sound: dict[str, Sound]) -> None:
    """What is said of sound sets."""
    for name, one in sound.items():
        for mark, lines in (("true", one.true), ("FALSE", one.false)):
            for line in lines:
                print(f"{name}: {mark}: {line}")
    asked, false = sum(one.asked for one in sound.values()), sum(len(one.false) for one in sound.values())
    if asked:
        true = sum(len(one.true) for one in sound.values())
        print(f"sound sets: {asked} checks, {true} true findings, {false} false alarms ({false / asked:.2%})")


def read(out: Path) -> tuple[dict[str, dict[str, Tally]], dict[str, Sound]]:
    """What was counted before."""
    if not out.is_file():
        return {}, {}
    known = json.loads(out.read_bytes())
    planted = {
        kind: {
            name: Tally(one["planted"], one["found"], one["false_alarms"], one["files"], one["missed"])
            for name, one in sets.items()
        }
        for kind, sets in known["planted"].items()
    }
    return planted, {name: Sound(one["checks"], one["true"], one["false"]) for name, one in known["sound"].items()}


def write(out: Path, tallies: dict[str, dict[str, Tally]], sound: dict[str, Sound], seeds: int) -> None:
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
    said = {name: {"checks": one.asked, "true": one.true, "false": one.false} for name, one in sound.items()}
    out.write_text(json.dumps({"seeds": seeds, "planted": planted, "sound": said}, indent=1) + "\n", encoding="utf-8")


def show(tallies: dict[str, dict[str, Tally]]) -> None:
    """A line for each way to plant a fault."""
    print(
        f"\n{'fault':<24} {'planted by':<36} {'sets':>4} {'planted':>7} {'found':>6} {'share':>6} {'false alarms':>13}"
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
        told = f"{found / planted:.0%}" if planted else "-"
        print(f"{slug:<24} {name:<36} {len(sets):>4} {planted:>7} {found:>6} {told:>6} {false:>13}")
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
    parser.add_argument("--per-kind", type=int, default=3, help="sets for each way to plant a fault at most; 0: all")
    parser.add_argument("--misses", action="store_true", help="print each miss and false alarm")
    parser.add_argument("--out", type=Path, default=Path("data_faults.json"))
    given = parser.parse_args()
    data = (ROOT / shared_folder().expanduser()).resolve() / "data"
    if not data.is_dir():
        sys.exit(f"there is no folder of data sets at {data}; set SNELLEN_SHARED")
    sets = [path for path in sorted(data.iterdir()) if path.is_dir() and path.name not in LEFT_OUT]
    sets = [path for path in sets if not given.sets or path.name in given.sets]
    show(run(sets, given.kinds, given.seeds, given.out, most=given.per_kind, misses=given.misses))


if __name__ == "__main__":
    main()
