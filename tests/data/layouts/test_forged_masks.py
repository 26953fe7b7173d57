"""Folders of forgery data: which image has which mask, and everything that does not fit, by name and number."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from snellen.data.layouts.forged_masks import discover
from snellen.errors import DataError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def picture(path: Path, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size).save(path)


def test_pairs_by_stem_and_every_problem_by_name(tmp_path: Path) -> None:
    touch(tmp_path, *(f"Forged/{name}" for name in ("1.jpg", "2.png", "3.png", "4.tif", "5.png", "5.jpg")))
    touch(tmp_path, *(f"masks/{name}" for name in ("1.png", "2_mask.png", "4.npy", "5.png", "99.png")))
    touch(tmp_path, "authentic/1.png", "README.md")
    folder = discover(tmp_path)
    forged = [sample for sample in folder.samples if sample.role == "forged"]
    assert [(Path(sample.image).name, Path(sample.masks[0]).name) for sample in forged if sample.masks] == [
        ("1.jpg", "1.png"),
        ("2.png", "2_mask.png"),
        ("4.tif", "4.npy"),
        ("5.jpg", "5.png"),
        ("5.png", "5.png"),
    ]
    assert [Path(sample.image).name for sample in forged if not sample.masks] == ["3.png"]
    assert [problem.message for problem in folder.problems] == [
        "1 of 6 forged images has no mask in masks: 3.png",
        "1 of 5 masks has no forged image: 99.png",
        "2 of 6 forged images share their name with another, and so their mask: 5.jpg, 5.png",
    ]
    assert [Path(sample.image).parent.name for sample in folder.samples if sample.role == "authentic"] == ["authentic"]


def test_a_mask_that_differs_in_case_is_paired_and_named(tmp_path: Path) -> None:
    touch(tmp_path, "forged/Scene1.png", "forged/Scene2.png", "masks/scene1.png", "masks/Scene2.png")
    folder = discover(tmp_path)
    assert all(sample.masks for sample in folder.samples)
    assert [(one.kind, Path(one.paths[0]).name) for one in folder.problems] == [("other-case", "scene1.png")]


def test_competition_and_flat_layouts(tmp_path: Path) -> None:
    touch(tmp_path / "k", "train_images/forged/7.png", "train_images/authentic/7.png", "train_masks/7.npy")
    folder = discover(tmp_path / "k")
    assert [(sample.role, len(sample.masks)) for sample in folder.samples] == [("forged", 1), ("authentic", 0)]
    assert folder.problems == ()
    flat = discover(touch(tmp_path / "flat", "b.png", "a.jpg"))
    assert [(Path(sample.image).name, sample.role, sample.masks) for sample in flat.samples] == [
        ("a.jpg", "", ()),
        ("b.png", "", ()),
    ]


def test_empty_folders(tmp_path: Path) -> None:
    touch(tmp_path, "data/Train/forged/a.png")
    with pytest.raises(DataError, match="no image in") as caught:
        discover(tmp_path / "data")
    assert caught.value.slug == "empty-dataset"
    assert "did you mean" in str(caught.value.hint)
    assert "Train" in str(caught.value.hint)
    (tmp_path / "part" / "forged").mkdir(parents=True)
    touch(tmp_path, "part/authentic/a.png")
    assert [problem.kind for problem in discover(tmp_path / "part").problems] == ["empty-folder"]
    with pytest.raises(DataError, match="is a file, expected a folder"):
        discover(tmp_path / "data" / "Train" / "forged" / "a.png")
