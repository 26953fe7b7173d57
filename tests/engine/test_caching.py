"""The cache of a run: shared by workers and ranks, said at the start, counted in the metrics, never silently empty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import Pictures

from kept import KEPT_SAMPLES, Kept, KeptPictures
from snellen.core.run_folder import RunFolder
from snellen.core.sizes import parse_size
from snellen.core.step import Step
from snellen.data.cache.budget import CacheSettings
from snellen.data.cache.items import CachedDataset
from snellen.engine.settings import TrainSettings
from snellen.engine.train import train
from snellen.errors import DataError, UsageError


def run(tmp_path: Path, cache: CacheSettings | None, **changes: Any) -> tuple[RunFolder, list[str]]:
    note = tmp_path / "decoded.txt"
    note.touch()
    given = {"epochs": 4, "batch_size": 4, "accelerator": "cpu", "log_every": 1, "tensorboard": False, "cache": cache}
    with RunFolder.create(tmp_path, "run") as folder:
        train(Kept(note), TrainSettings(**{**given, **changes}), folder)
        return folder, note.read_text().splitlines()


def rates(folder: RunFolder) -> list[float]:
    # Workers read ahead: a line may come without a read since the last one.
    found = [line["cache"]["hit_rate"] for line in folder.metrics() if line["kind"] == "train"]
    return [rate for rate in found if rate is not None]


@pytest.mark.parametrize("workers", [0, 2])
def test_each_item_is_decoded_once_for_all_workers_and_epochs(workers, tmp_path):
    folder, lines = run(tmp_path, CacheSettings(), workers=workers)
    # To learn their size, all of so few are decoded once more.
    counts = {line: lines.count(line) for line in lines}
    assert len(counts) == KEPT_SAMPLES + 8
    assert set(counts.values()) == {2}
    (story,) = [event["message"] for event in folder.events() if event["slug"] == "cache"]
    assert "24 of 24 items of train (12.1 KiB each)" in story
    assert "8 of 8 items of val" in story
    assert rates(folder)[-1] == 1.0


def test_a_cache_that_is_too_small_keeps_what_it_has(tmp_path):
    size = parse_size("130KiB")
    folder, lines = run(tmp_path, CacheSettings(size))
    held = [line["cache"]["items"] for line in folder.metrics() if line["kind"] == "train"][-1]
    assert held == size // 12416
    training = [line for line in lines if line.startswith("train")]
    assert len(training) == KEPT_SAMPLES + KEPT_SAMPLES + 3 * (KEPT_SAMPLES - held)
    (story,) = [event["message"] for event in folder.events() if event["slug"] == "cache"]
    assert f"{held} of 24 items of train" in story
    assert "0 of 8 items of val" in story


def test_it_is_filled_ahead(tmp_path):
    folder, _ = run(tmp_path, CacheSettings(ahead=True), workers=2, epochs=1)
    assert set(rates(folder)) == {1.0}
    stories = [event["message"] for event in folder.events() if event["slug"] == "cache"]
    assert stories[1].startswith("the cache holds 32 of 32 items")


def test_ranks_share_one(tmp_path):
    folder, lines = run(tmp_path, CacheSettings(ahead=True), devices=2, epochs=2)
    assert len(lines) == 2 * (KEPT_SAMPLES + 8)
    assert [line["cache"]["items"] for line in folder.metrics() if line["kind"] == "train"][-1] == KEPT_SAMPLES + 8


def test_a_cache_that_would_hold_nothing_is_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"hold nothing: 100 bytes as asked for; its smallest item takes 12\.1 KiB"
    ) as no:
        run(tmp_path, CacheSettings(100))
    assert no.value.slug == "cache-never-filled"
    with pytest.raises(UsageError, match="holds nothing"):
        CacheSettings(0)


def test_without_a_cache_the_run_is_the_same(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with_cache, _ = run(tmp_path / "a", CacheSettings())
    without, lines = run(tmp_path / "b", None)
    losses = [
        [line["loss"] for line in folder.metrics() if line["kind"] == "train"] for folder in (with_cache, without)
    ]
    assert losses[0] == losses[1]
    assert len(lines) == 4 * (KEPT_SAMPLES + 8)
    assert isinstance(KeptPictures(1, tmp_path / "c", ""), CachedDataset)
    assert not isinstance(Pictures(1), CachedDataset)
    assert torch.is_tensor(Pictures(1)[0]["image"])


class Watching:
    """Keeps what a run says of its cache at each step."""

    def __init__(self) -> None:
        self.seen: list[dict[str, int]] = []

    def observe(self, step: Step) -> tuple[()]:
        self.seen.append(dict(step.cache))
        return ()


def test_those_who_watch_are_told_how_the_cache_is_used(tmp_path):
    note, watching = tmp_path / "decoded.txt", Watching()
    note.touch()
    given = TrainSettings(epochs=2, batch_size=4, accelerator="cpu", tensorboard=False, cache=CacheSettings())
    train(Kept(note), given, tmp_path / "run", observers=(watching,))
    assert watching.seen[-1]["items"] == watching.seen[-1]["slots"] == KEPT_SAMPLES + 8
    assert watching.seen[-1]["hits"] >= KEPT_SAMPLES
