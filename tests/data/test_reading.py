"""Images as they come: every mode, hostile files, many threads; references are Pillow and numpy themselves."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from snellen.data.masks import read_mask
from snellen.data.pictures import read_picture
from snellen.data.reading import probe_image, read_image
from snellen.errors import DataError

Photo = Callable[[str], np.ndarray]


@pytest.fixture
def small(photo: Photo) -> Image.Image:
    return Image.fromarray(photo("chelsea")[40:200, 60:300])


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_plain_rgb_comes_back_as_it_is_and_without_notes(small: Image.Image, tmp_path: Path) -> None:
    read = read_image(saved(small, tmp_path / "a.png"))
    np.testing.assert_array_equal(read.pixels, np.asarray(small))
    assert (read.notes, read.original_mode, read.original_size) == ((), "RGB", (160, 240))
    assert read.pixels.flags.writeable
    assert read.pixels.flags.c_contiguous


@pytest.mark.parametrize("suffix", ["jpg", "tif", "bmp", "webp", "gif", "ppm", "tga", "jp2"])
def test_every_common_format_reads_as_pillow_reads_it(small: Image.Image, tmp_path: Path, suffix: str) -> None:
    path = saved(small, tmp_path / f"a.{suffix}")
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(read_image(path).pixels, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_exif_orientation_is_applied_once(small: Image.Image, tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(small, tmp_path / f"a.{suffix}", exif=exif)
    with Image.open(path) as image:
        image.load()
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    read = read_image(path)
    np.testing.assert_array_equal(read.pixels, expected)
    assert read.original_size == (160, 240)
    assert any("orientation" in note for note in read.notes) == (orientation != 1)
    header = probe_image(path)
    assert header.orientation == orientation
    assert header.upright_size == read.pixels.shape[:2]


def test_cmyk_of_adobe_and_of_others_show_the_same_colour(tmp_path: Path) -> None:
    red = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    adobe = saved(red, tmp_path / "adobe.jpg", quality=95)
    data = adobe.read_bytes()
    marker = data.index(b"\xff\xee")
    length = struct.unpack(">H", data[marker + 2 : marker + 4])[0]
    # The same file without Adobe's marker, the inks stored the plain way round.
    inverted = io.BytesIO()
    Image.new("CMYK", (32, 32), (255, 0, 0, 255)).save(inverted, "JPEG", quality=95)
    plain = inverted.getvalue()
    (tmp_path / "plain.jpg").write_bytes(plain[:marker] + plain[marker + 2 + length :])
    for name in ("adobe.jpg", "plain.jpg"):
        read = read_image(tmp_path / name)
        assert np.abs(read.pixels.astype(int) - [255, 0, 0]).max() <= 6, name
        assert "CMYK" in read.notes[0]
    assert data != plain


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_scaled_by_its_bits(tmp_path: Path, suffix: str) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    full = read_image(saved(Image.fromarray(ramp), tmp_path / f"full.{suffix}"))
    np.testing.assert_array_equal(full.pixels[:, :, 1], np.rint(ramp / 257).astype(np.uint8))
    twelve = read_image(saved(Image.fromarray(ramp >> 4), tmp_path / f"twelve.{suffix}"))
    assert twelve.pixels.max() == 255
    assert twelve.notes == ("values of 12 bits scaled to 8",)


def test_sixteen_bit_colour_keeps_its_upper_bits(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (9, 7, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    content = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", 7, 9, 16, 2, 0, 0, 0)
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        content += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    (tmp_path / "rgb16.png").write_bytes(content)
    read = read_image(tmp_path / "rgb16.png")
    assert np.abs(read.pixels.astype(float) - values / 257.0).max() <= 1
    assert read.notes == ("16 bits per channel cut to 8",)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, np.nan, 1.0], [0, 0, 255]),
        ([np.inf, 0.0, 1.0], [0, 0, 255]),
    ],
)
def test_floating_point_tiff(tmp_path: Path, values: list[float], expected: list[int]) -> None:
    path = saved(Image.fromarray(np.array([values], dtype=np.float32)), tmp_path / "a.tif")
    assert read_image(path).pixels[0, :, 0].tolist() == expected


@pytest.mark.parametrize("read", [read_image, read_picture, read_mask])
def test_a_picture_without_any_number_is_no_black_picture(read: Callable[[Path], object], tmp_path: Path) -> None:
    values = np.array([[np.nan, np.inf, -np.inf]], dtype=np.float32)
    path = saved(Image.fromarray(values), tmp_path / "a.tif")
    with pytest.raises(
        DataError, match=r"a\.tif \(3 x 1\) shows nothing: all its values are NaN or infinite"
    ) as caught:
        read(path)
    assert caught.value.slug == "corrupt-image"


def test_transparency_is_laid_on_white_whatever_stores_it(tmp_path: Path) -> None:
    rgba = np.zeros((6, 6, 4), dtype=np.uint8)
    rgba[:, :3] = (10, 20, 30, 255)
    image = Image.fromarray(rgba)
    for name, stored in (("rgba", image), ("la", image.convert("LA")), ("p", image.quantize(8))):
        read = read_image(saved(stored, tmp_path / f"{name}.png"))
        assert read.pixels[0, 5].tolist() == [255, 255, 255], name
        assert (read.pixels[0, 0] < 60).all(), name
        assert any("laid on white" in note for note in read.notes)


@pytest.mark.parametrize(("alpha", "word"), [(255, "opaque"), (0, "zero")])
def test_a_channel_of_transparency_that_says_nothing_is_dropped(tmp_path: Path, alpha: int, word: str) -> None:
    path = saved(Image.new("RGBA", (4, 4), (9, 8, 7, alpha)), tmp_path / "a.png")
    read = read_image(path)
    assert read.pixels[0, 0].tolist() == [9, 8, 7]
    assert word in read.notes[0]


def test_palette_and_one_bit_images(small: Image.Image, tmp_path: Path) -> None:
    for mode in ("P", "1"):
        read = read_image(saved(small.convert(mode), tmp_path / f"{mode}.png"))
        np.testing.assert_array_equal(read.pixels, np.asarray(small.convert(mode).convert("RGB")))
        assert "expanded" in read.notes[0]


def test_of_an_animation_the_first_frame_is_read(small: Image.Image, tmp_path: Path) -> None:
    frames = [small.convert("L").point(lambda value, step=step: (value + step) % 256) for step in (0, 60, 120)]
    path = tmp_path / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    read = read_image(path)
    np.testing.assert_array_equal(read.pixels[:, :, 0], np.asarray(frames[0]))
    assert "first of 3 frames" in read.notes
    assert probe_image(path).frames == 3


@pytest.mark.parametrize("size", [(1, 1), (6000, 40), (40, 6000)])
def test_odd_shapes(tmp_path: Path, size: tuple[int, int]) -> None:
    assert read_image(saved(Image.new("RGB", size, (1, 2, 3)), tmp_path / "a.png")).pixels.shape == (*size[::-1], 3)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "gif", "bmp", "webp"])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.1, 0.5, 0.9])
def test_a_truncated_file_is_an_error_that_names_it(
    small: Image.Image, tmp_path: Path, suffix: str, kept: float
) -> None:
    path = saved(small, tmp_path / f"cut.{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(DataError, match=f"cut.{suffix}") as caught:
        read_image(path)
    assert caught.value.slug == "corrupt-image"


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "gif", "bmp", "webp", "jp2", "tga", "ico"])
def test_flipped_bytes_never_raise_anything_else(small: Image.Image, tmp_path: Path, suffix: str) -> None:
    path = saved(small.resize((48, 48)), tmp_path / f"a.{suffix}")
    data, generator = path.read_bytes(), np.random.default_rng(5)
    for _ in range(40):
        broken = np.frombuffer(data, dtype=np.uint8).copy()
        places = generator.integers(0, min(len(broken), 400), 4)
        broken[places] = generator.integers(0, 256, 4)
        path.write_bytes(broken.tobytes())
        try:
            assert read_image(path, max_pixels=4_000_000).pixels.dtype == np.uint8
        except DataError as error:
            assert path.name in error.message  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"%PDF-1.7 and more", "PDF"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "HEIC"),
        (b"8BPS\x00\x01", "Photoshop"),
        (b"\0" * 200, "all zero"),
        (b"hello, I am a text", "hello"),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=name):
        read_image(path)


def test_missing_files_folders_and_pipes(tmp_path: Path) -> None:
    (tmp_path / "Photo.PNG").touch()
    with pytest.raises(DataError, match="does not exist") as caught:
        read_image(tmp_path / "photo.png")
    assert caught.value.slug == "missing-file"
    assert "Photo.PNG" in str(caught.value.hint)
    with pytest.raises(DataError, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(DataError, match="cannot be opened"):
        read_image("a\0b.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="device or pipe"):
        read_image(tmp_path / "pipe.png")


def test_a_giant_is_refused_by_its_header_with_numbers(tmp_path: Path) -> None:
    path = saved(Image.new("1", (5000, 4000)), tmp_path / "giant.png")
    with pytest.raises(DataError, match=r"giant.png has 20.0 megapixels \(5000 x 4000\), the limit is 10"):
        read_image(path, max_pixels=10_000_000)


@pytest.mark.slow
def test_150_megapixels_stay_within_two_gigabytes(tmp_path: Path) -> None:
    # Not ru_maxrss: a child inherits there what its parent, this test run, has taken.
    program = (
        "import re, sys; from pathlib import Path; from snellen.data.reading import read_image\n"
        "image = read_image(sys.argv[1]); assert image.pixels.shape == (10000, 15000, 3) and not image.notes\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    path = saved(Image.new("RGB", (15000, 10000), (4, 5, 6)), tmp_path / "big.png")
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, path], capture_output=True, text=True, check=True
    )
    assert int(result.stdout) < 2_000_000
    assert result.stderr == ""


def test_pillows_warnings_become_notes_in_every_thread(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    broken = exif.tobytes()[:20]
    path = tmp_path / "a.jpg"
    saved(Image.new("RGB", (8, 8)), path, exif=broken)
    plain = saved(Image.new("RGB", (8, 8)), tmp_path / "plain.png")
    noted: list[tuple[str, ...]] = []

    def read() -> None:
        for _ in range(20):
            noted.append(read_image(path).notes)
            assert read_image(plain).notes == ()

    with warnings.catch_warnings(record=True) as outside:
        warnings.simplefilter("always")
        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(200):
            warnings.warn(f"from outside {number}", stacklevel=1)
        for thread in threads:
            thread.join()
        heard = [str(warning.message) for warning in outside]
    assert len(noted) == 80
    assert len(set(noted)) == 1
    assert noted[0], "the broken EXIF block must leave a note"
    assert heard == [f"from outside {number}" for number in range(200)]


def test_the_filters_are_as_before(small: Image.Image, tmp_path: Path) -> None:
    before = list(warnings.filters), warnings.showwarning
    read_image(saved(small, tmp_path / "a.png"))
    assert (list(warnings.filters), warnings.showwarning) == before
