"""Synthetic forgeries: the truth they claim is the truth of their pixels, and they are the same every time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from snellen.data.layouts.forged_masks import discover
from snellen.data.reading import mask_size, probe_image
from snellen.data.synthesis.copy_move import CopyMoveSettings, SyntheticForgery, synthesise, synthesise_folder
from snellen.errors import DataError

Photo = Callable[[str], np.ndarray]
NAMES = ("astronaut", "coffee", "chelsea", "rocket", "china")
UNTOUCHED = {"processed": 0.0, "retouched": 0.0, "feather": (0.0, 0.0)}
SMALL = CopyMoveSettings(longest_side=256)


def agreement(forgery: SyntheticForgery, *, index: int) -> float:
    """Correlation between a copy and the source warped by the transform that was noted."""
    height, width = forgery.source.shape
    matrix = forgery.copies[index].transform
    warped = cv2.warpAffine(forgery.image, matrix, (width, height), flags=cv2.INTER_CUBIC)
    where = cv2.warpAffine(forgery.source.astype(np.float32), matrix, (width, height)) > 0.99
    where = (cv2.erode(where.astype(np.uint8), np.ones((3, 3))) > 0) & forgery.target
    first, second = warped[where].astype(float).reshape(-1), forgery.image[where].astype(float).reshape(-1)
    return float(np.corrcoef(first, second)[0, 1])


@pytest.mark.parametrize("seed", range(25))
def test_masks_never_overlap_and_cover_what_was_pasted(photo: Photo, seed: int) -> None:
    image = photo(NAMES[seed % len(NAMES)])
    settings = CopyMoveSettings(longest_side=400, crop=(1, 1), **UNTOUCHED)
    forgery = synthesise(image, seed=seed, settings=settings)
    untouched = synthesise(image, seed=seed, settings=settings, forged=False)
    assert forgery.image.shape == untouched.image.shape
    changed = (forgery.image != untouched.image).any(axis=2)
    assert not (changed & ~forgery.target).any(), "pixels outside the target must stay"
    assert changed[forgery.target].mean() > 0.5
    assert not (forgery.source & forgery.target).any()
    assert 0.002 < forgery.source.mean() < 0.3
    assert 1 <= len(forgery.copies) <= 3
    assert 0 <= forgery.difficulty <= 1
    count, _ = cv2.connectedComponents(forgery.source.astype(np.uint8))
    assert count == 2, "the source is one piece"


@pytest.mark.parametrize("seed", range(25))
def test_the_transform_that_is_noted_leads_from_source_to_copy(photo: Photo, seed: int) -> None:
    settings = CopyMoveSettings(
        longest_side=512, transformed=0.9, retouched=0.0, processed=0.3, noise=1, quality=(95, 100)
    )
    forgery = synthesise(photo(NAMES[seed % len(NAMES)]), seed=(9, seed), settings=settings)
    for index in range(len(forgery.copies)):
        assert agreement(forgery, index=index) > 0.9


def test_a_copy_that_is_only_moved_keeps_its_pixels_to_the_bit(photo: Photo) -> None:
    settings = CopyMoveSettings(transformed=0.0, copies=(1, 1), **UNTOUCHED)
    forgery = synthesise(photo("coffee"), seed=1, settings=settings)
    (copy,) = forgery.copies
    assert copy.kind == "translation"
    x, y = copy.transform[:, 2].astype(int)
    rows, columns = np.nonzero(forgery.source)
    np.testing.assert_array_equal(forgery.image[rows, columns], forgery.image[rows + y, columns + x])
    assert forgery.target[rows + y, columns + x].all()


def test_same_seed_same_picture_and_others_differ(photo: Photo) -> None:
    image = photo("chelsea")
    first, again, other = (synthesise(image, seed=seed, settings=SMALL) for seed in ((3, 4), (3, 4), (3, 5)))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.target, again.target)
    assert first.image.shape != other.image.shape or (first.image != other.image).any()
    np.testing.assert_array_equal(image, photo("chelsea"), err_msg="the photo itself must stay")


def test_sources_have_texture(photo: Photo) -> None:
    half = photo("coffee")[:300, :400].copy()
    half[:, 200:] = 128
    for seed in range(12):
        forgery = synthesise(half, seed=seed, settings=CopyMoveSettings(area=(0.01, 0.03), crop=(1, 1), processed=0.0))
        assert forgery.source[:, :200].sum() > 0.6 * forgery.source.sum()


def test_every_shape_and_kind_occurs(photo: Photo) -> None:
    settings = CopyMoveSettings(longest_side=200)
    made = [synthesise(photo("coffee"), seed=seed, settings=settings) for seed in range(60)]
    assert {forgery.shape for forgery in made} == {"segment", "blob", "polygon", "box", "ellipse"}
    kinds = {copy.kind for forgery in made for copy in forgery.copies}
    assert kinds == {"translation", "rotation", "similarity", "affine", "flip"}
    assert {len(forgery.copies) for forgery in made} == {1, 2, 3}
    assert np.corrcoef([f.difficulty for f in made], [f.processing.resize for f in made])[0, 1] < 0


def test_authentic_samples_are_processed_and_not_forged(photo: Photo) -> None:
    settings = CopyMoveSettings(processed=1.0, quality=(60, 70))
    plain = synthesise(photo("coffee"), seed=2, settings=settings, forged=False)
    assert not plain.mask.any()
    assert (plain.copies, plain.shape, plain.difficulty) == ((), None, 0.0)
    assert plain.processing.quality is not None


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((47, 200, 3), np.uint8), "at least 48"),
        (np.full((200, 200, 3), 77, np.uint8), "too uniform"),
    ],
)
def test_photos_that_will_not_do(image: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        synthesise(image, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"area": (0.2, 0.1)}, "area"),
        ({"scale": (0.0, 1.0)}, "scale"),
        ({"flip": 1.5}, "flip"),
        ({"noise": -1.0}, "noise"),
        ({"shapes": ()}, "shapes"),
        ({"shapes": ("star",)}, "shapes"),
        ({"longest_side": 10}, "longest_side"),
        ({"copies": (0, 1)}, "copies"),
        ({"shear": float("nan")}, "shear"),
    ],
)
def test_settings_are_checked(change: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        CopyMoveSettings(**change)


@pytest.fixture
def photos(photo: Photo, tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("astronaut", "coffee", "chelsea"):
        Image.fromarray(photo(name)[:200, :220]).save(folder / f"{name}.png")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_the_same_however_it_came_about(photos: Path, tmp_path: Path) -> None:
    whole, grown, torn = (tmp_path / name for name in ("whole", "grown", "torn"))
    report = synthesise_folder(photos, whole, count=8, seed=5, settings=SMALL)
    assert (report.forged, report.authentic, report.kept, report.unusable) == (6, 2, 0, ())
    for count in (3, 8):
        report = synthesise_folder(photos, grown, count=count, seed=5, settings=SMALL)
    assert report.kept == 3
    assert contents(grown) == contents(whole)

    # As after a kill: a file is missing, the manifest's last line is torn.
    shutil.copytree(whole, torn)
    victim = sorted((torn / "masks").iterdir())[2]
    victim.unlink()
    manifest = torn / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-40])
    assert synthesise_folder(photos, torn, count=8, seed=5, settings=SMALL).kept == 6
    after, before = contents(torn), contents(whole)
    del after["manifest.jsonl"], before["manifest.jsonl"]
    assert after == before


def test_the_folder_has_the_layout_that_is_read(photos: Path, tmp_path: Path) -> None:
    synthesise_folder(photos, tmp_path / "out", count=10, settings=SMALL, authentic_fraction=0.4)
    folder = discover(tmp_path / "out")
    assert [sample.role for sample in folder.samples] == ["forged"] * 6 + ["authentic"] * 4
    assert folder.problems == ()
    for sample in folder.samples:
        assert all(mask_size(mask) == probe_image(sample.image).upright_size for mask in sample.masks)
    header, *records = [
        json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert header["photos"]["count"] == 3
    assert [record["index"] for record in records] == list(range(10))
    assert {record["photo"] for record in records} == {"astronaut.png", "coffee.png", "chelsea.png"}
    for record in records:
        assert all((tmp_path / "out" / name).is_file() for name in record["files"])
        assert len(record["copies"]) >= 1 if record["forged"] else record["copies"] == []


def test_unusable_photos_are_passed_over_and_named(photos: Path, tmp_path: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    Image.new("RGB", (300, 300)).save(photos / "black.png")
    Image.new("RGB", (10, 10)).save(photos / "tiny.png")
    report = synthesise_folder(photos, tmp_path / "out", count=12, settings=SMALL, authentic_fraction=0)
    assert report.forged == 12
    assert {path.name for path, _ in report.unusable} == {"broken.jpg", "black.png", "tiny.png"}


def test_folders_that_will_not_do(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image in") as caught:
        synthesise_folder(tmp_path / "empty", tmp_path / "out", count=2)
    assert caught.value.slug == "empty-dataset"
    (tmp_path / "black").mkdir()
    Image.new("RGB", (300, 300)).save(tmp_path / "black" / "a.png")
    with pytest.raises(DataError, match="none of 1 photos can be used"):
        synthesise_folder(tmp_path / "black", tmp_path / "out", count=2, authentic_fraction=0)
    synthesise_folder(photos, tmp_path / "made", count=1, settings=SMALL)
    with pytest.raises(DataError, match="made from another seed"):
        synthesise_folder(photos, tmp_path / "made", count=1, seed=1, settings=SMALL)
    with pytest.raises(DataError, match="made from another settings"):
        synthesise_folder(photos, tmp_path / "made", count=1)
    (tmp_path / "mine" / "forged").mkdir(parents=True)
    (tmp_path / "mine" / "forged" / "a.png").touch()
    with pytest.raises(DataError, match="not made here"):
        synthesise_folder(photos, tmp_path / "mine", count=1)
    with pytest.raises(DataError, match="count 0"):
        synthesise_folder(photos, tmp_path / "none", count=0)


def test_progress_sees_every_image(photos: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    def track(numbers: range) -> range:
        seen.extend(numbers)
        return numbers

    synthesise_folder(photos, tmp_path / "out", count=3, settings=SMALL, track=track)
    assert seen == [0, 1, 2]
