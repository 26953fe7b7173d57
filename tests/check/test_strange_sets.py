"""Sets as they come: kept in tables, annotated in another unit, laid out as well-known sets are."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from snellen.check import CheckSettings, check
from snellen.check.run import plan_of_folder
from snellen.core.finding import Finding, FixSafety, Level, State
from snellen.data.layouts import read_layout, splits_of

SIDE = 96


def judged(folder: Path, *slugs: str) -> list[Finding]:
    data = {name: str(place) for name, place in splits_of(folder).items()}
    report = check(plan_of_folder(folder, {"data": data}), settings=CheckSettings(select=slugs))
    assert [(one.slug, one.reason) for one in report.results if one.state is State.CRASHED] == []
    return [finding for one in report.results for finding in one.findings]


def pictures(root: Path, names: Sequence[str], seed: int = 0) -> None:
    random = np.random.default_rng(seed)
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 255, (12, 12, 3), np.uint8))
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path)


def table(root: Path, rows: Sequence[str], name: str = "labels.csv") -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join(("filename,label", *rows)) + "\n")


FILES = [f"{n:03d}.png" for n in range(12)]
ROWS = [f"{name},{'cat' if n % 2 else 'dog'}" for n, name in enumerate(FILES)]


def test_a_split_that_is_a_table_is_not_empty(tmp_path: Path) -> None:
    pictures(tmp_path / "images", FILES)
    table(tmp_path, ROWS[:8], "train.csv")
    table(tmp_path, ROWS[8:], "val.csv")
    assert splits_of(tmp_path)["train"].name == "train.csv"
    assert judged(tmp_path, "data") == []


def test_a_table_around_which_no_image_lies(tmp_path: Path) -> None:
    table(tmp_path, ROWS, "train.csv")
    assert "empty-dataset" in {finding.slug for finding in judged(tmp_path, "empty-dataset")}


def test_a_table_that_names_its_images_in_another_case(tmp_path: Path) -> None:
    pictures(tmp_path / "images", FILES)
    table(tmp_path, [row.replace(".png", ".PNG") for row in ROWS])
    (finding,) = judged(tmp_path, "data")
    assert finding.slug == "split-case"
    assert "12 of 12 rows of labels.csv name an image in another case" in finding.message


@pytest.mark.parametrize("cell", ["nan", "NaN", "<NA>", "NULL"])
def test_what_programs_write_for_a_missing_class_is_no_class(tmp_path: Path, cell: str) -> None:
    pictures(tmp_path / "images", FILES)
    table(tmp_path, [f"{FILES[0]},{cell}", *ROWS[1:]])
    assert [finding.slug for finding in judged(tmp_path, "label-missing")] == ["label-missing"]
    assert {sample.label for sample in read_layout(tmp_path, key="data.train").samples} == {"cat", "dog", None}


@pytest.mark.parametrize(
    ("listed", "beside", "level"),
    [
        (11, {}, Level.NOTE),
        (11, {"test.csv": "filename\n011.png\n"}, None),
        (11, {"holdout.txt": "a line\nimages/011\n"}, None),
        (6, {}, None),
    ],
    ids=["forgotten", "in the table of a test", "in a list", "half left out on purpose"],
)
def test_images_that_the_table_does_not_name(
    tmp_path: Path, listed: int, beside: dict[str, str], level: Level | None
) -> None:
    pictures(tmp_path / "images", FILES)
    table(tmp_path, ROWS[:listed])
    for name, text in beside.items():
        (tmp_path / name).write_text(text)
    found = judged(tmp_path, "label-missing")
    assert [finding.level for finding in found] == ([level] if level else [])


def annotate(root: Path, box: Callable[[int], Sequence[float]], size: int = SIDE) -> None:
    names = [f"{n:03d}" for n in range(8)]
    pictures(root / "images", [f"{name}.png" for name in names])
    (root / "annotations").mkdir()
    for number, name in enumerate(names):
        corners = zip(("xmin", "ymin", "xmax", "ymax"), box(number), strict=True)
        inner = "".join(f"<{key}>{value}</{key}>" for key, value in corners)
        (root / "annotations" / f"{name}.xml").write_text(
            f"<annotation><filename>{name}.png</filename><size><width>{size}</width><height>{size}</height></size>"
            f"<object><name>cat</name><bndbox>{inner}</bndbox></object></annotation>"
        )


def test_corners_as_shares_of_the_image_are_found(tmp_path: Path) -> None:
    annotate(tmp_path, lambda n: (0.1, 0.125, round(0.5 + n / 50, 3), 0.75))
    (finding,) = judged(tmp_path, "box-format", "invalid-box")
    assert finding.slug == "box-format"
    assert "all make sense as x1, y1, x2, y2 as shares of the image" in finding.message
    assert "is smaller than a pixel" in finding.evidence[0].text


def test_one_box_of_a_pixel_does_not_change_the_format(tmp_path: Path) -> None:
    annotate(tmp_path, lambda n: (0, 0, 1, 1) if n == 3 else (5, 6, 50 + n, 60))
    assert judged(tmp_path, "box-format", "invalid-box") == []


def test_an_annotation_that_does_not_know_the_size_of_its_image(tmp_path: Path) -> None:
    annotate(tmp_path, lambda n: (5, 6, 50 + n, 60), size=0)
    (finding,) = judged(tmp_path, "data")
    assert (finding.slug, finding.level) == ("annotation-size-mismatch", Level.NOTE)
    assert "8 of 8 (100%) annotations say that their image has no pixels" in finding.message


def test_boxes_that_are_wrong_as_a_whole_are_not_to_be_dropped(tmp_path: Path) -> None:
    for number in range(8):
        pictures(tmp_path / "images", [f"{number}.png"], seed=number)
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{number}.txt").write_text(f"0 {300 + number} 200 90 80\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    (finding,) = judged(tmp_path, "box-format", "invalid-box")
    assert finding.fix is not None
    assert "go up to 307: they are pixels" in finding.fix.text


def test_the_number_of_a_class_may_be_written_as_a_float(tmp_path: Path) -> None:
    pictures(tmp_path / "images", ["a.png"])
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("1.0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert judged(tmp_path, "label-out-of-range") == []
    (sample,) = read_layout(tmp_path, key="data.train").samples
    assert sample.boxes is not None
    assert [box.label for box in sample.boxes] == ["1"]


def test_frames_as_reds_lays_them_out(tmp_path: Path, photo: Callable[[str], np.ndarray]) -> None:
    for number in range(4):
        frame = Image.fromarray(photo("astronaut")[number * 4 : 200 + number * 4, 40:300])
        for kind, shown in (("sharp", frame), ("blur", frame.filter(ImageFilter.GaussianBlur(2)))):
            place = tmp_path / f"train_{kind}" / "000"
            place.mkdir(parents=True, exist_ok=True)
            shown.save(place / f"{number:08d}.png")
    listing = read_layout(tmp_path, key="data.train")
    assert (listing.layout, len(listing.samples)) == ("frame-pairs", 4)
    assert all(sample.partner and "train_sharp" in sample.partner for sample in listing.samples)
    assert judged(tmp_path, "data", "tasks") == []


@pytest.mark.skipif(os.name == "nt", reason="~ comes from HOME on POSIX")
def test_a_path_that_only_a_shell_understands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PHOTOS", "/photos")
    monkeypatch.delenv("NOTHING", raising=False)
    data = {"train": "~/train", "val": "$PHOTOS/val", "test": "$NOTHING/test"}
    report = check(plan_of_folder(tmp_path, {"data": data}), settings=CheckSettings(select=("missing-file",)))
    fixes = [finding.fix for one in report.results for finding in one.findings if finding.fix is not None]
    assert [dict(fix.settings) for fix in fixes] == [
        {"data.train": f"{tmp_path}/train"},
        {"data.val": "/photos/val"},
        {},
    ]
    assert [fix.safety for fix in fixes] == [FixSafety.UNSAFE, FixSafety.UNSAFE, FixSafety.MANUAL]
    assert "stand for something in a shell only, and here not even there" in fixes[2].text
