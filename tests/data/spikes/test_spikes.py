"""Spike streams: what is read, what is inferred, and what is refused with the geometry that would fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from snellen.data.spikes.geometry import SpikeHints, find_format, write_sidecar
from snellen.data.spikes.streams import SpikeFormat, read_spikes, read_voxels, steps_of, write_spikes
from snellen.data.spikes.voxel_files import read_voxel_file, write_voxel_file
from snellen.data.spikes.voxelising import voxelise_folder
from snellen.errors import DataError
from snellen.ops.voxels import MAX_BINS, voxelise


def spikes(steps: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((steps, height, width)) < 0.3).astype(np.uint8)


def loop(given: np.ndarray, bins: int) -> np.ndarray:
    grid = np.zeros((bins, *given.shape[1:]), np.float32)
    for step, frame in enumerate(given):
        grid[step * bins // len(given)] += frame
    return grid


@pytest.mark.parametrize("bits", [1, 8])
@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("bit_order", ["little", "big"])
def test_a_stream_comes_back_as_it_was_written(bits, flip, bit_order, tmp_path):
    given = spikes(21, 12, 20)
    form = SpikeFormat(12, 20, bits=bits, flip=flip, bit_order=bit_order, columns=16)
    write_spikes(tmp_path / "a.dat", given, form)
    assert (tmp_path / "a.dat").stat().st_size == 21 * 12 * 20 * bits // 8
    np.testing.assert_array_equal(read_spikes(tmp_path / "a.dat", form), given[:, :, :16])
    found = read_voxels(tmp_path / "a.dat", form, 5, begin=3, count=11)
    np.testing.assert_array_equal(found, loop(given[3:14, :, :16], 5))


@pytest.mark.parametrize(("steps", "bins"), [(1, 1), (1, 32), (31, 7), (32, 32), (600, 2), (97, 13), (256, 1)])
def test_bins_are_those_of_a_loop(steps, bins):
    given = spikes(steps, 3, 11, steps)
    np.testing.assert_array_equal(voxelise(given, bins), loop(given, bins))
    with pytest.raises(ValueError, match="1 to 32"):
        voxelise(given, MAX_BINS + 1)


def stream(path, form: SpikeFormat, steps: int):
    write_spikes(path, spikes(steps, form.height, form.width), form)
    return path


def test_the_sensor_is_inferred_where_only_one_fits(tmp_path):
    assert find_format(stream(tmp_path / "a.dat", SpikeFormat(250, 400), 7)).size == (250, 400)
    assert find_format(stream(tmp_path / "b.dat", SpikeFormat(250, 416), 7)).size == (250, 416)
    assert find_format(stream(tmp_path / "c.dat", SpikeFormat(250, 400, bits=8), 3)).bits == 8
    odd = stream(tmp_path / "d.dat", SpikeFormat(40, 60), 5)
    assert find_format(odd, SpikeHints(frames=(40, 60))).size == (40, 60)
    with pytest.raises(DataError, match="no whole number of steps of 250 x 400"):
        find_format(odd)
    (tmp_path / "seq" / "spike").mkdir(parents=True)
    write_sidecar(tmp_path / "seq", SpikeFormat(40, 60, bits=8, flip=False))
    beside = stream(tmp_path / "seq" / "spike" / "e.dat", SpikeFormat(40, 60, bits=8, flip=False), 4)
    assert find_format(beside) == SpikeFormat(40, 60, bits=8, flip=False)
    assert find_format(beside, SpikeHints(size=(40, 60))).flip is False
    for other in (SpikeHints(size=(60, 40)), SpikeHints(bits=1)):
        with pytest.raises(DataError, match=r"40 x 60, 8 bits a pixel by the spike_format\.json beside it"):
            find_format(beside, other)
    # A stream is not read otherwise than was asked, in silence.
    with pytest.raises(
        DataError, match=r"is bit order little by the spike_format\.json beside it, asked for bit order big"
    ):
        find_format(beside, SpikeHints(bit_order="big"))
    (tmp_path / "seq" / "spike_format.json").write_text('{"height": 40, "width": 60, "bits": 8}')
    open_still = find_format(beside, SpikeHints(flip=False, columns=50))
    assert (open_still.flip, open_still.size) == (False, (40, 50))
    (tmp_path / "seq" / "spike_format.json").write_text("[1]")
    with pytest.raises(DataError, match="states no spike format"):
        find_format(beside)


def test_what_is_ambiguous_is_refused(tmp_path):
    # 25 steps of 416 columns are as long as 26 of 400.
    both = stream(tmp_path / "a.dat", SpikeFormat(250, 416), 25)
    with pytest.raises(DataError, match=r"could be 26 steps of 250 x 400.*; 25 steps of 250 x 416"):
        find_format(both)
    assert find_format(both, SpikeHints(size=(250, 416))).width == 416
    nothing = tmp_path / "b.dat"
    nothing.write_bytes(bytes(200_000))
    with pytest.raises(DataError, match="holds no spike in its first 200000 bytes"):
        find_format(nothing)
    with pytest.raises(DataError, match="16 steps of 250 x 400, 1 bit a pixel; 2 steps of 250 x 400, 8 bits"):
        find_format(nothing, SpikeHints(size=(250, 400)))
    assert find_format(nothing, SpikeHints(size=(250, 400), bits=1)).bits == 1


def test_a_wrong_length_names_the_geometry_that_fits(tmp_path):
    path = stream(tmp_path / "a.dat", SpikeFormat(250, 400), 7)
    with pytest.raises(DataError, match=r"that is 6\.73 steps of 250 x 416.*it would hold 7 steps of 250 x 400"):
        find_format(path, SpikeHints(size=(250, 416)))
    torn = tmp_path / "b.dat"
    torn.write_bytes(path.read_bytes()[:-1000])
    assert steps_of(torn, SpikeFormat(250, 400)) == (6, 11500)
    torn.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="one step of 250 x 400, 1 bit a pixel has 12500"):
        read_spikes(torn, SpikeFormat(250, 400))
    (tmp_path / "c.dat").touch()
    with pytest.raises(DataError, match="is empty"):
        find_format(tmp_path / "c.dat")
    with pytest.raises(DataError, match="do not fill whole bytes"):
        SpikeFormat(3, 3)


def test_precomputed_grids_are_read_and_nothing_is_run(tmp_path):
    grid = voxelise(spikes(9, 4, 8), 3)
    write_voxel_file(tmp_path / "a.npy", grid)
    torch.save(torch.from_numpy(grid), tmp_path / "b.pt")
    torch.save({"voxel": torch.from_numpy(grid).half(), "steps": 9}, tmp_path / "c.pt")
    for name in ("a.npy", "b.pt", "c.pt"):
        np.testing.assert_array_equal(read_voxel_file(tmp_path / name), grid)
    assert np.load(tmp_path / "a.npy").dtype == np.uint8
    np.save(tmp_path / "d.npy", grid[0])
    with pytest.raises(DataError, match=r"shape \(4, 8\), expected numbers of shape \(bins, height, width\)"):
        read_voxel_file(tmp_path / "d.npy")
    np.save(tmp_path / "e.npy", np.array([print]), allow_pickle=True)
    torch.save([print], tmp_path / "f.pt")
    (tmp_path / "g.pt").write_bytes(b"PK\x03\x04")
    for name in ("e.npy", "f.pt", "g.pt"):
        with pytest.raises(DataError, match="cannot be read as a voxel grid"):
            read_voxel_file(tmp_path / name)


def test_a_folder_is_voxelised_once_and_each_problem_is_told(tmp_path):
    form = SpikeFormat(40, 60)
    for name in ("a", "b"):
        (tmp_path / name / "spike").mkdir(parents=True)
        write_sidecar(tmp_path / name, form)
        for number in range(3):
            stream(tmp_path / name / "spike" / f"{number:08d}.dat", form, 8)
    (tmp_path / "a" / "spike" / "00000001.dat").write_bytes(bytes(8 * form.step_bytes))
    (tmp_path / "b" / "spike" / "00000002.dat").write_bytes(b"1")

    report = voxelise_folder(tmp_path, bins=4)
    assert (report.made, report.kept) == (5, 0)
    assert [path.name for path in report.empty] == ["00000001.dat"]
    assert "has 1 bytes, that is 0.00 steps of 40 x 60" in report.skipped[0][1]
    made = read_voxel_file(tmp_path / "a" / "spike_vox" / "00000000.npy")
    np.testing.assert_array_equal(made, voxelise(spikes(8, 40, 60), 4))
    (tmp_path / "a" / "spike_vox" / "00000000.npy").write_bytes(b"torn")
    assert (voxelise_folder(tmp_path, bins=4).made, voxelise_folder(tmp_path, bins=2).kept) == (1, 0)
    with pytest.raises(DataError, match="holds no spike stream"):
        voxelise_folder(tmp_path / "a" / "spike_vox", bins=4)


def test_grids_that_were_made_in_another_way_are_made_anew(tmp_path):
    form = SpikeFormat(250, 400)
    (tmp_path / "spike").mkdir()
    for number in range(2):
        stream(tmp_path / "spike" / f"{number}.dat", form, 6)
    grid = tmp_path / "spike_vox" / "0.npy"
    assert voxelise_folder(tmp_path, bins=3).made == 2
    upright = read_voxel_file(grid)
    turned = voxelise_folder(tmp_path, bins=3, hints=SpikeHints(flip=False))
    assert (turned.made, turned.kept) == (2, 0)
    assert "had been read in another way" in turned.notes[0]
    np.testing.assert_array_equal(read_voxel_file(grid), upright[:, ::-1])
    assert voxelise_folder(tmp_path, bins=3, hints=SpikeHints(flip=False)).kept == 2

    def stop(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        voxelise_folder(tmp_path, bins=3, tell=stop)
    # One grid is of either kind now; neither way keeps any.
    assert voxelise_folder(tmp_path, bins=3, hints=SpikeHints(flip=False)).made == 2


def test_a_stream_of_a_whole_sequence_is_not_summed_into_one_grid(tmp_path):
    for name in ("spike", "blur"):
        (tmp_path / name).mkdir()
    for number in range(2):
        (tmp_path / "blur" / f"{number}.png").touch()
    whole = stream(tmp_path / "spike" / "all.dat", SpikeFormat(250, 400), 6)
    report = voxelise_folder(tmp_path, bins=3)
    assert report.made == 0
    assert "belongs to all 2 frames" in report.skipped[0][1]
    assert "data.motion: spikes" in report.hints[0]
    whole.rename(tmp_path / "spike" / "1.dat")
    assert voxelise_folder(tmp_path, bins=3).made == 1
