"""A cache that would hold nothing, or more than there is, is found before the run."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from plans import Known, findings
from snellen.core.facts.cache import CacheFacts
from snellen.core.finding import Level
from snellen.tasks.check import check_run

SIZED = {"items": 100, "mean": 3e6, "smallest": 2_000_000, "largest": 4_000_000, "folders": ("data.train",)}


def cache(asked, budget, **changes) -> CacheFacts:
    return CacheFacts(asked=asked, budget=budget, why="as asked for", free=8 * 2**30, **{**SIZED, **changes})


@pytest.mark.parametrize(
    ("facts", "text", "level"),
    [
        (cache(0, 0), "would hold 0 of 100 samples", Level.ERROR),
        (cache(1_000_000, 1_000_000), "the smallest sample takes 1.9 MiB", Level.ERROR),
        (cache(None, 1_000_000), "would hold 0 of 100 samples", Level.WARNING),
        (cache(2**30, 2**30, items=0, mean=0.0, smallest=0, largest=0), "data.train has no sample", Level.ERROR),
    ],
)
def test_a_cache_that_would_hold_nothing_is_found(facts, text, level):
    (finding,) = findings("cache-never-filled", Known({}, cache=facts))
    assert text in finding.message
    assert finding.level is level


def test_a_cache_that_holds_something_is_left_alone():
    for facts in (cache(2**30, 2**30), cache(None, 2**31), cache(3_000_000, 3_000_000)):
        assert not findings("cache-never-filled", Known({}, cache=facts))
    assert not findings("cache-larger-than-memory", Known({}, cache=cache(2**30, 2**30)))


def test_more_than_the_machine_has_is_said_with_what_fits():
    (finding,) = findings("cache-larger-than-memory", Known({}, cache=cache(2**40, 150_000_000)))
    assert "asks for 1024.0 GiB, 8.0 GiB are free: it will take 143.1 MiB, which hold 50 of 100" in finding.message
    assert finding.fix.settings == (("data.cache", "auto"),)


@pytest.mark.parametrize(
    ("written", "slug"),
    [
        ("{size: 10B}", "cache-never-filled"),
        ("{size: 0GB}", "cache-never-filled"),
        ("{size: 900TB}", "cache-larger-than-memory"),
        ("{size: lots}", "config-type"),
        ("{size: 100}", "config-type"),
        ("{size: 1MB, ahead: true}", None),
        ("auto", None),
        ("false", None),
    ],
)
def test_a_run_file_is_judged_on_its_own_pictures(written, slug, tmp_path):
    (tmp_path / "data" / "authentic").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (3, 60, 70, 3), dtype=np.uint8)
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / "data" / "authentic" / f"{number}.png")
    run = tmp_path / "run.yaml"
    run.write_text(f"task: forgery\ndata: {{train: data, cache: {written}}}\n")
    report = check_run(run)
    found = {finding.slug for finding in report.findings} & {
        "cache-never-filled", "cache-larger-than-memory", "config-type",
    }  # fmt: skip
    assert found == ({slug} if slug else set())
