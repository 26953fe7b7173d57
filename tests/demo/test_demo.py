"""The demo: every planted mistake is found and mended; the whole story ends in a report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from snellen.check.fix import mend
from snellen.core.finding import State
from snellen.demo.crash import provoke_overflow
from snellen.demo.photos import HELD_OUT, TRAINING, copy_photos
from snellen.demo.project import PLANTED, mend_by_hand, plant, remove_module
from snellen.demo.story import CHECKED_IMAGES, tell
from snellen.errors import RunFolderError
from snellen.explain import explain
from snellen.tasks.check import check_run


@pytest.fixture
def run_file(tmp_path: Path) -> Iterator[Path]:
    from snellen.data.synthesis.copy_move import synthesise_folder

    for split, photos in (("train", TRAINING), ("val", HELD_OUT)):
        folder = copy_photos(photos[:1], tmp_path / split)
        synthesise_folder(folder, tmp_path / "data" / split, count=CHECKED_IMAGES)
    yield plant(tmp_path)
    remove_module()


def test_every_planted_mistake_is_found_and_mended(run_file: Path) -> None:
    report = check_run(run_file)
    found = {result.slug for result in report.results if result.state in {State.FAILED, State.WARNED}}
    # The demo's repository holds no commit, which is true and no mistake of the run.
    assert found - {"code-not-committed"} == {planted.slug for planted in PLANTED}
    assert len(PLANTED) == 7
    mend(report.findings, run_file=run_file)
    mend(check_run(run_file).findings, run_file=run_file, unsafe=True)
    mend_by_hand(run_file.parent)
    assert {finding.slug for finding in check_run(run_file).findings} <= {"code-not-committed"}
    # The small sets that are checked first are no mistake to be mended: the training keeps its batch.
    assert "batch_size: 8\n" in run_file.read_text(encoding="utf-8")


def test_the_provoked_crash_is_explained() -> None:
    assert [diagnosis.slug for diagnosis in explain(provoke_overflow())] == ["half-overflow"]


def test_training_and_held_out_photos_are_different() -> None:
    assert not set(TRAINING) & set(HELD_OUT)


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunFolderError, match="not empty"):
        tell(tmp_path, console=Console(quiet=True))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.slow
def test_the_whole_story_ends_in_a_report(tmp_path: Path) -> None:
    report = tell(tmp_path / "demo", console=Console(quiet=True)).read_text(encoding="utf-8")
    for heading in ("Seven planted mistakes", "Training", "Detectors", "Predictions", "A crash, explained"):
        assert heading in report
