"""Damaged and extreme pictures go through `snellen predict`: each is predicted or listed, none ends the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from snellen.cli.main import app
from snellen.data.listing import find_images


@pytest.mark.slow
def test_every_picture_is_predicted_or_listed(shared: Path, tmp_path: Path) -> None:
    pictures = find_images([shared / "data" / "camera_variety"], recursive=True).files
    (tmp_path / "run.yaml").write_text("task: forgery\n", encoding="utf-8")
    arguments = [
        "predict",
        str(tmp_path / "run.yaml"),
        str(shared / "data" / "camera_variety"),
        "-o",
        str(tmp_path / "out"),
    ]
    ended = CliRunner().invoke(app, [*arguments, "--json"])
    assert ended.exit_code in (0, 1), ended.exception
    report = json.loads(ended.stdout)
    assert report["done"] + report["failed"] == len(pictures)
    assert report["done"] > report["failed"]
    assert all(failure["slug"] in ("corrupt-image", None) for failure in report["failures"])
    lines = (tmp_path / "out" / "submission.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(pictures) + 1
