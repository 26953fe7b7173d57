"""What the settings and the data of a deblurring run tell before it starts."""

from __future__ import annotations

import shutil
from pathlib import Path

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
