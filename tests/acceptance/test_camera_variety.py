"""Pictures from cameras, test suites and fuzzers: every one is read or refused in one sentence, with bounded memory.

The pictures are found by `index.csv`, which says for each what a plain decoder makes of it.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from snellen.data.reading import ImageFile, probe_image, read_image, read_mask
from snellen.errors import DataError

PROGRAM = """
import json, re, sys
from pathlib import Path
from snellen.data.reading import read_image
from snellen.errors import DataError
outcome = {}
for path in sys.argv[1:]:
    try:
        outcome[path] = list(read_image(path).pixels.shape)
    except DataError as error:
        outcome[path] = error.message
# Not ru_maxrss: a child inherits there what its parent, this test run, has taken.
status = Path("/proc/self/status").read_text()
print(json.dumps([outcome, int(re.search(r"VmHWM:\\s+(\\d+)", status)[1])]))
"""


@pytest.fixture(scope="module")
def pictures(shared: Path) -> list[tuple[Path, dict[str, str]]]:
    indices = sorted(shared.glob("data/*/index.csv"))
    found = []
    for index in indices:
        with index.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if "pillow_status" in row]
        found += [(index.parent / row["file"], row) for row in rows]
    if not found:
        pytest.skip(f"no index.csv with a column pillow_status below {shared / 'data'}")
    return found


def test_every_picture_that_decodes_is_read_and_the_others_are_refused_by_name(
    pictures: list[tuple[Path, dict[str, str]]],
) -> None:
    refused = 0
    for path, row in pictures:
        read = _read(path)
        if isinstance(read, DataError):
            refused += 1
            assert row["pillow_status"] != "ok", read.message
            assert str(path) in read.message
            assert read.slug == "corrupt-image" or "the limit is" in read.message
            assert "\n" not in read.message
            continue
        assert read.pixels.dtype == np.uint8
        assert read.pixels.ndim == 3
        assert read.pixels.shape[2] == 3
        if row["width"]:
            assert sorted(read.original_size) == sorted((int(row["width"]), int(row["height"])))
        assert sum("frames" in note for note in read.notes) == (int(row["frames"] or 1) > 1)
        if row["exif_orientation"] in set("12345678"):
            applied = any("orientation" in note and "applied" in note for note in read.notes)
            assert applied == (row["exif_orientation"] != "1")
    assert refused <= len(pictures) // 4


def _read(path: Path) -> ImageFile | DataError:
    try:
        return read_image(path)
    except DataError as error:
        return error


def test_headers_and_masks_of_every_picture(pictures: list[tuple[Path, dict[str, str]]]) -> None:
    for path, row in pictures:
        try:
            header = probe_image(path)
            mask = read_mask(path).mask
        except DataError:
            assert row["pillow_status"] != "ok"
            continue
        assert mask.shape == header.upright_size
        assert header.format == row["pillow_format"] or not row["pillow_format"]


def test_plain_rgb_pictures_are_those_of_pillow(pictures: list[tuple[Path, dict[str, str]]]) -> None:
    plain = [
        path
        for path, row in pictures
        if row["pillow_status"] == "ok" and row["pillow_mode"] == "RGB" and row["exif_orientation"] in {"", "1"}
    ]
    assert plain
    for path in plain:
        read = read_image(path)
        if read.notes:
            continue
        with Image.open(path) as image:
            np.testing.assert_array_equal(read.pixels, np.asarray(image.convert("RGB")), err_msg=str(path))


def test_all_in_one_process_stays_small_and_silent(pictures: list[tuple[Path, dict[str, str]]]) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, *(str(path) for path, _ in pictures)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=dict(os.environ, OMP_NUM_THREADS="1"),
    )
    outcome, kilobytes = json.loads(result.stdout)
    assert len(outcome) == len(pictures)
    assert kilobytes < 1_000_000
    # libtiff's own voice cannot be turned off from Python.
    assert [line for line in result.stderr.splitlines() if not line.startswith("TIFF")] == []
