"""Which settings are paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from snellen.check import plan_of
from snellen.check.facts.paths import named_paths
from snellen.config.load import load
from snellen.config.schema import RunConfig


@pytest.mark.parametrize(
    ("classes", "found"), [("[cat, dog]", []), ("names/classes.txt", [("data.classes", "names/classes.txt")])]
)
def test_names_of_classes_are_no_paths(tmp_path: Path, classes: str, found: list[tuple[str, str]]) -> None:
    run = tmp_path / "run.yaml"
    run.write_text(f"task: forgery\ndata: {{classes: {classes}, layout: class-folders}}\n", encoding="utf-8")
    assert list(named_paths(plan_of(load(run, RunConfig), RunConfig))) == found
