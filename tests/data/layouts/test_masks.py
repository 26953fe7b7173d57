"""Masks: beside the images, one folder per image, under lengthened names, outside of the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from snellen.data.layouts import Listing, read_layout, splits_of


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def read(root: Path) -> Listing:
    return read_layout(root, key="data.train")


def masks(listing: Listing) -> dict[str, list[str]]:
    return {Path(sample.image).name: [Path(mask).name for mask in sample.masks] for sample in listing.samples}


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (
            ("images/1.jpg", "images/2.jpg", "masks/1.png", "masks/2_mask.png"),
            {"1.jpg": ["1.png"], "2.jpg": ["2_mask.png"]},
        ),
        (("JPEGImages/1.jpg", "SegmentationClass/1.png"), {"1.jpg": ["1.png"]}),
        (("train/1.png", "trainannot/1.png"), {"1.png": ["1.png"]}),
        (("a.jpg", "a_mask.png", "b.jpg", "b_mask.png"), {"a.jpg": ["a_mask.png"], "b.jpg": ["b_mask.png"]}),
        (("x_sat.jpg", "x_mask.png"), {"x_sat.jpg": ["x_mask.png"]}),
        (("images/x/1.png", "labels/x/1.png"), {"1.png": ["1.png"]}),
        (
            (
                *("leftImg8bit/val/u/u_1_leftImg8bit.png", "gtFine/val/u/u_1_gtFine_labelIds.png"),
                "gtFine/val/u/u_1_gtFine_color.png",
            ),
            {"u_1_leftImg8bit.png": ["u_1_gtFine_labelIds.png"]},
        ),
    ],
)
def test_the_usual_places(tmp_path: Path, names: tuple[str, ...], found: dict[str, list[str]]) -> None:
    listing = read(touch(tmp_path, *names))
    assert listing.layout == "image-masks"
    assert masks(listing) == found
    assert listing.problems == ()


def test_what_does_not_fit_is_counted(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{name}" for name in ("1.jpg", "2.jpg", "A3.jpg", "4.jpg", "4.png")))
    touch(tmp_path, *(f"masks/{name}" for name in ("1.png", "a3.png", "4.png", "9.png")))
    (tmp_path / "classes.txt").write_text("0 sky\n2 road\n")
    listing = read(tmp_path)
    assert {problem.kind: (problem.count, problem.of) for problem in listing.problems} == {
        "image-without-mask": (1, 5),
        "mask-without-image": (1, 4),
        "same-name": (2, 5),
        "other-case": (1, 4),
    }
    assert listing.classes == ("sky", "", "road")
    assert listing.classes_from.endswith("classes.txt")


def test_a_split_finds_its_masks_outside(tmp_path: Path) -> None:
    touch(tmp_path / "c", "train/0001TP_01.png", "trainannot/0001TP_01.png", "val/2.png", "valannot/2.png")
    assert {name: path.name for name, path in splits_of(tmp_path / "c").items()} == {"train": "train", "val": "val"}
    listing = read(tmp_path / "c" / "train")
    assert (listing.layout, masks(listing)) == ("image-masks", {"0001TP_01.png": ["0001TP_01.png"]})
    touch(tmp_path / "d", "images/train/1.png", "masks/train/1.png")
    assert splits_of(tmp_path / "d")["train"] == tmp_path / "d" / "images" / "train"
    assert read(tmp_path / "d" / "images" / "train").layout == "image-masks"


def test_one_folder_for_an_image(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"{name}/images/{name}.png" for name in "abc"),
        *(f"{name}/masks/{i}.png" for name in "ab" for i in "123"),
    )
    (tmp_path / "d" / "images").mkdir(parents=True)
    listing = read(tmp_path)
    assert listing.layout == "instance-masks"
    assert {name: len(found) for name, found in masks(listing).items()} == {"a.png": 3, "b.png": 3, "c.png": 0}
    assert {problem.kind for problem in listing.problems} == {"image-without-mask", "mask-without-image"}


def test_a_layout_that_does_not_fit_says_what_it_expected(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    for name in ("image-masks", "voc-boxes", "yolo-boxes", "coco-json", "frame-pairs", "frames", "support-query"):
        listing = read_layout(tmp_path, key="data.train", name=name)  # type: ignore[arg-type]
        assert [problem.kind for problem in listing.problems] == ["missing-folder"]
        assert listing.samples == ()
