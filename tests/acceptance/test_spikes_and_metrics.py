"""Spike streams and image quality against the reference vectors; streams of a camera against the frames beside them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from safetensors.numpy import load_file

from snellen._env import shared_folder
from snellen.data.spikes.geometry import find_format
from snellen.data.spikes.streams import SpikeFormat, read_spikes, read_voxels, steps_of
from snellen.errors import DataError
from snellen.ops.image_quality import luma, psnr, ssim, to_bytes, ycbcr
from snellen.ops.voxels import voxelise

VECTORS = shared_folder() / "vectors"
STREAMS = shared_folder() / "data" / "spike_streams"

pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason=f"{VECTORS} is not there: set SNELLEN_SHARED")


def described(name: str) -> dict[str, Any]:
    path = VECTORS / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"cases": []}
    return found


SPIKES = {name: described(name) for name in sorted(path.stem for path in VECTORS.glob("spikes*.json"))}
METRICS = {name: described(name) for name in sorted(path.stem for path in VECTORS.glob("metrics*.json"))}


def all_cases(files: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [(name, case) for name, content in files.items() for case in content["cases"]]


def label(value: object) -> str:
    return value["case"] if isinstance(value, dict) else str(value)


@pytest.mark.parametrize(("name", "case"), all_cases(SPIKES), ids=label)
def test_streams_are_decoded_as_the_reference_does(name: str, case: dict[str, Any], tmp_path: Path) -> None:
    tensors, key = load_file(VECTORS / f"{name}.safetensors"), case["case"]
    path = tmp_path / "stream.dat"
    path.write_bytes(tensors[f"{key}.bytes"].tobytes())
    flipped = SpikeFormat(case["height"], case["width"])
    plain = SpikeFormat(case["height"], case["width"], flip=False)

    assert steps_of(path, plain) == (case["steps"], case["extra_bytes"])
    np.testing.assert_array_equal(read_spikes(path, plain), tensors[f"{key}.decoded"])
    np.testing.assert_array_equal(read_spikes(path, flipped), tensors[f"{key}.decoded_flipud"])
    block = read_spikes(path, flipped, begin=case["block_begin"], count=case["block_length"])
    np.testing.assert_array_equal(block, tensors[f"{key}.block"])
    with pytest.raises(DataError, match="holds the steps"):
        read_spikes(path, flipped, begin=case["steps"] - 1, count=2)
    if f"{key}.decoded_with_head" in tensors:
        head = SpikeFormat(case["height"], case["width"], flip=False, columns=400)
        np.testing.assert_array_equal(read_spikes(path, head), tensors[f"{key}.decoded_with_head"])


@pytest.mark.parametrize(("name", "case"), all_cases(SPIKES), ids=label)
def test_spikes_are_summed_into_bins_exactly(name: str, case: dict[str, Any], tmp_path: Path) -> None:
    tensors, key = load_file(VECTORS / f"{name}.safetensors"), case["case"]
    path = tmp_path / "stream.dat"
    path.write_bytes(tensors[f"{key}.bytes"].tobytes())
    for tensor in [one for one in tensors if one.startswith(f"{key}.voxel")]:
        _, bins, source = tensor.split(".")
        number, flip = int(bins.removeprefix("voxel")), source == "decoded_flipud"
        form = SpikeFormat(case["height"], case["width"], flip=flip)
        np.testing.assert_array_equal(read_voxels(path, form, number), tensors[tensor])
        np.testing.assert_array_equal(voxelise(read_spikes(path, form), number), tensors[tensor])


def compared(tensors: dict[str, np.ndarray], key: str) -> tuple[np.ndarray, np.ndarray]:
    if f"{key}.output" in tensors:
        output = to_bytes(tensors[f"{key}.output"])
        np.testing.assert_array_equal(output, tensors[f"{key}.output_uint8"])
        return output, tensors[f"{key}.target_uint8"].transpose(1, 2, 0)
    return tensors[f"{key}.a"], tensors[f"{key}.b"]


@pytest.mark.parametrize(("name", "case"), all_cases(METRICS), ids=label)
def test_image_quality_is_what_the_reference_computes(name: str, case: dict[str, Any]) -> None:
    tensors, tolerance = load_file(VECTORS / f"{name}.safetensors"), METRICS[name]["tolerance"]
    one, other = compared(tensors, case["case"])
    for figure, expected in case.items():
        if figure == "case":
            continue
        border = int(figure.partition("border")[2] or 0)
        measure = psnr if figure.startswith("psnr") else ssim
        if "_uint8" in figure:
            found = measure(luma(one), luma(other), border=border)
        else:
            found = measure(one, other, on_luma="_y" in figure, border=border)
        kind = figure[:4] + ("_y" if "_y" in figure else "")
        if expected == "inf":
            assert found == math.inf
        else:
            assert found == pytest.approx(expected, abs=tolerance[kind], rel=0), figure


@pytest.mark.parametrize("name", METRICS)
def test_luma_is_what_the_reference_computes(name: str) -> None:
    tensors, description = load_file(VECTORS / f"{name}.safetensors"), METRICS[name]["tensors"]
    for key in [one.removesuffix(".luma_a") for one in tensors if one.endswith(".luma_a")]:
        image = tensors[f"{key}.a"]
        tolerance = description[f"{key}.luma_a"]["tolerance"]
        levels = luma(image.astype(np.float32) / np.float32(255))
        np.testing.assert_allclose(levels, tensors[f"{key}.luma_a"], atol=tolerance["atol"], rtol=0)
        np.testing.assert_array_equal(luma(image), tensors[f"{key}.luma_a_uint8"])
        np.testing.assert_array_equal(ycbcr(image), tensors[f"{key}.ycbcr_a_uint8"])


@pytest.mark.parametrize("path", sorted(STREAMS.glob("spike/*.dat")), ids=lambda path: path.stem)
def test_a_stream_shows_the_frame_that_it_was_named_after(path: Path) -> None:
    form = find_format(path)
    assert form.size == (250, 400)
    step = int(path.stem.rpartition("id")[2]) - 1
    mean = read_voxels(path, form, 1, begin=max(0, step - 15), count=31)[0]
    sharp = cv2.imread(str(STREAMS / "gt" / f"{path.stem}.png"), cv2.IMREAD_GRAYSCALE)
    assert np.corrcoef(mean.ravel(), sharp.ravel().astype(float))[0, 1] > 0.96
    upside_down = np.corrcoef(mean[::-1].ravel(), sharp.ravel().astype(float))[0, 1]
    assert upside_down < 0.9


def test_the_folder_holds_both_kinds_of_vector() -> None:
    assert SPIKES
    assert METRICS
