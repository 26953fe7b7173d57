"""Deblurring through the command line: check, train, resume, evaluate, predict; bad input; unbounded videos."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data as photographs
from typer.testing import CliRunner, Result

from panned_clips import Pan, write_panned
from snellen.cli.main import app
from snellen.core.run_folder import RunFolder
from snellen.data.reading import read_image
from snellen.data.writing import write_png
from snellen.errors import SnellenError
from uneven_video import write_uneven

EXAMPLE = Path(__file__).parents[2] / "examples" / "deblur.yaml"
TINY = [
    "data.image_size=48",
    "data.clip_length=3",
    "data.workers=0",
    "model.name=light",
    "model.shape={width: 8, blocks: 1}",
    "model.bins=4",
    "model.tile={side: 48, frames: 3, frame_overlap: 1, overlap: 16}",
    "optim.epochs=2",
    "optim.accumulate=2",
    "track.wandb=false",
]


def snellen(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Result, *words: str) -> None:
    assert isinstance(result.exception, SnellenError), f"{result.output} {result.exception!r}"
    for word in words:
        assert word in str(result.exception)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("deblur")
    pan = Pan(frames=4, size=(64, 72), steps=16)
    write_panned(root / "data" / "train", [photographs.astronaut(), photographs.coffee()], pan)
    write_panned(root / "data" / "val", [photographs.chelsea()], pan, seed=1)
    shutil.copy(EXAMPLE, root / "deblur.yaml")
    return root


@pytest.fixture(scope="module")
def run(project: Path) -> Path:
    done = snellen("train", project / "deblur.yaml", *TINY, "name=first", "model.spikes=addition")
    assert done.exit_code == 0, f"{done.output} {done.exception!r}"
    return project / "runs" / "first"


def test_check_and_estimate_know_the_task(project: Path) -> None:
    checked = snellen("check", project / "deblur.yaml", *TINY, "--json")
    assert checked.exit_code in (0, 1), f"{checked.output} {checked.exception!r}"
    found = json.loads(checked.stdout)
    states = {one["slug"]: one["state"] for one in found["checks"]}
    assert states["clip-too-short"] == states["cache-never-filled"] == "passed"
    assert not [one for one in found["checks"] if one["state"] in ("failed", "crashed")]


def test_short_clips_and_empty_caches_are_found_before_training(project: Path) -> None:
    long = snellen("check", project / "deblur.yaml", *TINY, "data.clip_length=9", "--json")
    states = {one["slug"]: one["state"] for one in json.loads(long.stdout)["checks"]}
    assert states["clip-too-short"] == "failed"
    small = snellen("check", project / "deblur.yaml", *TINY, "data.cache={size: 1KB}", "--json")
    states = {one["slug"]: one["state"] for one in json.loads(small.stdout)["checks"]}
    assert states["cache-never-filled"] == "failed"


def test_a_run_leaves_figures_times_strips_and_a_page(run: Path) -> None:
    with RunFolder.open(run, lock=False) as folder:
        records = list(folder.metrics())
    val = [one for one in records if one["kind"] == "val"]
    train = [one for one in records if one["kind"] == "train"]
    assert len(val) == 2
    assert {"psnr", "ssim", "psnr_y", "ssim_y", "input_psnr", "gain"} <= set(val[-1]["metrics"])
    assert {"data", "forward", "backward", "optimiser"} <= set(train[-1]["seconds"])
    assert train[-1]["cache"]
    assert list((run / "samples").glob("*.png"))
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "data:image/jpeg" in page


def test_a_run_goes_on_where_it_ended(project: Path, run: Path) -> None:
    copy = project / "runs" / "copy"
    shutil.copytree(run, copy)
    gone_on = snellen("resume", copy, "optim.epochs=3")
    assert gone_on.exit_code == 0, f"{gone_on.output} {gone_on.exception!r}"
    with RunFolder.open(copy, lock=False) as folder:
        steps = [one["step"] for one in folder.metrics() if one["kind"] == "val"]
    assert len(steps) == 3


def test_evaluation_has_intervals_and_strips(project: Path, run: Path) -> None:
    done = snellen("evaluate", run, "--split", "val", "--gallery", project / "gallery", "--json")
    assert done.exit_code == 0, f"{done.output} {done.exception!r}"
    metrics = json.loads(done.stdout)["metrics"]
    assert metrics["psnr_low"] <= metrics["psnr"] <= metrics["psnr_high"]
    assert list((project / "gallery").glob("*.png"))


def test_sequences_with_spikes_are_restored_and_resumed(project: Path, run: Path) -> None:
    out = project / "restored"
    arguments = ("predict", run, project / "data" / "val", "predict.video=true", "-o", out)
    done = snellen(*arguments)
    assert done.exit_code == 0, f"{done.output} {done.exception!r}"
    frames = sorted((out / "frames").rglob("*.png"))
    assert len(frames) == 4
    assert read_image(frames[0]).pixels.shape == (64, 72, 3)
    assert len(list(out.glob("*.mp4"))) == 1
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "resize:horizontal" in page
    assert ".compare>div>img{width:100cqw;" in page  # as wide as the image below it, not as the part that is shown
    assert "<script" not in page
    kept = [frame.read_bytes() for frame in frames]
    # As after a kill: the ledger does not know of the video, and its last frames are not there.
    (out / "predictions.jsonl").unlink()
    frames[-1].unlink()
    again = snellen(*arguments, "--json")
    assert again.exit_code == 0, f"{again.output} {again.exception!r}"
    assert [frame.read_bytes() for frame in frames] == kept


@pytest.fixture(scope="module")
def blind(project: Path) -> Path:
    done = snellen("train", project / "deblur.yaml", *TINY, "name=blind", "optim.epochs=1", "model.spikes=none")
    assert done.exit_code == 0, f"{done.output} {done.exception!r}"
    return project / "runs" / "blind"


def test_videos_of_any_size_are_restored_without_spikes(tmp_path: Path, blind: Path) -> None:
    grey = [np.full((50, 70, 3), 20 * number, np.uint8) for number in range(7)]
    video = write_uneven(tmp_path / "clip.mp4", grey, [100, 100, 100, 100, 100, 400, 100])
    still = tmp_path / "still"
    still.mkdir()
    write_png(still / "00001.png", np.full((21, 13, 3), 90, np.uint8))
    for name in ("00002.png", "00003.png"):
        write_png(still / name, np.full((21, 13, 3), 90, np.uint8))
    done = snellen("predict", blind, video, still, "predict.video=true", "-o", tmp_path / "out", "--json")
    assert done.exit_code == 0, f"{done.output} {done.exception!r}"
    assert "clip: frames are 100 to 400 ms apart" in done.stderr
    # Unevenly far apart as they were, the frames take as long together.
    made = cv2.VideoCapture(str(tmp_path / "out" / "clip.mp4"))
    assert made.get(cv2.CAP_PROP_FPS) == pytest.approx(6 / 0.9, rel=0.01)
    assert len(list((tmp_path / "out" / "frames" / "clip").iterdir())) == 7
    assert read_image(tmp_path / "out" / "frames" / "still" / "00000000.png").pixels.shape == (21, 13, 3)


def test_what_is_no_video_is_named(tmp_path: Path, project: Path, run: Path, blind: Path) -> None:
    (tmp_path / "torn.mp4").write_bytes(b"no video at all")
    done = snellen("predict", blind, tmp_path / "torn.mp4", "-o", tmp_path / "out")
    assert "torn.mp4" in f"{done.output}{done.exception}"
    assert done.exit_code == 1 or isinstance(done.exception, SnellenError)
    refused(snellen("predict", run, tmp_path, "-o", tmp_path / "other"), "there is no video to restore")
    refused(snellen("predict", project / "deblur.yaml", *TINY, tmp_path, "-o", tmp_path / "x"), "no")


def test_spikes_that_are_not_there_are_missed_at_once(project: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        for sequence in (project / "data" / split).iterdir():
            if sequence.is_dir():
                shutil.copytree(sequence, tmp_path / split / sequence.name, ignore=shutil.ignore_patterns("spike"))
    data = [f"data.train={tmp_path / 'train'}", f"data.val={tmp_path / 'val'}"]
    arguments = ("train", project / "deblur.yaml", *TINY, *data, "model.spikes=addition")
    checked = snellen(*arguments)
    assert checked.exit_code == 1
    assert "spikes-missing" in checked.output
    refused(snellen(*arguments, "--no-check"), "holds no spikes")


def test_unknown_networks_are_refused(project: Path) -> None:
    refused(snellen("train", project / "deblur.yaml", *TINY, "model.name=vtr", "model.shape={}"), "vtr", "small")
