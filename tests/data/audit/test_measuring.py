"""One file, one record: whatever the file holds, nothing raises, and what is wrong stands in the record."""

from __future__ import annotations

import io
import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from snellen.core.facts.data import ImageRecord
from snellen.data.audit.measuring import CHANGED, measure_image, measure_mask


def saved(path: Path, image: Image.Image, **options: object) -> str:
    image.save(path, **options)
    return str(path)


@pytest.fixture(scope="module")
def cat(photo: Callable[[str], np.ndarray]) -> Image.Image:
    return Image.fromarray(photo("chelsea"))


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"quality": 90}, "a.jpg"),
        ({"quality": 90, "progressive": True}, "a.jpg"),
        ({}, "a.png"),
        ({}, "a.bmp"),
        ({"compression": "tiff_lzw"}, "a.tif"),
        ({}, "a.webp"),
        ({}, "a.gif"),
    ],
)
def test_a_file_that_was_cut_off_anywhere_has_a_problem(
    tmp_path: Path, cat: Image.Image, options: dict[str, object], name: str
) -> None:
    whole = Path(saved(tmp_path / name, cat, **options)).read_bytes()
    assert measure_image(str(tmp_path / name)).problem == ""
    for share in (0.0, 0.001, 0.02, 0.3, 0.5, 0.9):
        (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
        record = measure_image(str(tmp_path / name))
        assert record.problem, f"{name} cut to {share}"
        assert record.pixels is None


def test_bytes_that_were_overwritten_never_raise(tmp_path: Path, cat: Image.Image) -> None:
    dice = random.Random(3)
    for name in ("a.jpg", "a.png", "a.webp", "a.bmp", "a.gif"):
        whole = bytearray(Path(saved(tmp_path / name, cat.resize((90, 60)))).read_bytes())
        for _ in range(25):
            torn = bytearray(whole)
            for _ in range(dice.randint(1, 40)):
                torn[dice.randrange(len(torn))] = dice.randrange(256)
            (tmp_path / name).write_bytes(torn)
            assert isinstance(measure_image(str(tmp_path / name)), ImageRecord)
            measure_mask(str(tmp_path / name))


@pytest.mark.parametrize(
    ("mode", "name", "bits"),
    [
        ("RGB", "a.png", 8),
        ("L", "a.jpg", 8),
        ("1", "a.png", 1),
        ("P", "a.gif", 8),
        ("RGBA", "a.png", 8),
        ("LA", "a.png", 8),
        ("CMYK", "a.jpg", 8),
        ("I;16", "a.png", 16),
        ("F", "a.tif", 32),
    ],
)
def test_every_mode_is_measured(tmp_path: Path, cat: Image.Image, mode: str, name: str, bits: int) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.asarray(cat.convert("L")).astype(np.uint16) * 257)
    else:
        image = cat.convert(mode)
    record = measure_image(saved(tmp_path / name, image))
    assert (record.problem, record.mode, record.bits) == ("", mode, bits)
    assert record.pixels is not None
    reference = np.asarray(cat.convert("L")).mean() / 255
    assert record.pixels.mean == pytest.approx(reference, abs=0.04)


def test_the_numbers_are_those_of_the_pixels(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    pixels = measure_image(saved(tmp_path / "a.png", Image.fromarray(values))).pixels
    grey = np.asarray(Image.fromarray(values).convert("L")).astype(float)
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    assert pixels is not None
    assert pixels.mean == pytest.approx(grey.mean() / 255, abs=1e-4)
    assert pixels.deviation == pytest.approx(grey.std() / 255, abs=1e-4)
    assert pixels.sharpness == pytest.approx(laplacian.std() / 255, abs=1e-4)
    assert pixels.low == pytest.approx(np.percentile(grey, 1) / 255, abs=2 / 255)
    assert pixels.high == pytest.approx(np.percentile(grey, 99) / 255, abs=2 / 255)
    spread = values.max(axis=2).astype(float) - values.min(axis=2)
    assert pixels.colourful == pytest.approx(spread.mean() / 255, abs=1e-4)
    assert 0 <= pixels.entropy <= 8


def test_a_decompression_bomb_is_not_decoded(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + body)
    record = measure_image(str(tmp_path / "bomb.png"))
    assert (record.width, record.height, record.pixels) == (60_000, 60_000, None)
    assert "the limit is 179: not decoded" in record.problem
    assert "not decoded" in measure_mask(str(tmp_path / "bomb.png")).problem


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>404</html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (bytes(500), "all zero"),
        (b"\xff\xd8\xff\xe0" + bytes(40), ""),
    ],
)
def test_what_is_no_image_is_said_by_name(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    record = measure_image(str(tmp_path / "a.jpg"))
    assert record.problem
    assert problem in record.problem
    assert str(tmp_path) not in record.problem
    assert record.digest


def test_what_is_not_there_or_no_file_has_a_problem(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("missing.png", "folder.png", "nul\0.png"):
        assert measure_image(str(tmp_path / name)).problem
        assert measure_mask(str(tmp_path / name)).problem
    assert measure_image(str(tmp_path / "pipe.png")).problem


def test_a_file_that_changes_while_it_is_read_is_said(tmp_path: Path, cat: Image.Image) -> None:
    path = tmp_path / "a.png"
    cat.save(path)

    def meanwhile(_digest: str) -> None:
        path.write_bytes(path.read_bytes() + b"more")

    record = measure_image(str(path), recall=meanwhile)
    assert (record.problem, record.digest, record.pixels) == (CHANGED, "", None)
    assert measure_mask(str(path), recall=meanwhile).problem == CHANGED


def test_a_turned_photo_has_the_fingerprint_of_the_upright_one(tmp_path: Path, cat: Image.Image) -> None:
    upright = measure_image(saved(tmp_path / "a.png", cat))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = cat.transpose(Image.Transpose.ROTATE_90)
    stored = measure_image(saved(tmp_path / "b.jpg", turned, exif=exif, quality=95))
    assert stored.upright_size == upright.upright_size
    assert upright.pixels is not None
    assert stored.pixels is not None
    assert (upright.pixels.fingerprint ^ stored.pixels.fingerprint).bit_count() <= 3


def test_hidden_pixels_are_counted(tmp_path: Path, cat: Image.Image) -> None:
    cat = cat.convert("RGBA")
    alpha = np.full((cat.height, cat.width), 255, dtype=np.uint8)
    alpha[: cat.height // 4] = 0
    cat.putalpha(Image.fromarray(alpha))
    pixels = measure_image(saved(tmp_path / "a.png", cat)).pixels
    assert pixels is not None
    assert pixels.transparent == pytest.approx(0.25, abs=0.01)


def test_frames_are_counted(tmp_path: Path) -> None:
    first, *others = (Image.new("L", (20, 20), 40 * number) for number in range(4))
    path = saved(tmp_path / "a.gif", first, save_all=True, append_images=others)
    assert measure_image(path).frames == 4


# -- masks -----------------------------------------------------------------------------------------------------------


def test_the_values_of_masks_are_counted(tmp_path: Path) -> None:
    values = np.zeros((60, 80), dtype=np.uint8)
    values[10:30, 10:50], values[40:50] = 3, 7
    counted = ((0, 60 * 80 - 800 - 800), (3, 800), (7, 800))
    palette = Image.fromarray(values).convert("P")
    palette.putdata(values.reshape(-1).tolist())
    np.save(tmp_path / "a.npy", values)
    for path in (
        saved(tmp_path / "a.png", Image.fromarray(values)),
        saved(tmp_path / "p.png", palette),
        str(tmp_path / "a.npy"),
    ):
        record = measure_mask(path)
        assert (record.problem, record.values, record.distinct, record.colour) == ("", counted, 3, False)
        assert (record.height, record.width) == (60, 80)
        assert record.ramps < 0.02


def test_a_coloured_mask_has_its_colours_as_values(tmp_path: Path) -> None:
    values = np.zeros((10, 10, 3), dtype=np.uint8)
    values[5:] = (128, 0, 64)
    record = measure_mask(saved(tmp_path / "a.png", Image.fromarray(values)))
    assert record.colour
    assert record.values == ((0, 50), (128 << 16 | 64, 50))


def test_smoothed_masks_have_ramps(tmp_path: Path) -> None:
    values = np.zeros((64, 64), dtype=np.uint8)
    values[16:48, 16:48] = 255
    mask = Image.fromarray(values)
    smooth = measure_mask(saved(tmp_path / "a.png", mask.resize((200, 200), Image.Resampling.BILINEAR)))
    hard = measure_mask(saved(tmp_path / "b.png", mask.resize((200, 200), Image.Resampling.NEAREST)))
    assert smooth.ramps > 0.1
    assert hard.ramps == 0


def test_arrays_of_regions_are_joined_and_odd_ones_refused(tmp_path: Path) -> None:
    regions = np.zeros((2, 8, 9), dtype=bool)
    regions[0, 0], regions[1, 1] = True, True
    np.save(tmp_path / "a.npy", regions)
    assert measure_mask(str(tmp_path / "a.npy")).values == ((0, 54), (1, 18))
    np.save(tmp_path / "b.npy", np.zeros(4))
    assert "expected numbers of 2 dimensions" in measure_mask(str(tmp_path / "b.npy")).problem
    np.save(tmp_path / "c.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "Python objects" in measure_mask(str(tmp_path / "c.npy")).problem
    whole = io.BytesIO()
    np.save(whole, np.zeros((100, 100)))
    (tmp_path / "d.npy").write_bytes(whole.getvalue()[:500])
    assert measure_mask(str(tmp_path / "d.npy")).problem
