"""Public data sets as they are: each is read as what its README says, and nothing is held against it."""

from __future__ import annotations

from pathlib import Path

import pytest

from snellen.data.layouts import read_layout, splits_of

LAYOUTS = {
    "ants_bees": "class-folders",
    "bccd": "voc-boxes",
    "camera_variety": "images",
    "camvid": "image-masks",
    "cifar10": "class-folders",
    "clothing": "class-folders",
    "coco128": "yolo-boxes",
    "drive_retina": "image-masks",
    "isic_lesions": "image-masks",
    "nuclei_dsb2018": "instance-masks",
    "omniglot/images_background": "class-folders",
    "omniglot/one_shot_runs": "support-query",
    "raccoon": "voc-boxes",
    "spike_streams": "frame-pairs",
    "stl10_examples": "class-folders",
    "video_davis": "frames",
}


def test_every_set_is_recognised_without_a_problem(shared: Path) -> None:
    folders = {name: shared / "data" / name for name in LAYOUTS if (shared / "data" / name).is_dir()}
    folders |= {path.name: path for path in (shared / "data").glob("forgery_*") if path.is_dir()}
    if not folders:
        pytest.skip(f"no data set below {shared / 'data'}")
    for name, folder in folders.items():
        for place in (folder, *splits_of(folder).values()):
            listing = read_layout(place, key="data.train")
            assert listing.layout == LAYOUTS.get(name, "forged-masks"), (place, listing.why)
            assert listing.problems == (), place
            assert listing.samples, place


@pytest.mark.parametrize(
    ("name", "layout", "samples", "masks", "boxes", "classes"),
    [
        ("cifar10/train", "class-folders", 3000, 0, 0, 10),
        ("bccd", "voc-boxes", 80, 0, 1114, 0),
        ("coco128/images/val2017", "yolo-boxes", 10, 0, 83, 80),
        ("coco128", "image-masks", 30, 30, 0, 201),
        ("camvid/train", "image-masks", 14, 14, 0, 12),
        ("nuclei_dsb2018", "instance-masks", 28, 866, 0, 0),
        ("video_davis", "frames", 44, 44, 0, 0),
        ("omniglot/one_shot_runs", "support-query", 400, 0, 0, 200),
    ],
)
def test_what_sets_hold(
    shared: Path, name: str, layout: str, samples: int, masks: int, boxes: int, classes: int
) -> None:
    folder = shared / "data" / name
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    listing = read_layout(folder, key="data.train", name=layout)  # type: ignore[arg-type]
    assert len(listing.samples) == samples
    assert sum(len(sample.masks) for sample in listing.samples) == masks
    assert sum(len(sample.boxes or ()) for sample in listing.samples) == boxes
    assert len(listing.classes) == classes
