"""Deblurring sets from sharp video: physics, repeatability, resuming, bad input; and the clips cut from them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from snellen.cli.main import app
from snellen.core.facts.data import Sample
from snellen.data.clips import list_clips
from snellen.data.layouts import read_layout
from snellen.data.reading import read_image
from snellen.data.spikes.geometry import find_format
from snellen.data.spikes.streams import read_voxels
from snellen.data.synthesis.deblurring import synthesise_deblurring
from snellen.data.synthesis.exposure import ExposureSettings, expose, from_linear, to_linear
from snellen.data.video import find_sequences
from snellen.data.writing import write_png
from snellen.errors import DataError
from snellen.ops.clip_crops import cut_clip, draw_view
from snellen.ops.image_quality import psnr
from snellen.tasks.deblur.config import DeblurRun
from snellen.tasks.deblur.data import largest_count, motion_of
from snellen.tasks.target import target_of
from uneven_video import write_uneven

SIDE = (48, 64)
QUICK = ExposureSettings(window=3, subframes=4, steps=8)


def walk(photo, count: int, *, step: int = 3) -> list[np.ndarray]:
    """A camera that moves to the right over a photograph."""
    picture = photo("coffee")
    lefts = [100 + step * number for number in range(count)]
    return [np.ascontiguousarray(picture[100 : 100 + SIDE[0], left : left + SIDE[1]]) for left in lefts]


def folder_of(frames: list[np.ndarray], folder: Path, numbers: list[int] | None = None) -> Path:
    folder.mkdir(parents=True)
    for number, frame in zip(numbers or range(len(frames)), frames, strict=True):
        write_png(folder / f"{number:05d}.png", frame)
    return folder


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_light_is_averaged_and_spikes_tell_it(photo):
    black, white = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    (one,) = expose([black, white, black], ExposureSettings(window=3, subframes=1, steps=1, noise=0))
    # A third of the light is far more than a third of the level.
    assert int(one.blur[0, 0, 0]) == int(from_linear(np.float32(1 / 3))) == 156

    frames = walk(photo, 8)
    found = list(expose(frames, ExposureSettings(window=5, noise=0)))
    for exposure in found:
        assert psnr(exposure.blur, exposure.sharp) < 35
        light = to_linear(exposure.blur) @ np.array([0.2126, 0.7152, 0.0722])
        rate = exposure.spikes.mean(axis=0) * 2.0
        assert np.corrcoef(light.ravel(), cv2.blur(rate, (3, 3)).ravel())[0, 1] > 0.9
        assert abs(float(light.mean()) - float(rate.mean())) < 0.02
    assert [exposure.number for exposure in found] == [2, 3, 4, 5]


def test_the_same_call_makes_the_same_files_and_goes_on_where_it_stopped(photo, tmp_path):
    source = tmp_path / "sharp"
    for name, step in (("a", 2), ("b", 3), ("c", 4)):
        folder_of(walk(photo, 7, step=step), source / name)
    synthesise_deblurring(source, tmp_path / "one", settings=QUICK, seed=3)

    def stop(what: str, done: int, total: int) -> None:
        if what.startswith("sequence 2") and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesise_deblurring(source, tmp_path / "two", settings=QUICK, seed=3, tell=stop)
    report = synthesise_deblurring(source, tmp_path / "two", settings=QUICK, seed=3)
    assert sum(one.kept for one in report.sequences) == 1
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    assert {one.split for one in report.sequences} == {"train", "val"}
    synthesise_deblurring(source, tmp_path / "three", settings=QUICK, seed=4)
    assert digest(tmp_path / "one") != digest(tmp_path / "three")
    with pytest.raises(DataError, match="seed was 3, is now 4"):
        synthesise_deblurring(source, tmp_path / "one", settings=QUICK, seed=4)


def test_what_is_made_is_read_as_clips_with_spikes(photo, tmp_path):
    source = tmp_path / "sharp"
    folder_of(walk(photo, 9), source / "a")
    folder_of(walk(photo, 9, step=5), source / "b", [0, 1, 2, 3, 4, 6, 7, 8, 9])
    report = synthesise_deblurring(source, tmp_path / "made", settings=QUICK)
    assert {one.name: one.frames for one in report.sequences} == {"a": 7, "b_1": 3, "b_2": 2}
    assert any("frames are missing" in note for note in report.notes)
    listing = read_layout(tmp_path / "made" / "train", key="data.train")
    other = read_layout(tmp_path / "made" / "val", key="data.val")
    samples = [*listing.samples, *other.samples]
    clips = list_clips(samples, length=3, motion="spikes")
    assert len(clips.clips) == 5 + 1
    assert any("shorter than 3 frames: 1 (b_2: 2)" in line for line in clips.told())
    frame = next(clip for clip in clips.clips if clip.sequence == "a").frames[0]
    assert frame.motion is not None
    form = find_format(frame.motion)
    assert form.size == SIDE
    light = to_linear(read_image(frame.blur).pixels).mean(axis=2)
    gathered = cv2.blur(read_voxels(frame.motion, form, 1)[0], (3, 3))
    upright, upended = (np.corrcoef(one.ravel(), light.ravel())[0, 1] for one in (gathered, gathered[::-1]))
    # In 16 readings a pixel fires 8 times at most.
    assert upright > 0.65
    assert upended < upright - 0.2
    with pytest.raises(DataError, match="frames without voxels: 3"):
        list_clips(samples, length=3, motion="voxels")
    Path(frame.motion).unlink()
    place = Path(frame.blur).parents[2]
    fewer = list_clips(read_layout(place, key="data.train").samples, length=3, motion="spikes")
    assert any("frames without spikes: 1" in line for line in fewer.told())


def test_one_grid_is_not_that_of_every_frame_and_a_shared_stream_is_cut(photo, tmp_path):
    source = tmp_path / "sharp"
    folder_of(walk(photo, 8), source / "a")
    synthesise_deblurring(source, tmp_path / "made", settings=QUICK)
    (sequence,) = (tmp_path / "made" / "train").iterdir()
    streams = sorted((sequence / "spike").glob("*.dat"))
    whole = b"".join(one.read_bytes() for one in streams)
    for one in streams:
        one.unlink()
    (sequence / "spike" / "all.dat").write_bytes(whole)
    grid = read_voxels(sequence / "spike" / "all.dat", find_format(sequence / "spike" / "all.dat"), 4)
    (sequence / "spike_vox").mkdir()
    np.save(sequence / "spike_vox" / "all.npy", grid)
    samples = read_layout(tmp_path / "made" / "train", key="data.train").samples
    assert all(one.spikes and one.voxels is None for one in samples)
    assert motion_of(samples) == "spikes"
    clips = list_clips(samples, length=2, motion="spikes").clips
    assert [frame.window for frame in clips[1].frames] == [(1, 6), (2, 6)]
    given = {"train": str(tmp_path / "made" / "train"), "image_size": 32, "clip_length": 2, "workers": 0}
    settings = {"task": "deblur", "data": given, "model": {"name": "light", "spikes": "addition", "bins": 4}}
    config = target_of(settings).config
    assert isinstance(config, DeblurRun)
    # A bin of a frame holds 4 readings, of which at most every second one fires; the whole stream six times that.
    assert config.data.voxel_scale == largest_count(config, "spikes")[0] <= 3 < grid.max()


def test_frames_that_share_a_number_and_frames_between_clips_are_counted():
    def frame(name: str, number: int) -> Sample:
        return Sample(f"a/blur/{name}", group="a", index=number, partner=f"a/sharp/{name}")

    twice = [frame("1.png", 1), frame("01.png", 1), frame("2.png", 2), frame("3.png", 3)]
    listing = list_clips(twice, length=2)
    assert [[one.number for one in clip.frames] for clip in listing.clips] == [[2, 3]]
    assert "frames that share a number: 1 (a: 1)" in listing.told()
    apart = list_clips([frame(f"{number}.png", number) for number in range(10)], length=2, step=5)
    assert apart.told() == ("2 clips of 1 sequences, 4 of 10 frames in use",)


def test_crops_and_flips_keep_frames_and_grids_together():
    rows, columns = np.mgrid[0:16, 0:32]
    frames = np.stack([np.stack([rows, columns, rows + columns], axis=-1)] * 3)
    half = np.stack([np.stack([rows[::2, ::2], columns[::2, ::2]])] * 3)
    for seed in range(30):
        view = draw_view((16, 32), (8, 8), np.random.default_rng(seed), multiple=2)
        cut = cut_clip({"blur": frames, "voxels": half}, (16, 32), view)
        grid = cut["voxels"][:, ::-1] if view.backwards else cut["voxels"]
        near = cut["blur"][:, ::2, ::2, :2].transpose(0, 3, 1, 2)
        assert np.abs(near - grid).max() <= 1
    with pytest.raises(ValueError, match="multiples of 2"):
        cut_clip({"voxels": half}, (16, 32), draw_view((16, 32), (7, 7), np.random.default_rng(0)))


def run(*arguments: str):
    return CliRunner().invoke(app, ["data", *arguments])


def test_bad_input_is_one_clear_line(photo, tmp_path):
    frames = walk(photo, 5)
    (tmp_path / "a.mp4").write_bytes(b"no video")
    folder_of(frames[:1], tmp_path / "single")
    mixed = folder_of(frames, tmp_path / "mixed")
    Image.fromarray(frames[0][:20]).save(mixed / "00003.png")
    named = folder_of(frames, tmp_path / "named")
    (named / "00002.png").rename(named / "cover.png")
    for name, text in {
        "a.mp4": "cannot be decoded as a video",
        "single": "fewer than the 5 frames",
        "mixed": "00003.png is 20 x 64",
        "named": "cover.png has no number in its name",
        "none.mp4": "does not exist",
    }.items():
        done = run("synth-deblur", str(tmp_path / name), "-o", str(tmp_path / "out" / name))
        assert isinstance(done.exception, DataError), done.output
        assert text in str(done.exception)
    (tmp_path / "out2").mkdir()
    (tmp_path / "out2" / "thesis.tex").touch()
    done = run("synth-deblur", str(mixed), "-o", str(tmp_path / "out2"))
    assert isinstance(done.exception, DataError)
    assert "--window" in run("synth-deblur", str(mixed), "-o", "x", "--window", "2").output
    assert "odd" in str(run("synth-deblur", str(mixed), "-o", "x", "--window", "4").exception)
    assert "--sensor" in str(run("voxelise", str(mixed), "--sensor", "12").exception)


def test_a_video_file_is_read(photo, tmp_path):
    path = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, SIDE[::-1])
    for frame in walk(photo, 6):
        writer.write(frame[..., ::-1])
    writer.release()
    done = run("synth-deblur", str(path), "-o", str(tmp_path / "made"), "--window", "3", "--sensor", "24x32", "--json")
    assert done.exit_code == 0, done.output
    assert '"frames": 4' in done.stdout
    assert "no validation split" in done.stdout
    stream = next((tmp_path / "made").rglob("*.dat"))
    assert find_format(stream).size == (24, 32)
    made = str(tmp_path / "made")
    assert run("voxelise", made, "--bins", "4").stdout.startswith("4 voxel grids of 4 bins made, 0 made before\nnext: ")
    assert run("voxelise", made, "--bins", "4").stdout.startswith("0 voxel grids of 4 bins made, 4 made before")
    assert run("voxelise", made, "--bins", "4", "--again").stdout.startswith("4 voxel grids of 4 bins made")
    refused = run("voxelise", made, "--bins", "4", "--sensor", "32x32")
    assert refused.exit_code == 1
    assert "4 streams not used" in refused.stdout
    assert "hint: leave the sensor out" in refused.stderr
    refused = run("synth-deblur", str(path), "-o", made, "--window", "5", "--sensor", "24x32")
    assert "window was 3, is now 5" in str(refused.exception)


def test_a_video_of_uneven_rate_or_cut_short_is_said(photo, tmp_path):
    frames = walk(photo, 8)
    uneven = write_uneven(tmp_path / "uneven.mp4", frames, [40, 40, 40, 40, 40, 40, 120, 40])
    (sequence,) = find_sequences(uneven)
    assert len(list(sequence.open())) == 8
    assert sequence.rate == pytest.approx(7 / 0.36, rel=0.01)
    assert sequence.notes == ("frames are 40 to 120 ms apart: they are taken as equally far apart, 19.4 a second",)
    done = run("synth-deblur", str(uneven), "-o", str(tmp_path / "made"), "--window", "3")
    assert "uneven: frames are 40 to 120 ms apart" in done.stderr
    (even,) = find_sequences(write_uneven(tmp_path / "even.mp4", frames, [40] * 8))
    assert (even.rate, even.notes) == (25.0, ())
    # However late it changes.
    (short,) = find_sequences(write_uneven(tmp_path / "late.mp4", [*frames] * 40, [40] * 310 + [80] * 10))
    assert short.notes == ("frames are 40 to 80 ms apart: they are taken as equally far apart, 24.2 a second",)

    path = tmp_path / "cut.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, SIDE[::-1])
    for frame in frames * 4:
        writer.write(frame[..., ::-1])
    writer.release()
    assert find_sequences(path)[0].notes == ()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (cut,) = find_sequences(path)
    assert cut.notes[0].endswith("of the 1.28 s that it states")
    assert find_sequences(_unreadable(tmp_path / "a.mp4"))[0].rate is None


def _unreadable(path: Path) -> Path:
    path.write_bytes(b"no video")
    return path
