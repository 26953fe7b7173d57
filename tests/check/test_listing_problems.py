"""Whatever a layout finds wrong by names alone, a rule reports: planted for real, one folder for each kind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from plans import Known, findings
from rights import as_nobody
from snellen.check import CheckSettings, check
from snellen.check.run import plan_of_folder
from snellen.core.facts.data import FolderAudit, ListingKind
from snellen.core.finding import Level, State
from snellen.data.layouts import read_layout

Plant = Callable[[Path], None]
PLANTED: list[tuple[ListingKind, str, str, Plant]] = []
"""Kind, the rule that reports it, the layout (`auto`: it is recognised), and what makes the folder."""

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no pipes and no such rights there")


def plants(kind: ListingKind, rule: str, layout: str = "auto") -> Callable[[Plant], Plant]:
    def note(plant: Plant) -> Plant:
        PLANTED.append((kind, rule, layout, plant))
        return plant

    return note


def pictures(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(sum(map(ord, name))).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / name)


def classes(root: Path) -> None:
    pictures(root, *(f"{name}/{name}{number}.png" for name in ("cat", "dog") for number in range(3)))


def table(root: Path, text: str, encoding: str = "utf-8") -> None:
    pictures(root, "a.png", "b.png", "c.png", "d.png")
    (root / "labels.csv").write_text("image,label\na.png,cat\nb.png,dog\n" + text, encoding=encoding)


def masks(root: Path) -> None:
    pictures(root, *(f"images/{name}.png" for name in "abcd"))
    for name in "abcd":
        marked = np.zeros((24, 24), dtype=np.uint8)
        marked[4:12, 4:12] = 255
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(marked).save(root / "masks" / f"{name}.png")


def voc(root: Path, *, said: str = "") -> None:
    pictures(root, *(f"images/{name}.png" for name in "abcd"))
    (root / "annotations").mkdir()
    for name in "abcd":
        box = "<xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax>"
        (root / "annotations" / f"{name}.xml").write_text(
            f"<annotation><filename>{said if said and name == 'a' else name}.png</filename><object><name>bolt</name>"
            f"<bndbox>{box}</bndbox></object></annotation>"
        )


def sequences(root: Path, *kinds: str) -> None:
    for sequence in ("s1", "s2"):
        pictures(root, *(f"{sequence}/{kind}/{n:05}.png" for kind in ("blur", "sharp") for n in range(4)))
        for kind in kinds:
            (root / sequence / kind).mkdir()
            for n in range(4):
                (root / sequence / kind / f"{n:05}.dat").write_bytes(bytes(8))


def support(root: Path) -> None:
    pictures(root, *(f"2.support-set/shot2/Class_{c}/{c}{n}.png" for c in "XY" for n in range(2)))
    pictures(root, *(f"6.preprocessed/q{n}.png" for n in range(3)))


@plants("annotation-unreadable", "annotation-unreadable")
def _(root: Path) -> None:
    voc(root)
    (root / "annotations" / "a.xml").write_text("<annotation")


@plants("annotation-without-image", "unpaired-annotation")
def _(root: Path) -> None:
    voc(root)
    (root / "images" / "a.png").unlink()


@plants("image-without-annotation", "unpaired-annotation")
def _(root: Path) -> None:
    voc(root)
    (root / "annotations" / "a.xml").unlink()


@plants("other-name", "annotation-of-other-image")
def _(root: Path) -> None:
    voc(root, said="elsewhere")


@plants("row-unreadable", "annotation-unreadable")
def _(root: Path) -> None:
    table(root, "c.png\nd.png,cat\n")


@plants("missing-file", "missing-file")
def _(root: Path) -> None:
    table(root, "c.png,cat\nd.png,dog\nz.png,dog\n")


@plants("label-missing", "label-missing")
def _(root: Path) -> None:
    table(root, "c.png,cat\nd.png,\n")


@plants("duplicate-row", "duplicate-image")
def _(root: Path) -> None:
    table(root, "c.png,cat\nd.png,dog\nd.png,dog\n")


@plants("contradicting-rows", "label-conflict")
def _(root: Path) -> None:
    table(root, "c.png,cat\nd.png,dog\nd.png,cat\n")


@plants("encoding", "annotation-unreadable")
def _(root: Path) -> None:
    table(root, "c.png,kätzchen\nd.png,dog\n", "cp1252")


@plants("image-without-mask", "unpaired-mask")
def _(root: Path) -> None:
    masks(root)
    (root / "masks" / "a.png").unlink()


@plants("mask-without-image", "unpaired-mask")
def _(root: Path) -> None:
    masks(root)
    (root / "images" / "a.png").unlink()


@plants("same-name", "same-stem")
def _(root: Path) -> None:
    masks(root)
    pictures(root, "images/a.bmp")


@plants("other-case", "split-case")
def _(root: Path) -> None:
    masks(root)
    (root / "masks" / "a.png").rename(root / "masks" / "A.png")


@plants("image-without-partner", "unpaired-frame")
def _(root: Path) -> None:
    sequences(root)
    (root / "s1" / "sharp" / "00003.png").unlink()


@plants("partner-without-image", "unpaired-frame")
def _(root: Path) -> None:
    sequences(root)
    (root / "s1" / "blur" / "00003.png").unlink()


@plants("image-without-spikes", "unpaired-frame")
def _(root: Path) -> None:
    sequences(root, "spike")
    (root / "s1" / "spike" / "00003.dat").unlink()


@plants("missing-folder", "unpaired-frame")
def _(root: Path) -> None:
    sequences(root, "spike")
    for path in (root / "s1" / "spike").iterdir():
        path.unlink()
    (root / "s1" / "spike").rmdir()


@plants("missing-folder", "support-set-short")
def _(root: Path) -> None:
    support(root / "bolts")
    pictures(root, *(f"nuts/6.preprocessed/n{n}.png" for n in range(3)))


@plants("missing-folder", "empty-dataset", layout="voc-boxes")
def _(root: Path) -> None:
    classes(root)


@plants("missing-folder", "empty-dataset", layout="frame-pairs")
def _(root: Path) -> None:
    classes(root)


@plants("empty-folder", "class-without-samples")
def _(root: Path) -> None:
    classes(root)
    (root / "owl").mkdir()


@plants("empty-folder", "unpaired-frame")
def _(root: Path) -> None:
    sequences(root)
    for path in (root / "s1" / "sharp").iterdir():
        path.unlink()


@plants("empty-folder", "support-set-short")
def _(root: Path) -> None:
    support(root)
    (root / "2.support-set" / "shot2" / "Class_Z").mkdir()


@plants("empty-folder", "empty-dataset")
def _(root: Path) -> None:
    masks(root)
    (root / "images").rename(root / "forged")
    (root / "authentic").mkdir()


@plants("stray-file", "stray-image")
def _(root: Path) -> None:
    classes(root)
    pictures(root, "loose.png")


@plants("unlisted-folder", "stray-image")
def _(root: Path) -> None:
    classes(root)
    pictures(root, "cat/" + "d/" * 45 + "deep.png")


@plants("broken-link", "broken-link")
def _(root: Path) -> None:
    classes(root)
    (root / "cat" / "gone.png").symlink_to(root / "nowhere.png")


@plants("circular-link", "broken-link")
def _(root: Path) -> None:
    classes(root)
    (root / "cat" / "up").symlink_to(root)


@plants("no-plain-file", "stray-image")
def _(root: Path) -> None:
    classes(root)
    (root / "cat" / "device.png").symlink_to(os.devnull)
    os.mkfifo(root / "cat" / "pipe.png")


@plants("unreadable-folder", "unreadable-file")
def _(root: Path) -> None:
    classes(root)
    pictures(root, "owl/0.png")
    (root / "owl").chmod(0)


RULES = tuple(sorted({rule for _, rule, _, _ in PLANTED}))


CLOSED = ("unreadable-folder",)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        root = Path(place) / "set"
        root.mkdir()
        yield root
        for path in root.iterdir():
            path.chmod(0o755)


def test_every_kind_that_layouts_know_is_planted() -> None:
    assert {kind for kind, _, _, _ in PLANTED} == set(get_args(ListingKind))


@posix
@pytest.mark.parametrize(
    ("kind", "rule", "layout", "plant"), [pytest.param(*one, id=f"{one[0]}, {one[1]}, {one[2]}") for one in PLANTED]
)
def test_a_rule_reports_it(open_folder: Path, kind: ListingKind, rule: str, layout: str, plant: Plant) -> None:
    plant(open_folder)
    plan = plan_of_folder(
        open_folder,
        {"data": {"train": str(open_folder), "layout": layout}},
        facts={"audit": lambda _plan: (listed_by_nobody("data.train", open_folder),)} if kind in CLOSED else {},
    )
    report = check(plan, settings=CheckSettings(select=RULES))
    assert [one.reason for one in report.results if one.state is State.CRASHED] == []
    assert kind in {problem.kind for folder in plan.fact("audit") for problem in folder.problems}
    found = {one.slug for one in report.results if one.findings}
    assert rule in found
    # What is said of no layout at all is said once.
    assert layout == "auto" or found == {rule}


def listed_by_nobody(key: str, folder: Path) -> FolderAudit:
    """Names only: where the tests run as root, nobody may not start the processes that open images, either."""
    with as_nobody():
        listing = read_layout(folder, key=key)
    return FolderAudit(
        key,
        str(folder),
        listing.layout,
        samples=listing.samples,
        classes=listing.classes,
        problems=listing.problems,
    )


@posix
@pytest.mark.parametrize("closed", ["train", "val"])
def test_a_class_that_may_not_be_read_is_not_called_empty(open_folder: Path, closed: str) -> None:
    for split in ("train", "val"):
        classes(open_folder / split)
    (open_folder / closed / "cat").chmod(0)
    folders = tuple(listed_by_nobody(f"data.{split}", open_folder / split) for split in ("train", "val"))
    (open_folder / closed / "cat").chmod(0o755)
    plan = Known({}, audit=folders)
    assert len(findings("unreadable-file", plan)) == 1
    assert findings("class-without-samples", plan) == []
    assert findings("class-only-in-validation", plan) == []


@pytest.mark.parametrize(
    ("names", "train", "val", "level"),
    [
        ("ab", 40, {"a": 20}, Level.WARNING),
        ("abcd", 8, {"a": 2, "b": 2, "c": 2}, Level.NOTE),
        ("abcd", 9, {"a": 1, "b": 1, "c": 1}, None),
        ("ab", 9, {"c": 4}, None),
    ],
    ids=["beyond chance", "perhaps by chance", "fewer samples than classes", "nothing in common"],
)
def test_a_class_that_only_validation_lacks(
    tmp_path: Path, names: str, train: int, val: dict[str, int], level: Level | None
) -> None:
    pictures(tmp_path, *(f"train/{name}/img{name}x{n}y.png" for name in names for n in range(train)))
    pictures(tmp_path, *(f"val/{name}/pic{name}x{n}z.png" for name, count in val.items() for n in range(count)))
    data = {"train": str(tmp_path / "train"), "val": str(tmp_path / "val"), "layout": "class-folders"}
    report = check(plan_of_folder(tmp_path, {"data": data}), settings=CheckSettings(select=("class-without-samples",)))
    found = [finding for one in report.results for finding in one.findings]
    assert [finding.level for finding in found] == ([level] if level else [])
    for finding in found:
        assert "data.val" in finding.message
        assert "where its share would be" in finding.evidence[0].text
