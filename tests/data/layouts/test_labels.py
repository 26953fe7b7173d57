"""Classes by folder and by table."""

from __future__ import annotations

from pathlib import Path

import pytest

from snellen.core.facts.data import ListingProblem
from snellen.data.layouts import Listing, read_layout
from snellen.errors import DataError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def read(root: Path) -> Listing:
    return read_layout(root, key="data.train")


def kinds(listing: Listing) -> dict[str, int]:
    return {problem.kind: problem.count for problem in listing.problems}


def labels(listing: Listing) -> list[tuple[str, str | None]]:
    return [(Path(sample.image).name, sample.label) for sample in listing.samples]


def test_folders_are_classes_and_empty_ones_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "cat/1.jpg", "cat/2.jpg", "Dog /1.jpg", "Dog /2.jpg", "loose.jpg")
    (tmp_path / "owl").mkdir()
    listing = read(tmp_path)
    assert listing.layout == "class-folders"
    assert listing.classes == ("Dog ", "cat", "owl")
    assert ("1.jpg", "Dog ") in labels(listing)
    assert kinds(listing) == {"empty-folder": 1, "stray-file": 1}


def test_alphabets_nest_and_splits_are_no_classes(tmp_path: Path) -> None:
    touch(tmp_path / "a", *(f"Greek/character0{n}/{n}_{i}.png" for n in (1, 2) for i in range(3)))
    assert read(tmp_path / "a").classes == ("Greek/character01", "Greek/character02")
    touch(tmp_path / "b", *(f"{split}/{name}/{i}.png" for split in ("Train", "val") for name in "xy" for i in range(2)))
    assert read(tmp_path / "b").classes == ("x", "y")
    touch(tmp_path / "c", "x/1.png", "x/2.png", "y/small/1.png", "y/2.png")
    assert read(tmp_path / "c").classes == ("x", "y")


def test_an_image_beside_nested_classes_is_astray(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"{alphabet}/letter{n}/{i}.png" for alphabet in ("Greek", "Latin") for n in (1, 2) for i in "abcdef"),
    )
    touch(tmp_path, "Greek/new.png")
    listing = read(tmp_path)
    assert listing.classes == ("Greek/letter1", "Greek/letter2", "Latin/letter1", "Latin/letter2")
    assert len(listing.samples) == 24
    assert kinds(listing) == {"stray-file": 1}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_table_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    touch(tmp_path, "images/a.jpg", "images/b.jpg", "images/c.jpg")
    (tmp_path / "labels.csv").write_bytes(
        "id;label\na;Käse \nb;brot\nc;\nb;brot\nb;wurst\nzz;brot\nq\n".encode(encoding)
    )
    listing = read(tmp_path)
    assert listing.layout == "class-csv"
    assert labels(listing) == [("a.jpg", "Käse "), ("b.jpg", "brot"), ("c.jpg", None)]
    assert kinds(listing) == {
        "missing-file": 1,
        "row-unreadable": 1,
        "label-missing": 1,
        "contradicting-rows": 1,
        **({"encoding": 1} if encoding == "cp1252" else {}),
    }


def test_tables_without_header_with_columns_of_ones_and_beside_the_folder(tmp_path: Path) -> None:
    touch(tmp_path / "plain", "x/a.jpg", "x/b.jpg", "x/c.jpg")
    (tmp_path / "plain" / "list.tsv").write_text("x/a.jpg\tcat\nx\\b.jpg\tdog\nx/b.jpg\tdog\n")
    listing = read(tmp_path / "plain")
    assert labels(listing) == [("a.jpg", "cat"), ("b.jpg", "dog")]
    assert kinds(listing) == {"duplicate-row": 1, "image-without-annotation": 1}
    touch(tmp_path / "hot", "train/a.jpg", "train/b.jpg")
    (tmp_path / "hot" / "train.csv").write_text("image,MEL,NV\na,1.0,0.0\nb,0.0,1.0\n")
    listing = read(tmp_path / "hot" / "train")
    assert labels(listing) == [("a.jpg", "MEL"), ("b.jpg", "NV")]
    assert listing.classes == ("MEL", "NV")
    assert read(tmp_path / "hot" / "train.csv").layout == "class-csv"


def test_a_list_without_classes_is_no_table_of_classes(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.jpg", "one/b.jpg", "two/c.jpg", "two/d.jpg")
    (tmp_path / "index.csv").write_text("file,bytes,mode\none/a.jpg,1,RGB\ntwo/c.jpg,1,L\n")
    assert read(tmp_path).layout == "images"


def test_hostile_tables_end_in_a_problem(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "l.csv").write_bytes(b'file,label\na.jpg,cat\nb.jpg,"' + b"x" * 200_000 + b'"\n')
    listing = read_layout(tmp_path, key="data.train", name="class-csv")
    assert "annotation-unreadable" in kinds(listing)
    assert isinstance(listing.problems[0], ListingProblem)
    (tmp_path / "l.csv").write_bytes(b"\0\0\0")
    assert read(tmp_path).layout == "images"
    with pytest.raises(DataError, match="neither a table"):
        read(tmp_path / "l.csv")
