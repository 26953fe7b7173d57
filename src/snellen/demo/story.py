"""The demo from beginning to end, told on the console and kept in `report.html`."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from snellen.check.fix import mend
from snellen.core.check_report import CheckReport
from snellen.core.finding import Finding, State
from snellen.demo.crash import provoke_overflow
from snellen.demo.learning import Learned, compare_detectors, train_through_a_kill
from snellen.demo.photos import HELD_OUT, TRAINING, copy_photos, shown
from snellen.demo.pictures import predict_held_out
from snellen.demo.project import PLANTED, mend_by_hand, plant, remove_module
from snellen.demo.report import write_report
from snellen.errors import RunFolderError
from snellen.explain import explain
from snellen.tasks.check import check_run

__all__ = ["Story", "tell"]

TRAINING_IMAGES = 240
HELD_OUT_IMAGES = 40
CHECKED_IMAGES = 12
"""Of each set that the first check sees: more than a batch has, else that would be an eighth mistake."""


@dataclass(slots=True)
class Story:
    """What happened, for the report.

    Args:
        folder: Everything lies below it.
        before: The checks of the run with its mistakes.
        mended: Sentences on what was mended, and by whom.
        learned: The training.
        rows: Figures of the detectors.
        pictures: PNG files with their captions.
        traceback: Of the provoked crash.
        diagnosis: What `explain` made of it.
    """

    folder: Path
    before: CheckReport | None = None
    mended: list[str] = field(default_factory=list)
    learned: Learned | None = None
    rows: list[dict[str, object]] = field(default_factory=list)
    pictures: list[tuple[Path, str]] = field(default_factory=list)
    traceback: str = ""
    diagnosis: list[str] = field(default_factory=list)


def tell(folder: Path, *, console: Console) -> Path:
    """Run the whole demo.

    Args:
        folder: Is made; must not hold anything yet.
        console: Where the story is told.

    Returns:
        The report.

    Raises:
        RunFolderError: The folder is not empty.
    """
    started = time.perf_counter()
    if folder.exists() and any(folder.iterdir()):
        raise RunFolderError(f"{folder} is not empty", hint=f"rm -r {folder}, or give another with --folder")
    story = Story(folder)
    try:
        run_file = _find_mistakes(story, console)
        _mend(story, run_file, console)
    finally:
        remove_module()
    console.rule("3  Make forgeries from photos that come with scikit-image and scikit-learn")
    _make_data(folder, console)
    console.rule("4  Train, kill -9 in the middle, resume")
    story.learned = train_through_a_kill(run_file, console)
    console.rule("5  Compare detectors on photos that none has seen")
    story.rows = compare_detectors(story.learned, console)
    console.rule("6  Predict")
    story.pictures = predict_held_out(run_file, folder, console)
    console.rule("7  Crash, and ask why")
    _crash(story, console)
    report = write_report(story, seconds=time.perf_counter() - started)
    console.rule("Done")
    console.print(f"{time.perf_counter() - started:.0f} seconds; everything lies in {shown(folder)}")
    console.print(f"next: open {shown(report)}")
    command = f"then: snellen predict {shown(run_file)} model.detector=keypoint YOUR_PHOTOS -o predictions"
    console.print(command, markup=False, soft_wrap=True)
    return report


def _find_mistakes(story: Story, console: Console) -> Path:
    console.rule("1  Check a run with seven planted mistakes")
    copy_photos(TRAINING, story.folder / "photos" / "training")
    copy_photos(HELD_OUT, story.folder / "photos" / "held-out")
    # The data folders exist, small, before the check: they are no part of the mistakes.
    _synthesise(story.folder, "train", "training", CHECKED_IMAGES)
    _synthesise(story.folder, "val", "held-out", CHECKED_IMAGES)
    run_file = plant(story.folder)
    console.print(f"$ snellen check {shown(run_file)}")
    story.before = check_run(run_file)
    found = {result.slug: result for result in story.before.results if result.state in {State.FAILED, State.WARNED}}
    table = Table("planted", "rule", "found")
    for planted in PLANTED:
        result = found.get(planted.slug)
        table.add_row(
            planted.what,
            planted.slug,
            result.findings[0].message.replace(str(story.folder), shown(story.folder))
            if result
            else "[red]missed[/red]",
        )
    console.print(table)
    for slug in sorted(found.keys() - {planted.slug for planted in PLANTED}):
        console.print(f"also: {slug}: {found[slug].findings[0].message}")
    return run_file


def _mend(story: Story, run_file: Path, console: Console) -> None:
    console.rule("2  Mend what can be mended")
    console.print(f"$ snellen check {shown(run_file)} --fix")
    if story.before is None:
        raise ValueError("nothing was checked")
    mended = mend(story.before.findings, run_file=run_file)
    story.mended = [f"mended: {finding.slug}: {_fix(finding)}" for finding in mended.applied]
    story.mended += [f"left: {finding.slug}: {reason}" for finding, reason in mended.left]
    unsafe = mend(check_run(run_file).findings, run_file=run_file, unsafe=True)
    story.mended += [f"mended after reading: {finding.slug}: {_fix(finding)}" for finding in unsafe.applied]
    story.mended += [f"by hand: {sentence}" for sentence in mend_by_hand(run_file.parent)]
    story.mended = list(dict.fromkeys(story.mended))
    for line in story.mended:
        console.print(f"  {line.replace(str(story.folder), shown(story.folder))}", markup=False, soft_wrap=True)
    after = check_run(run_file)
    left = ", ".join(finding.slug for finding in after.findings)
    console.print(f"checked again: {after.counts['passed']} passed, " + (f"left: {left}" if left else "no findings"))


def _fix(finding: Finding) -> str:
    return finding.fix.text if finding.fix is not None else ""


def _make_data(folder: Path, console: Console) -> None:
    for split in ("train", "val"):
        shutil.rmtree(folder / "data" / split)
    _synthesise(folder, "train", "training", TRAINING_IMAGES)
    _synthesise(folder, "val", "held-out", HELD_OUT_IMAGES)
    console.print(f"{TRAINING_IMAGES} images to train on, {HELD_OUT_IMAGES} of other photos held out")


def _synthesise(folder: Path, split: str, photos: str, count: int) -> None:
    from snellen.data.synthesis.copy_move import synthesise_folder  # noqa: PLC0415 - OpenCV only when data is made
    from snellen.data.synthesis.settings import CopyMoveSettings  # noqa: PLC0415

    settings = CopyMoveSettings(
        longest_side=192, area=(0.03, 0.12), copies=(1, 1), transformed=0.3, processed=0.3, noise=2.0, quality=(80, 100)
    )
    synthesise_folder(
        folder / "photos" / photos,
        folder / "data" / split,
        count=count,
        seed=len(split),
        settings=settings,
        authentic_fraction=0.2,
        track=None,
    )


def _crash(story: Story, console: Console) -> None:
    story.traceback = provoke_overflow()
    console.print(story.traceback.strip().splitlines()[-1], markup=False)
    console.print("$ snellen explain crash.log")
    (story.folder / "crash.log").write_text(story.traceback, encoding="utf-8")
    for diagnosis in explain(story.traceback)[:1]:
        story.diagnosis = [
            f"{diagnosis.title} ({diagnosis.slug}, score {diagnosis.score:.2f})",
            f"cause: {diagnosis.cause}",
            f"fix: {diagnosis.fix.text}",
        ]
    for line in story.diagnosis:
        console.print(f"  {line}", markup=False)
