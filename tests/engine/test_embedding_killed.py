"""An embedding that is killed at any moment goes on as if nothing had happened: every image once, the same bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pictures import make_pictures
from snellen.data.features import read_features

# Importing torch takes seconds, so one process imports it and forks a child for every moment; the children are killed.
PROGRAM = """
import json, os, random, signal, sys, time
from pathlib import Path
from snellen.data.features import part_files
from snellen.data.feature_cache import FeatureCache
from snellen.data.sources import open_sources
from snellen.engine.embedding import EmbedSettings, embed_images
from snellen.models.backbones.embedders import load_embedder

photos, root, moments, cached = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "cached"
embedder = load_embedder("hog")


def embed(name, kill_after=None):
    child = os.fork()
    if child == 0:
        try:
            cache = FeatureCache(root / f"cache-{name}", embedder.fingerprint, "hog") if cached else None
            embed_images(open_sources([photos]), embedder, root / name, settings=EmbedSettings(rows=32), cache=cache)
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def content(name):
    return {path.name: path.read_bytes() for path in part_files(root / name)}


started = time.perf_counter()
assert embed("whole") == 0
whole_seconds = time.perf_counter() - started
expected = content("whole")
chance = random.Random(0)
window = 0.9 * whole_seconds
tried, parts_then, differing = 0, [], []
while len(parts_then) < moments:
    name = f"killed-{tried}"
    tried += 1
    if embed(name, chance.uniform(0, window)) != -signal.SIGKILL:
        window *= 0.8  # it was done before: on a shared machine the first one may have been slow
        continue
    parts_then.append(len(content(name)))
    assert embed(name) == 0
    if content(name) != expected or list((root / name).glob(".part-*")):
        differing.append(name)
print(json.dumps({"parts": len(expected), "parts_then": parts_then, "differing": differing}))
"""


def kill(tmp_path: Path, moments: int, *, images: int, cached: bool = False) -> dict[str, Any]:
    photos = make_pictures(tmp_path / "photos", images)
    arguments = [str(photos[0].parent), str(tmp_path), str(moments), "cached" if cached else "plain"]
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False, timeout=1500
    )
    assert ended.returncode == 0, ended.stderr
    for folder in [tmp_path / "whole", *tmp_path.glob("killed-*")]:
        features = read_features(folder)
        assert features.names == tuple(map(str, photos))
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def test_killed_at_three_moments(tmp_path: Path) -> None:
    found = kill(tmp_path, 3, images=200)
    assert found["differing"] == [], found


@pytest.mark.slow
@pytest.mark.timeout(1600)
@pytest.mark.parametrize("cached", [False, True])
def test_killed_at_twenty_moments(tmp_path: Path, cached: bool) -> None:
    found = kill(tmp_path, 20, images=600, cached=cached)
    assert found["differing"] == [], found
    # Before the first part, and between parts.
    assert len(set(found["parts_then"])) > 2, found
