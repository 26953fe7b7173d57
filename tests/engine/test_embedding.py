"""Features of many images: complete, in order, resumable, whatever the files and the machine do."""

from __future__ import annotations

import io
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embedders_at_hand import SQUARE, Means, embedder_of
from pictures import make_pictures
from snellen.core.lock import FolderLock
from snellen.data.feature_cache import FeatureCache
from snellen.data.features import FeaturePart, part_files, read_features, write_part
from snellen.data.sources import ImageRef, open_sources
from snellen.engine.embedding import LOCK, EmbedReport, EmbedSettings, embed_images, features_of
from snellen.errors import DataError, Interrupted, RunFolderError, UsageError
from snellen.models.backbones.embedders import load_embedder
from snellen.models.backbones.preprocessing import SAM

ROWS = EmbedSettings(rows=16)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_pictures(tmp_path_factory.mktemp("photos"), 100)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in part_files(folder)}


def test_every_image_has_its_vector_in_the_order_of_the_source(photos: list[Path], out: Path) -> None:
    report = embed_images(open_sources([photos[0].parent]), embedder_of(Means()), out, settings=ROWS)
    features = read_features(out)
    assert (report.done, report.earlier, report.unread) == (100, 0, [])
    assert features.names == tuple(map(str, photos))
    expected = [SQUARE.prepare(Image.open(path)).mean(dim=(1, 2)).numpy() for path in photos]
    np.testing.assert_allclose(features.vectors, expected, atol=1e-6)
    assert len(part_files(out)) == 7


def test_workers_and_parts_change_no_bit(photos: list[Path], out: Path) -> None:
    embedder = load_embedder("resnet10t", pretrained=False)
    vectors = []
    for workers, rows in ((1, 16), (4, 100), (2, 33)):
        folder = out / str(workers)
        settings = EmbedSettings(workers=workers, rows=rows, limit=40)
        embed_images(open_sources([photos[0].parent]), embedder, folder, settings=settings)
        vectors.append(read_features(folder).vectors)
    assert np.array_equal(vectors[0], vectors[1])
    assert np.array_equal(vectors[0], vectors[2])
    in_memory = features_of(photos[:40], embedder)
    assert np.array_equal(in_memory.vectors, vectors[0])


def test_what_is_done_is_passed_over(photos: list[Path], out: Path) -> None:
    source = open_sources([photos[0].parent])
    embed_images(source, embedder_of(Means()), out, settings=replace(ROWS, limit=30))
    network = Means()
    report = embed_images(source, embedder_of(network), out, settings=ROWS)
    assert (report.done, report.earlier) == (70, 30)
    assert sorted(read_features(out).names) == sorted(map(str, photos))
    nothing = embed_images(source, embedder_of(Means()), out, settings=ROWS)
    assert (nothing.done, nothing.earlier) == (0, 100)


def test_files_that_cannot_be_read_are_listed_and_tried_again(photos: list[Path], out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    for path in photos[:20]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "00003.png").write_bytes(b"no image")
    (folder / "00007.png").write_bytes(photos[7].read_bytes()[:200])
    first = embed_images(open_sources([folder]), embedder_of(Means()), out, settings=ROWS)
    assert first.done == 18
    assert {Path(one.name).name for one in first.unread} == {"00003.png", "00007.png"}
    before = content_of(out)
    again = embed_images(open_sources([folder]), embedder_of(Means()), out, settings=ROWS)
    assert (again.done, len(again.unread)) == (0, 2)
    assert content_of(out) == before
    (folder / "00003.png").write_bytes(photos[3].read_bytes())
    mended = embed_images(open_sources([folder]), embedder_of(Means()), out, settings=ROWS)
    assert (mended.done, [Path(one.name).name for one in mended.unread]) == (1, ["00007.png"])
    features = read_features(out)
    assert len(features.names) == len(set(features.names)) == 19
    assert [Path(one.name).name for one in features.unread] == ["00007.png"]


def test_files_that_vanish_or_change_meanwhile(photos: list[Path], out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    for path in photos[:40]:
        (folder / path.name).write_bytes(path.read_bytes())
    source = open_sources([folder])

    def meddling() -> Iterator[ImageRef]:
        for index, ref in enumerate(source):
            if index == 5:
                (folder / "00030.png").unlink()
                (folder / "00031.png").write_bytes(photos[99].read_bytes())
            yield ref

    report = embed_images(meddling(), embedder_of(Means()), out, settings=EmbedSettings(rows=16, workers=1))
    assert [Path(one.name).name for one in report.unread] == ["00030.png"]
    assert "does not exist" in report.unread[0].reason
    os.utime(folder / "00001.png", (2**31, 2**31))
    later = embed_images(source, embedder_of(Means()), out, settings=ROWS)
    assert [Path(name).name for name in later.changed] == ["00001.png"]


@pytest.mark.parametrize("message", ["", "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"])
def test_a_pass_that_does_not_fit_is_split(photos: list[Path], out: Path, message: str) -> None:
    network = Means(most=5, message=message)
    report = embed_images(open_sources([photos[0].parent]), embedder_of(network), out)
    assert (report.done, report.splits) == (100, 3)
    assert {shape[0] for shape in network.batches[3:]} == {4}
    expected = features_of(photos, embedder_of(Means())).vectors
    np.testing.assert_allclose(read_features(out).vectors, expected, atol=1e-6)


def test_not_even_one_image_fits(photos: list[Path], out: Path) -> None:
    with pytest.raises(UsageError, match="not even one image of 16 x 16"):
        embed_images(open_sources([photos[0].parent]), embedder_of(Means(most=0)), out)


def test_other_faults_of_the_network_are_not_taken_for_memory(photos: list[Path], out: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        features_of(photos[:2], embedder_of(Means(most=0, message="mat1 and mat2 shapes cannot be multiplied")))


def test_images_whose_size_stays_are_passed_on_by_size(tmp_path: Path) -> None:
    wide = make_pictures(tmp_path / "wide", 20, size=(48, 24))
    tall = make_pictures(tmp_path / "tall", 7, size=(24, 48), seed=1)
    mixed = [*wide[:10], *tall, *wide[10:]]
    network = Means()
    preprocessing = replace(SQUARE, resize=16)
    found = features_of(mixed, embedder_of(network, preprocessing), settings=EmbedSettings(rows=64))
    assert found.names == tuple(map(str, mixed))
    assert {shape[2:] for shape in network.batches} == {(16, 32), (32, 16)}
    assert len(network.batches) == 2
    expected = [preprocessing.prepare(Image.open(path)).mean(dim=(1, 2)).numpy() for path in mixed]
    np.testing.assert_allclose(found.vectors, expected, atol=1e-6)


def test_sizes_that_differ_are_padded_where_the_preprocessing_pads(tmp_path: Path) -> None:
    mixed = [*make_pictures(tmp_path / "a", 3, size=(48, 24)), *make_pictures(tmp_path / "b", 3, size=(24, 48))]
    preprocessing = replace(SAM, resize=64, pad=(64, 64))
    network = Means()
    found = features_of(mixed, embedder_of(network, preprocessing))
    assert {shape[2:] for shape in network.batches} == {(64, 64)}
    expected = [preprocessing.prepare(Image.open(path)).mean(dim=(1, 2)).numpy() for path in mixed]
    np.testing.assert_allclose(found.vectors, expected, atol=1e-6)


def test_an_image_in_impossible_proportions_is_listed(tmp_path: Path) -> None:
    Image.new("L", (30_000, 1)).save(tmp_path / "strip.png")
    found = features_of([tmp_path / "strip.png"], embedder_of(Means(), replace(SQUARE, resize=224)))
    assert "6720000 x 224" in found.unread[0].reason


def test_an_image_without_finite_vector_is_named(photos: list[Path], out: Path) -> None:
    red = features_of(photos, embedder_of(Means())).vectors[11, 0]
    near = {str(photos[row]) for row, value in enumerate(features_of(photos, embedder_of(Means())).vectors[:, 0])
            if abs(value - red) < 0.005}  # fmt: skip
    cache = FeatureCache(out / "cache", "0123", "means")
    report = embed_images(
        open_sources([photos[0].parent]), embedder_of(Means(poison=float(red))), out, settings=ROWS, cache=cache
    )
    assert {one.name for one in report.unread} == near
    assert "not finite" in report.unread[0].reason
    assert np.isfinite(read_features(out).vectors).all()


def test_a_network_that_gives_nan_for_everything_is_refused(photos: list[Path], out: Path) -> None:
    network = Means()
    network.register_forward_hook(lambda _module, _args, result: result * float("nan"))
    with pytest.raises(UsageError, match=r"00000\.png: .* all 16 images") as error:
        embed_images(open_sources([photos[0].parent]), embedder_of(network), out, settings=ROWS)
    assert error.value.slug == "nan-loss"
    with pytest.raises(DataError, match=r"features of a\.png are not finite"):
        write_part(out, FeaturePart(("a.png",), ("00",), np.full((1, 3), np.nan, np.float32), "means", "0123"))


def test_features_of_another_backbone_are_refused(photos: list[Path], out: Path) -> None:
    source = open_sources(photos[:3])
    embed_images(source, embedder_of(Means()), out)
    with pytest.raises(RunFolderError, match=r"means \(0123\), expected means \(4567\)"):
        embed_images(source, embedder_of(Means(), fingerprint="4567"), out)
    with pytest.raises(DataError, match="expected 4567"):
        read_features(out, fingerprint="4567")
    write_part(out, FeaturePart(("a",), ("00",), np.ones((1, 3), np.float32), "other", "89ab"))
    with pytest.raises(DataError, match="mixes features"):
        read_features(out)


def test_a_damaged_part_is_named(photos: list[Path], out: Path) -> None:
    embed_images(open_sources(photos), embedder_of(Means()), out, settings=ROWS)
    part = part_files(out)[2]
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"part-000002\.parquet is no part of features") as error:
        read_features(out)
    assert "delete it" in str(error.value)
    part.unlink()
    report = embed_images(open_sources(photos), embedder_of(Means()), out, settings=ROWS)
    assert report.done == 16
    assert sorted(read_features(out).names) == sorted(map(str, photos))


def test_two_processes_do_not_write_one_folder(photos: list[Path], out: Path) -> None:
    out.mkdir()
    other = (
        f"import sys, time; from pathlib import Path; from snellen.core.lock import FolderLock; "
        f"FolderLock(Path({str(out / LOCK)!r})).acquire(); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", other], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RunFolderError, match=f"in use by process {holder.pid}"):
            embed_images(open_sources(photos), embedder_of(Means()), out)
        holder.kill()
    assert embed_images(open_sources(photos), embedder_of(Means()), out).done == 100
    assert FolderLock(out / LOCK).holder() is None


def test_a_full_disk_ends_with_one_line_and_keeps_what_is_done(photos: list[Path], out: Path) -> None:
    source = open_sources([photos[0].parent])
    embed_images(source, embedder_of(Means()), out, settings=replace(ROWS, limit=32))
    before = content_of(out)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
    try:
        with pytest.raises(RunFolderError, match=r"cannot write .*part-000002\.parquet"):
            embed_images(source, embedder_of(Means()), out, settings=ROWS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert content_of(out) == before
    assert not list(out.glob("*.tmp"))
    assert not list(out.glob(".*.tmp"))
    assert embed_images(source, embedder_of(Means()), out, settings=ROWS).done == 68


def test_ctrl_c_keeps_what_is_done(photos: list[Path], out: Path) -> None:
    source = open_sources([photos[0].parent])

    def stop(report: EmbedReport) -> None:
        if report.done >= 32:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="features of 32 images are kept"):
        embed_images(source, embedder_of(Means()), out, settings=ROWS, progress=stop)
    assert embed_images(source, embedder_of(Means()), out, settings=ROWS).earlier == 32
    assert threading.active_count() < 10


def test_the_cache_knows_images_by_their_content(photos: list[Path], out: Path, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    first = embed_images(
        open_sources(photos), embedder_of(Means()), out / "1", cache=FeatureCache(root, "0123", "means")
    )
    assert first.cached == 0
    copies = tmp_path / "copies"
    copies.mkdir()
    for path in photos:
        (copies / f"copy-{path.name}").write_bytes(path.read_bytes())
    network = Means()
    cache = FeatureCache(root, "0123", "means")
    second = embed_images(open_sources([copies]), embedder_of(network), out / "2", cache=cache)
    assert (second.done, second.cached, network.batches) == (100, 100, [])
    assert np.array_equal(read_features(out / "1").vectors, read_features(out / "2").vectors)
    assert len(FeatureCache(root, "other", "means")) == 0


def test_a_cache_that_cannot_be_written_or_read_only_costs_time(photos: list[Path], out: Path, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    features_of(photos[:10], embedder_of(Means()), cache=FeatureCache(root, "0123", "means"))
    torn = part_files(root / "0123")[0].with_name("part-torn.parquet")
    torn.write_bytes(b"PAR1")
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    for cache in (FeatureCache(root, "0123", "means"), FeatureCache(blocked, "0123", "means")):
        report = embed_images(open_sources(photos), embedder_of(Means()), out / cache.root.name, cache=cache)
        assert report.done == 100
        assert cache.problem
    (tmp_path / "mixed").mkdir()
    write_part(tmp_path / "mixed" / "0123", FeaturePart(("a",), ("0" * 32,), np.ones((1, 3), np.float32), "x", "89"))
    mixed = FeatureCache(tmp_path / "mixed", "0123", "means")
    assert mixed.get("0" * 32) is None
    assert "passed over" in mixed.problem


def test_many_processes_write_one_cache(photos: list[Path], tmp_path: Path) -> None:
    program = (
        "import sys; import numpy as np; from pathlib import Path\n"
        "from snellen.data.feature_cache import FeatureCache\n"
        "cache = FeatureCache(Path(sys.argv[1]), '0123', 'means')\n"
        "for index in range(20):\n"
        "    number = index % 10 if sys.argv[2] == '0' else index + 100 * int(sys.argv[2])\n"
        "    cache.put([f'{number:032x}'[::-1]], np.full((1, 3), number, np.float32)); cache.refresh()\n"
        "assert not cache.problem, cache.problem\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(one)]) for one in range(4)]
    assert [process.wait(timeout=120) for process in running] == [0, 0, 0, 0]
    cache = FeatureCache(tmp_path, "0123", "means")
    known = {number: cache.get(f"{number:032x}"[::-1]) for number in (*range(10), *range(100, 120), *range(300, 320))}
    assert all(vector is not None and (vector == number).all() for number, vector in known.items())


def test_a_tiff_that_crashes_its_decoder_costs_that_file(photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    Image.open(photos[0]).save(file, "TIFF", compression="tiff_lzw")
    program = (
        "import json, sys; sys.path[:] = json.loads(sys.stdin.buffer.readline()); import os, signal\n"
        "import snellen.data.isolated as apart\n"
        "read = apart.read_picture\n"
        "def crash(name, **options):\n"
        "    if 'bad' in name: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    return read(name, **options)\n"
        "apart.read_picture = crash\n"
        "apart.serve()\n"
    )
    monkeypatch.setattr("snellen.data.isolated._START", program)
    refs = [ImageRef(name, Path(name), content=file.getvalue()) for name in ("a.tif", "bad.tif", "b.tif")]
    found = features_of(refs, embedder_of(Means()))
    assert found.names == ("a.tif", "b.tif")
    assert "crashed on it (SIGSEGV)" in found.unread[0].reason
    np.testing.assert_allclose(found.vectors[0], features_of([photos[0]], embedder_of(Means())).vectors[0])
