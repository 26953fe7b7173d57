"""The same features over a Ray cluster, also when one of its workers is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from pictures import make_pictures
from snellen.data.features import part_files, read_features
from snellen.data.sources import open_sources
from snellen.engine.embedding import EmbedSettings, embed_images
from snellen.engine.ray_embedding import embed_on_ray
from snellen.models.backbones.embedders import load_embedder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("ray_cluster"),
]

SETTINGS = EmbedSettings(rows=64, workers=1)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    paths = make_pictures(folder, 1500)
    paths[77].write_bytes(b"no image")
    return folder


def same(one: Path, other: Path) -> bool:
    return {path.name: path.read_bytes() for path in part_files(one)} == {
        path.name: path.read_bytes() for path in part_files(other)
    }


def test_the_rows_are_those_of_one_process_though_a_worker_is_killed(photos: Path, tmp_path: Path) -> None:
    embedder = load_embedder("hog")
    embed_images(open_sources([photos]), embedder, tmp_path / "local", settings=SETTINGS)
    killed: list[int] = []

    def kill() -> None:
        until = time.monotonic() + 300
        while time.monotonic() < until:
            if len(part_files(tmp_path / "ray")) >= 3:
                workers = [
                    one for one in psutil.Process().children(recursive=True) if "_Worker" in " ".join(one.cmdline())
                ]
                if workers:
                    os.kill(workers[0].pid, signal.SIGKILL)
                    killed.append(len(part_files(tmp_path / "ray")))
                    return
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    report = embed_on_ray(open_sources([photos]), embedder, tmp_path / "ray", settings=SETTINGS)
    killer.join()
    assert killed
    assert killed[0] < 24
    local, over_ray = read_features(tmp_path / "local"), read_features(tmp_path / "ray")
    assert local.names == over_ray.names
    assert np.array_equal(local.vectors, over_ray.vectors)
    assert local.unread == over_ray.unread
    assert same(tmp_path / "local", tmp_path / "ray")
    assert report.done == 1499
    assert [Path(one.name).name for one in report.unread] == ["00077.png"]


def test_parts_that_are_missing_are_computed_whatever_wrote_the_others(photos: Path, tmp_path: Path) -> None:
    embedder = load_embedder("hog")
    embed_images(open_sources([photos]), embedder, tmp_path / "local", settings=SETTINGS)
    expected = {path.name: path.read_bytes() for path in part_files(tmp_path / "local")}
    for path in part_files(tmp_path / "local")[3:20:4]:
        path.unlink()
    report = embed_on_ray(open_sources([photos]), embedder, tmp_path / "local", settings=SETTINGS)
    assert report.done == 5 * 64
    assert {path.name: path.read_bytes() for path in part_files(tmp_path / "local")} == expected
