"""One run from data to submission through the command line, small: synthesise, train, resume, evaluate, predict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from snellen.cli.main import app
from snellen.core.run_folder import RunFolder
from snellen.demo.photos import TRAINING, copy_photos
from snellen.errors import SnellenError


def snellen(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Result, *words: str) -> None:
    """The command ended in one of our own errors, which `main` prints as a line."""
    assert isinstance(result.exception, SnellenError), result.exception
    for word in words:
        assert word in str(result.exception)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data and a run file; trained for two steps."""
    root = tmp_path_factory.mktemp("project")
    photos = root / "photos"
    copy_photos(TRAINING[:2], photos)
    for split, seed in (("train", 0), ("val", 1)):
        made = snellen("forgery", "synthesise", photos, "-o", root / "data" / split, "--count", 5, "--seed", seed)
        assert made.exit_code == 0, made.output
    (root / "run.yaml").write_text(
        "task: forgery\nname: small\n"
        "data: {train: data/train, val: data/val, image_size: 64, workers: 0}\n"
        "model: {detector: net, backbone: resnet10t, max_stride: 4, pretrained: false, tile: 64}\n"
        "optim: {lr: 1e-3, epochs: 1, max_steps: 2, batch_size: 2, evaluate_every: 1}\n"
        "precision: fp32\ntrack: {tensorboard: false}\n",
        encoding="utf-8",
    )
    trained = snellen("train", root / "run.yaml")
    assert trained.exit_code == 0, f"{trained.output} {trained.exception!r}"
    assert "next: snellen evaluate" in trained.output
    return root


def test_a_run_can_be_reproduced_from_its_folder(project: Path) -> None:
    with RunFolder.open(project / "runs" / "small", lock=False) as folder:
        environment = folder.read_json("environment.json")
        assert environment["seed"] == 0
        assert environment["packages"]["torch"]
        assert environment["data"]["train"]["files"] > 0
        assert len(environment["data"]["train"]["sha256"]) == 64
        assert folder.read_json("findings.json")["exit_code"] == 0
        left = {line.strip() for line in folder.run_file.read_text(encoding="utf-8").splitlines() if "auto" in line}
        # The machine that it was meant for, and what each folder and each start settles for itself.
        assert left == {"machine: auto", "layout: auto", "cache: auto", "wandb: auto"}
        assert any(record["kind"] == "val" for record in folder.metrics())


def test_resume_goes_on_with_more_steps(project: Path) -> None:
    resumed = snellen("resume", project / "runs" / "small", "optim.max_steps=3", "optim.epochs=2", "--json")
    assert resumed.exit_code == 0, resumed.exception
    assert json.loads(resumed.stdout)["steps"] == 3


def test_evaluation_prints_intervals_as_json_and_draws_the_worst_errors(project: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "errors"
    evaluated = snellen("evaluate", project / "run.yaml", "model.detector=keypoint", "--json", "--gallery", gallery)
    assert evaluated.exit_code == 0, evaluated.exception
    metrics = json.loads(evaluated.stdout)["metrics"]
    assert metrics["pixel_f1_low"] <= metrics["pixel_f1"] <= metrics["pixel_f1_high"]
    imperfect = metrics["forged"] - sum(row["f1"] == 1 for row in json.loads(evaluated.stdout)["rows"] if row["forged"])
    assert len(list(gallery.glob("*.png"))) >= imperfect > 0


def test_the_trained_network_predicts_and_the_submission_is_valid(project: Path, tmp_path: Path) -> None:
    images = project / "data" / "val" / "forged"
    predicted = snellen("predict", project / "runs" / "small", images, "-o", tmp_path / "out", "--quota-hours", "1")
    assert predicted.exit_code == 0, predicted.exception
    assert "which fits into 1 h" in predicted.output
    validated = snellen("forgery", "validate", tmp_path / "out" / "submission.csv", "--images", images)
    assert validated.exit_code == 0, validated.output
    names = {path.stem for path in images.iterdir()}
    assert {path.stem for path in (tmp_path / "out" / "overlays").iterdir()} == names


def hostile(folder: Path) -> None:
    """Images as they come: whole, damaged, odd."""
    folder.mkdir()
    photo = np.random.default_rng(0).integers(0, 255, (80, 90, 3), np.uint8)
    Image.fromarray(photo).save(folder / "whole.png")
    Image.fromarray(photo).convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(photo[:, :, 0].astype(np.uint16) * 200).save(folder / "sixteen.png")
    Image.fromarray(photo).convert("P").save(folder / "palette.gif")
    Image.fromarray(photo[:1, :1]).save(folder / "one.png")
    Image.fromarray(np.zeros((40, 1500, 3), np.uint8)).save(folder / "long.png")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "torn.png").write_bytes((folder / "whole.png").read_bytes()[:900])
    (folder / "page.jpg").write_text("<html>not found</html>", encoding="utf-8")


def test_damaged_images_are_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    hostile(tmp_path / "images")
    (tmp_path / "run.yaml").write_text("task: forgery\n", encoding="utf-8")
    arguments: Sequence[str | Path] = ("predict", tmp_path / "run.yaml", tmp_path / "images", "-o", tmp_path / "out")
    predicted = snellen(*arguments)
    assert predicted.exit_code == 1
    assert "6 predicted, 3 failed" in predicted.output
    for name in ("empty.jpg", "torn.png", "page.jpg"):
        assert name in predicted.output
    lines = (tmp_path / "out" / "submission.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 10
    again = snellen(*arguments)
    assert "0 predicted, 6 done before" in again.output


def test_a_network_without_weights_is_refused(project: Path, tmp_path: Path) -> None:
    refused(
        snellen("predict", project / "run.yaml", project / "photos", "-o", tmp_path), "there are no trained weights"
    )


def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    hostile(tmp_path / "images")
    (tmp_path / "run.yaml").write_text("task: forgery\n", encoding="utf-8")
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    refused(snellen("predict", tmp_path / "run.yaml", tmp_path / "images", "-o", tmp_path / "out"), "out")
    assert (tmp_path / "out").read_text(encoding="utf-8") == "mine"


def test_a_run_of_another_version_is_refused(project: Path) -> None:
    marker = project / "runs" / "small" / "format.json"
    before = marker.read_text(encoding="utf-8")
    try:
        marker.write_text('{"format": 0, "snellen": "0.0.1"}', encoding="utf-8")
        refused(snellen("resume", project / "runs" / "small"), "0")
    finally:
        marker.write_text(before, encoding="utf-8")


def test_two_processes_cannot_train_in_one_folder(project: Path) -> None:
    with RunFolder.open(project / "runs" / "small"):
        refused(snellen("resume", project / "runs" / "small"), "small")


def test_a_keypoint_run_has_nothing_to_train(project: Path) -> None:
    refused(snellen("train", project / "run.yaml", "model.detector=keypoint", "name=other"), "nothing to learn")


def test_settings_with_problems_stop_a_training_before_it_starts(project: Path) -> None:
    stopped = snellen("train", project / "run.yaml", "optim.epoch=3", "optim.lr=fast")
    assert stopped.exit_code == 1
    assert not (project / "runs" / "other").exists()
    assert "optim.epoch" in stopped.output
    assert "optim.lr" in stopped.output


@pytest.mark.slow
def test_two_processes_train_one_run(project: Path) -> None:
    trained = snellen("train", project / "run.yaml", "devices=2", "name=pair", "--json")
    assert trained.exit_code == 0, trained.exception
    assert json.loads(trained.stdout)["steps"] >= 1
