"""What the settings and the data of a deblurring run tell before it starts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from skimage import data as photographs

from panned_clips import Pan, write_panned
from plans import Known, findings
from snellen.core.finding import Level
from snellen.core.plan import NotApplicable
from snellen.tasks.check import check_run


@pytest.mark.parametrize(
    ("settings", "level", "word"),
    [
        ({"loss": {"delta": 1e-25}}, Level.ERROR, "loss.delta"),
        ({"loss": {"inner": {"eps": 1e-30}}}, Level.ERROR, "loss.inner.eps"),
        ({"optim": {"lr": 0.5}}, Level.WARNING, "optim.lr"),
        ({"optim": {"lr": 2, "optimiser": "adam", "clip_norm": None}}, Level.WARNING, "nothing clips"),
    ],
)
def test_settings_that_surely_diverge_are_found(settings, level, word):
    (finding,) = findings("nan-loss", Known(settings))
    assert finding.level is level
    assert word in finding.message
    assert finding.fix.settings


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": {"delta": 1e-3}, "optim": {"lr": 4e-4}},
        {"loss": {"delta": 1e-9, "perceptual": {"weight": 0.0}}, "optim": {}},
        {"optim": {"lr": 0.1, "optimiser": "sgd"}},
        {"optim": {"lr": "auto"}},
        {"task": "probe", "optim": {"lr": 0.3}},
    ],
)
def test_settings_that_are_in_use_are_left_alone(settings):
    assert not findings("nan-loss", Known(settings))


def test_spikes_that_are_not_there_are_found_before_the_run(tmp_path: Path) -> None:
    pan = Pan(frames=4, size=(48, 48), steps=8)
    write_panned(tmp_path / "train", [photographs.astronaut(), photographs.coffee()], pan)
    run = tmp_path / "run.yaml"
    run.write_text("task: deblur\ndata: {train: train}\nmodel: {name: light, spikes: addition, bins: 4}\n")
    assert "spikes-missing" not in {finding.slug for finding in check_run(run).findings}
    shutil.rmtree(tmp_path / "train" / "pan00_001" / "spike")
    (found,) = [finding for finding in check_run(run).findings if finding.slug == "spikes-missing"]
    assert "4 of 8 (50%) frames have no spikes or voxels" in found.message
    assert "pan00_001" in found.message
    with pytest.raises(NotApplicable, match="no spikes"):
        findings("spikes-missing", Known({"model": {"spikes": "none"}}))


@pytest.fixture
def streams(tmp_path: Path) -> list[Path]:
    pan = Pan(frames=4, size=(48, 48), steps=8)
    write_panned(tmp_path / "train", [photographs.astronaut(), photographs.coffee()], pan)
    (tmp_path / "run.yaml").write_text(
        "task: deblur\ndata: {train: train}\nmodel: {name: light, spikes: addition, bins: 4}\n"
    )
    return sorted((tmp_path / "train").rglob("*.dat"))


def damaged(run: Path) -> list[str]:
    report = check_run(run)
    return [f"{one.level.name} {one.message}" for one in report.findings if one.slug == "spike-stream-damaged"]


def test_whole_streams_are_left_alone(streams: list[Path], tmp_path: Path) -> None:
    assert damaged(tmp_path / "run.yaml") == []


def test_empty_streams_and_wrong_lengths_are_found_with_the_nearest_geometry(
    streams: list[Path], tmp_path: Path
) -> None:
    streams[0].write_bytes(b"")
    for sidecar in (tmp_path / "train").rglob("spike_format.json"):
        sidecar.unlink()
    whole = streams[1].read_bytes()
    streams[1].write_bytes(whole + bytes(37))
    (said,) = damaged(tmp_path / "run.yaml")
    assert said.startswith("ERROR data.train: 2 of 8")
    assert "is empty" in said
    found = [one for one in check_run(tmp_path / "run.yaml").findings if one.slug == "spike-stream-damaged"]
    steps = len(whole) // (48 * 48 // 8)
    assert f"nearest: {steps} steps of 48 x 48, 1 bit a pixel and 37 bytes more" in str(found[0].evidence)


def test_a_step_cut_off_and_streams_without_a_spike_are_warned_of(streams: list[Path], tmp_path: Path) -> None:
    streams[0].write_bytes(streams[0].read_bytes()[:-100])
    streams[1].write_bytes(bytes(streams[1].stat().st_size))
    torn, silent = damaged(tmp_path / "run.yaml")
    assert torn.startswith("WARNING data.train: 1 of 8")
    assert "end within a step" in torn
    assert "then 188 of 288 bytes" in torn
    assert silent.startswith("WARNING data.train: 1 of 8")
    assert "no spike at all" in silent


def smallest_of_the_cache(run: Path) -> str:
    run.write_text(
        "task: deblur\ndata: {train: train, cache: {size: 1B}}\nmodel: {name: light, spikes: addition, bins: 4}\n"
    )
    (found,) = [finding for finding in check_run(run).findings if finding.slug == "cache-never-filled"]
    return found.message


def test_a_cache_is_reckoned_with_grids_of_the_sensor(streams: list[Path], tmp_path: Path) -> None:
    frames, half = 6 * 48 * 48, 24 * 24 * 4
    assert f"{(frames + 4 * 48 * 48) / 1024:.1f} KiB" in smallest_of_the_cache(tmp_path / "run.yaml")
    for stream in streams:
        stream.write_bytes(stream.read_bytes()[: 8 * 24 * 24 // 8])
        (stream.parent / "spike_format.json").write_text('{"height": 24, "width": 24}')
    assert f"{(frames + half) / 1024:.1f} KiB" in smallest_of_the_cache(tmp_path / "run.yaml")
    for stream in streams:
        grids = stream.parent.with_name("spike_vox")
        grids.mkdir(exist_ok=True)
        np.save(grids / f"{stream.stem}.npy", np.ones((4, 12, 12), np.uint8))
    assert f"{(frames + half / 4) / 1024:.1f} KiB" in smallest_of_the_cache(tmp_path / "run.yaml")


def test_a_network_without_spikes_asks_for_no_streams(streams: list[Path], tmp_path: Path) -> None:
    streams[0].write_bytes(b"")
    run = tmp_path / "run.yaml"
    run.write_text("task: deblur\ndata: {train: train}\nmodel: {name: light}\n")
    assert damaged(run) == []


def test_frames_without_a_number_are_found(streams: list[Path], tmp_path: Path) -> None:
    def found() -> list[str]:
        return [one.message for one in check_run(tmp_path / "run.yaml").findings if one.slug == "frame-without-number"]

    assert found() == []
    sequence = min(path for path in (tmp_path / "train").iterdir() if path.is_dir())
    for kind in ("blur", "sharp", "spike"):
        for letter, path in zip("abcd", sorted((sequence / kind).iterdir()), strict=True):
            path.rename(path.with_name(f"{letter}{path.suffix}"))
    (said,) = found()
    assert "4 of 8 (50%) frames have no number" in said
    assert sequence.name in said
