"""Boxes: Pascal VOC, YOLO and COCO, and the files that try to do harm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from snellen.core.facts.data import Box
from snellen.data.layouts import Listing, read_layout
from snellen.data.layouts.voc_boxes import read_voc
from snellen.errors import DataError

VOC = """<annotation><filename>{name}.jpg</filename><size><width>64</width><height>48</height></size>
<object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40.5</ymax></bndbox></object>
</annotation>"""


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def read(root: Path) -> Listing:
    return read_layout(root, key="data.train")


def kinds(listing: Listing) -> dict[str, int]:
    return {problem.kind: problem.count for problem in listing.problems}


def test_voc(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/{name}.jpg" for name in "abcde"))
    for name, text in (("a", VOC), ("b", VOC.replace("{name}", "x")), ("c", VOC.replace("30", "wide")), ("d", "<oops")):
        write(tmp_path / "annotations" / f"{name}.xml", text.replace("{name}", name))
    write(tmp_path / "annotations" / "z.xml", VOC)
    listing = read(tmp_path)
    assert listing.layout == "voc-boxes"
    first = listing.samples[0]
    path = f"{tmp_path}/annotations/a.xml"
    assert first.boxes == (Box("cat", (1.0, 2.0, 30.0, 40.5), "xyxy", path, 2),)
    assert first.stated_size == (48, 64)
    assert [sample.boxes for sample in listing.samples[2:]] == [(), None, None]
    assert kinds(listing) == {
        "image-without-annotation": 1,
        "annotation-without-image": 1,
        "annotation-unreadable": 1,
        "row-unreadable": 1,
        "other-name": 1,
    }


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE a [<!ENTITY x "y">]><annotation><filename>&x;</filename></annotation>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>',
        "<annotation>" + "<a>" * 1000,
        "<html/>",
        "",
        "<annotation>" + " " * (17 * 1024 * 1024) + "</annotation>",
    ],
)
def test_hostile_xml_is_refused(tmp_path: Path, text: str) -> None:
    write(tmp_path / "a.xml", text)
    with pytest.raises(DataError, match=r"a\.xml"):
        read_voc(str(tmp_path / "a.xml"))


def test_yolo(tmp_path: Path) -> None:
    touch(tmp_path, *(f"images/train/{name}.jpg" for name in "abcd"), "labels/train/b.txt")
    write(tmp_path / "labels/train/a.txt", "0 .5 .5 .2 .1\n1 0 0 1 0 1 .5\n\n")
    write(tmp_path / "labels/train/c.txt", "0 .5 .5 nan .1\n0 .5 .5\n2 1.5 .5 .1 .1\n")
    write(tmp_path / "data.yaml", "names: {0: cat, 1: dog}\nnc: 2\n")
    for place in (tmp_path, tmp_path / "images" / "train"):
        listing = read(place)
        assert listing.layout == "yolo-boxes"
        assert listing.classes == ("cat", "dog")
        boxes = [None if sample.boxes is None else [box.values for box in sample.boxes] for sample in listing.samples]
        assert boxes == [[(0.5, 0.5, 0.2, 0.1), (0.5, 0.25, 1.0, 0.5)], [], [(1.5, 0.5, 0.1, 0.1)], None]
        assert kinds(listing) == {"image-without-annotation": 1, "row-unreadable": 1}


def test_coco(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "images/b.jpg", "images/c.jpg")
    data: dict[str, Any] = {
        "images": [
            {"id": 1, "file_name": "a.jpg", "height": 48, "width": 64},
            {"id": 2, "file_name": "b.jpg"},
            {"id": 3, "file_name": "gone.jpg"},
            "odd",
        ],
        "annotations": [
            {"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4]},
            {"image_id": 1, "category_id": 9, "bbox": [1, 2, 3, "4"]},
            {"image_id": 99, "category_id": 7, "bbox": [1, 2, 3, 4]},
        ],
        "categories": [{"id": 7, "name": "cat"}],
    }
    write(tmp_path / "annotations" / "instances_train.json", json.dumps(data))
    listing = read(tmp_path)
    assert listing.layout == "coco-json"
    assert listing.classes == ("cat",)
    path = f"{tmp_path}/annotations/instances_train.json"
    assert listing.samples[0].boxes == (Box("cat", (1.0, 2.0, 3.0, 4.0), "xywh", path, 1),)
    assert listing.samples[0].stated_size == (48, 64)
    assert [sample.boxes for sample in listing.samples[1:]] == [(), None]
    assert kinds(listing) == {
        "missing-file": 1,
        "row-unreadable": 2,
        "annotation-without-image": 1,
        "image-without-annotation": 1,
    }


@pytest.mark.parametrize("text", ['{"images": [], "annotations": [' + "[" * 100_000, '{"images": 3, "annotations": 4}'])
def test_hostile_json_is_a_problem(tmp_path: Path, text: str) -> None:
    touch(tmp_path, "a.jpg")
    write(tmp_path / "instances.json", text)
    assert kinds(read(tmp_path))["annotation-unreadable"] == 1
