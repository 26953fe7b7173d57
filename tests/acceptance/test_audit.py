"""Real sets: every file is opened or refused as a plain decoder does, and what shows the same is found, no more."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from snellen.core.facts.data import FolderAudit, Sample
from snellen.data.audit.scan import scan
from snellen.data.audit.twins import find_twins
from snellen.data.layouts import read_layout


def audited(folder: Path) -> FolderAudit:
    listing = read_layout(folder, key="data.train")
    found = scan(sample.image for sample in listing.samples)
    return FolderAudit("data.train", str(folder), listing.layout, samples=listing.samples, images=found.images)


def test_every_picture_is_opened_or_refused(shared: Path) -> None:
    rows: dict[str, dict[str, str]] = {}
    for index in sorted(shared.glob("data/*/index.csv")):
        with index.open(newline="", encoding="utf-8") as file:
            listed = [row for row in csv.DictReader(file) if "pillow_status" in row]
        rows |= {str(index.parent / row["file"]): row for row in listed}
    if not rows:
        pytest.skip(f"no index.csv with a column pillow_status below {shared / 'data'}")
    for path, record in scan(rows).images.items():
        row = rows[path]
        assert bool(record.problem) or row["pillow_status"] == "ok", path
        if row["pillow_status"] == "ok":
            assert record.problem == "", f"{path}: {record.problem}"
            assert record.pixels is not None
            assert sorted((record.width, record.height)) == sorted((int(row["width"]), int(row["height"])))
            assert record.frames == int(row["frames"] or 1)


WITHOUT_TWINS = ("ants_bees", "bccd", "clothing", "drive_retina", "omniglot", "raccoon", "stl10_examples")


@pytest.mark.parametrize("name", WITHOUT_TWINS)
def test_sets_without_twins_have_none(shared: Path, name: str) -> None:
    folder = shared / "data" / name
    if not folder.is_dir():
        pytest.skip(f"no set {name}")
    assert [str(twin) for twin in find_twins([audited(folder)]) if twin.kind != "same-file"] == []


def test_frames_that_follow_each_other_are_twins(shared: Path) -> None:
    frames = sorted((shared / "data" / "video_davis").glob("*/000*.*"))
    frames = [path for path in frames if "mask" not in path.parent.name]
    if not frames:
        pytest.skip("no video")
    found = scan(map(str, frames))
    audit = FolderAudit("data.train", "", "frames", samples=[Sample(str(path)) for path in frames], images=found.images)
    twins = find_twins([audit])
    assert all(Path(twin.one).parent == Path(twin.other).parent for twin in twins)
    assert len({path for twin in twins for path in (twin.one, twin.other)}) >= 0.8 * len(frames)


def test_a_forged_scene_is_a_twin_of_its_original(shared: Path) -> None:
    folder = shared / "data" / "forgery_comofod"
    if not folder.is_dir():
        pytest.skip("no set forgery_comofod")
    pairs = {frozenset((Path(twin.one).name, Path(twin.other).name)) for twin in find_twins([audited(folder)])}
    assert {frozenset(("144.png", "087.png")), frozenset(("165.png", "010.png"))} <= pairs
