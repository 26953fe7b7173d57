"""Masks of every make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from snellen.data.masks import read_mask
from snellen.errors import DataError

TRUTH = np.zeros((40, 60), dtype=bool)
TRUTH[8:20, 10:35] = True
TRUTH[28:34, 40:55] = True


def picture(values: np.ndarray, path: Path, **options: object) -> Path:
    Image.fromarray(values).save(path, **options)
    return path


@pytest.mark.parametrize("high", [255, 1, 37])
@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "gif"])
def test_black_and_white_and_label_masks(tmp_path: Path, high: int, suffix: str) -> None:
    path = picture(TRUTH.astype(np.uint8) * np.uint8(high), tmp_path / f"m.{suffix}")
    found = read_mask(path)
    np.testing.assert_array_equal(found.mask, TRUTH)
    assert found.values == (0, high)
    assert any("labels" in note for note in found.notes) == (high != 255)


def test_one_bit_sixteen_bit_and_all_black(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_mask(picture(TRUTH, tmp_path / "1.png")).mask, TRUTH)
    wide = read_mask(picture(TRUTH.astype(np.uint16) * 65535, tmp_path / "16.png"))
    np.testing.assert_array_equal(wide.mask, TRUTH)
    black = read_mask(picture(np.zeros((4, 4), dtype=np.uint8), tmp_path / "0.png"))
    assert not black.mask.any()
    assert black.notes == ()


def test_jpeg_masks_are_cut_and_the_grey_pixels_counted(tmp_path: Path) -> None:
    found = read_mask(picture(TRUTH.astype(np.uint8) * np.uint8(255), tmp_path / "m.jpg", quality=90))
    np.testing.assert_array_equal(found.mask, TRUTH)
    assert "are grey" in found.notes[0]


def test_a_jpeg_in_which_nothing_reaches_the_threshold_is_empty(tmp_path: Path) -> None:
    found = read_mask(picture(TRUTH.astype(np.uint8) * np.uint8(9), tmp_path / "m.jpg"))
    assert not found.mask.any()
    assert "empty mask" in found.notes[0]


def test_smoothed_masks_follow_the_threshold(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (3, 1))
    path = picture(ramp, tmp_path / "ramp.png")
    for threshold in (1, 100, 255):
        np.testing.assert_array_equal(read_mask(path, threshold=threshold).mask, ramp >= threshold)


def test_colour_alpha_and_palette(tmp_path: Path) -> None:
    red = np.zeros((40, 60, 3), dtype=np.uint8)
    red[TRUTH] = (200, 0, 0)
    np.testing.assert_array_equal(read_mask(picture(red, tmp_path / "red.png")).mask, TRUTH)

    alpha = np.zeros((40, 60, 4), dtype=np.uint8)
    alpha[TRUTH, 3] = 255
    found = read_mask(picture(alpha, tmp_path / "alpha.png"))
    np.testing.assert_array_equal(found.mask, TRUTH)
    assert "transparency is read" in found.notes[0]

    both = np.concatenate([red, 255 - alpha[:, :, 3:]], axis=2)
    found = read_mask(picture(both, tmp_path / "both.png"))
    np.testing.assert_array_equal(found.mask, TRUTH)
    assert "transparency ignored" in found.notes[0]

    palette = Image.fromarray(TRUTH.astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 128, 0, 0] + [0] * 762)
    palette.save(tmp_path / "voc.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "voc.png").mask, TRUTH)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_arrays(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "m.npy", TRUTH.astype(dtype))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.npy").mask, TRUTH)
    regions = np.zeros((2, 40, 60), dtype=dtype)
    regions[0, :24], regions[1, 24:] = TRUTH[:24], TRUTH[24:]
    np.save(tmp_path / "r.npy", regions)
    found = read_mask(tmp_path / "r.npy", size=(40, 60))
    np.testing.assert_array_equal(found.mask, TRUTH)
    assert found.notes == ("union of 2 regions",)
    np.save(tmp_path / "c.npy", TRUTH[:, :, None].astype(dtype))
    np.testing.assert_array_equal(read_mask(tmp_path / "c.npy").mask, TRUTH)


def test_another_size_is_refused_with_both(tmp_path: Path) -> None:
    path = picture(TRUTH.astype(np.uint8), tmp_path / "m.png")
    with pytest.raises(DataError, match=r"m\.png is 60 x 40 pixels, its image is 61 x 40"):
        read_mask(path, size=(40, 61))


def test_arrays_that_are_none(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "line.npy", np.zeros(5))
    np.save(tmp_path / "nothing.npy", np.zeros((0, 4)))
    np.save(tmp_path / "text.npy", np.array([["a"]]))
    whole = np.ones((99, 99), dtype=np.uint8)
    np.save(tmp_path / "cut.npy", whole)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:900])
    (tmp_path / "junk.npy").write_bytes(b"no array at all")
    (tmp_path / "empty.npy").touch()
    for name, message in (
        ("objects", "Python objects"),
        ("line", "shape"),
        ("nothing", "shape"),
        ("text", "type"),
        ("cut", "cannot be read"),
        ("junk", "cannot be read|Python objects"),
        ("empty", "cannot be read"),
        ("absent", "does not exist"),
    ):
        with pytest.raises(DataError, match=message):
            read_mask(tmp_path / f"{name}.npy")
