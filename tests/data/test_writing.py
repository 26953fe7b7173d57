"""Files are whole or absent, and a place that cannot be written is said in one line."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from snellen.data.reading import read_image, read_mask
from snellen.data.writing import make_folder, write_bytes, write_png
from snellen.errors import RunFolderError


def test_images_and_masks_come_back(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    pixels, mask = generator.integers(0, 256, (9, 7, 3), dtype=np.uint8), generator.random((9, 7)) > 0.5
    write_png(tmp_path / "a.png", pixels)
    write_png(tmp_path / "m.png", mask)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, pixels)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png").mask, mask)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.png", "m.png"]


@pytest.mark.parametrize("array", [np.zeros((2, 2)), np.zeros((2, 2, 4), np.uint8), np.zeros((0, 2), np.uint8)])
def test_other_arrays_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected uint8 or bool"):
        write_png(tmp_path / "a.png", array)


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(RunFolderError, match="out"):
        make_folder(tmp_path / "out")
    with pytest.raises(RunFolderError, match=r"not a folder|Not a directory"):
        make_folder(tmp_path / "out" / "masks")
    with pytest.raises(RunFolderError, match="cannot write"):
        write_bytes(tmp_path / "absent" / "a.bin", b"1")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunFolderError, match="permission denied"):
        write_bytes(tmp_path / "a.bin", b"1")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a.bin", b"old")
    program = (
        "import resource, signal, sys; from snellen.data.writing import write_bytes; from snellen.errors import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    write_bytes(sys.argv[1], bytes(5000))\nexcept RunFolderError as error:\n    print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-B", "-c", program, tmp_path / "a.bin"], capture_output=True, text=True, check=True
    )
    assert "cannot write" in result.stdout
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bin"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000
