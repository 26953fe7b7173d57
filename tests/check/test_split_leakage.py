"""A run that validates on what it trains on is told so before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from snellen.check import CheckSettings, check, plan_of
from snellen.config.load import load
from snellen.core.finding import State
from snellen.tasks.forgery.config import ForgeryRun


@pytest.mark.parametrize(
    ("train", "val", "state"),
    [
        ("data/train", "data/val", State.PASSED),
        ("data/train", "data/train", State.WARNED),
        ("data", "data/val", State.WARNED),
        ("data/val/more", "data/val", State.WARNED),
        ("data/train", "null", State.NOT_APPLICABLE),
    ],
)
def test_train_and_val(tmp_path: Path, train: str, val: str, state: State) -> None:
    for folder in ("train", "val/more"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        Image.new("RGB", (12, 9)).save(tmp_path / "data" / folder / "a.png")
    (tmp_path / "run.yaml").write_text(
        f"task: forgery\ndata: {{train: {train}, val: {val}}}\nmodel: {{detector: net}}\n"
    )
    plan = plan_of(load(tmp_path / "run.yaml", ForgeryRun), ForgeryRun)
    results = check(plan, settings=CheckSettings(select=("split-leakage",))).results
    (result,) = [result for result in results if result.slug == "split-leakage"]
    assert result.state is state
    for finding in result.findings:
        assert finding.location is not None
        assert finding.location.key == "data.val"
        assert finding.location.line == 2
