"""A classification from class folders to predictions through the command line, on handwritten digits."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from digit_folders import make_digits
from snellen.cli.main import app
from snellen.core.run_folder import RunFolder
from snellen.data.features import read_features
from snellen.data.pictures import read_picture
from snellen.errors import DataError, SnellenError
from snellen.tasks.classify.config import ClassifyRun
from snellen.tasks.classify.model import load_trained
from snellen.tasks.target import open_target

EXAMPLES = Path(__file__).parents[2] / "examples"

RUN = """\
task: classify
name: {name}
data: {{train: data/train, val: data/val, test: data/test, workers: 0}}
model: {{name: resnet18, {model}, options: {{layers: [1, 1, 1, 1], channels: [8, 16, 32, 32]}}}}
augment: {{flip: false}}
optim: {{epochs: {epochs}, batch_size: 16, evaluate_every: 3}}
precision: fp32
track: {{tensorboard: false}}
"""


def snellen(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def fine(result: Result) -> Result:
    assert result.exit_code == 0, f"{result.output} {result.exception!r}"
    return result


def refused(result: Result, slug: str | None, *words: str) -> None:
    """The command ended in one of our own errors, which `main` prints as a line."""
    assert isinstance(result.exception, SnellenError), result.exception
    assert result.exception.slug == slug
    for word in words:
        assert word in str(result.exception)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits, a run file, and a run that was trained from a random start."""
    root = tmp_path_factory.mktemp("digits")
    make_digits(root / "data", {"train": 200, "val": 80, "test": 60})
    text = RUN.format(name="scratch", model="pretrained: false", epochs=6)
    (root / "run.yaml").write_text(text, encoding="utf-8")
    fine(snellen("train", root / "run.yaml", "--no-check"))
    return root


def test_it_learns_and_leaves_a_report(project: Path) -> None:
    with RunFolder.open(project / "runs" / "scratch", lock=False) as folder:
        last = [record for record in folder.metrics() if record["kind"] == "val"][-1]["metrics"]
        settled = {one["key"]: one for one in folder.read_json("environment.json")["settled"]}
    assert last["accuracy"] > 0.7, "four classes: guessing gets 0.25 to 0.35"
    assert settled["model.freeze"]["value"] == "none"
    assert "random" in settled["model.freeze"]["why"]
    assert settled["model.small_stem"]["value"] == "True"
    page = (project / "runs" / "scratch" / "report.html").read_text(encoding="utf-8")
    for words in ("Curves", "Confusion", "Surest mistakes", "digit-7", "with 95% intervals"):
        assert words in page


def test_evaluation_has_intervals_classes_and_confusion(project: Path, tmp_path: Path) -> None:
    out = fine(
        snellen("evaluate", project / "runs" / "scratch", "--split", "test", "--json", "--gallery", tmp_path / "g")
    )
    found: dict[str, Any] = json.loads(out.stdout)
    metrics, tables = found["metrics"], found["tables"]
    assert metrics["accuracy_low"] <= metrics["accuracy"] <= metrics["accuracy_high"]
    assert {row["class"] for row in tables["classes"]} == {f"digit-{digit}" for digit in (0, 1, 4, 7)}
    right = sum(row[row["class"]] for row in tables["confusion"])
    assert right == sum(row["right"] for row in found["rows"]) == round(60 * metrics["accuracy"])
    assert len(list((tmp_path / "g").glob("*.jpg"))) == min(12, 60 - right)
    plain = fine(snellen("evaluate", project / "runs" / "scratch", "--split", "test"))
    assert "precision" in plain.stdout


def test_predictions_name_classes_and_a_broken_file_does_not_stop_them(project: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(project / "data" / "test" / "digit-0", images)
    broken = images / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    result = snellen("predict", project / "runs" / "scratch", images, "-o", tmp_path / "out")
    assert result.exit_code == 1, result.output
    with (tmp_path / "out" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["image"] for row in rows} == {str(path) for path in images.iterdir() if path != broken}
    unread = [json.loads(line) for line in (tmp_path / "out" / "unread.jsonl").read_text().splitlines()]
    assert [one["path"] for one in unread] == [str(broken)]
    said = [row["class"] for row in rows]
    assert said.count("digit-0") > len(said) / 2
    shutil.copy(images / Path(rows[0]["image"]).name, broken)
    again = fine(snellen("predict", project / "runs" / "scratch", images, "-o", tmp_path / "out", "--json"))
    told = json.loads(again.stdout)
    assert (told["earlier"], told["done"], told["failed"]) == (len(rows), 1, 0)
    assert sum(told["classes"].values()) == len(rows) + 1
    features = read_features(tmp_path / "out" / "probabilities")
    assert features.vectors.sum(axis=1) == pytest.approx(1.0)


def test_predictions_of_another_run_need_another_folder(project: Path, tmp_path: Path) -> None:
    image = next((project / "data" / "test").rglob("*.png"))
    fine(snellen("predict", project / "runs" / "scratch", image, "-o", tmp_path))
    fine(snellen("train", project / "run.yaml", "--no-check", "name=other", "optim.max_steps=1"))
    refused(snellen("predict", project / "runs" / "other", image, "-o", tmp_path), None, "choose another output folder")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.filterwarnings("ignore")
def test_predictions_over_ray_are_those_of_one_process(project: Path, tmp_path: Path) -> None:
    images = project / "data" / "test"
    for engine in ("local", "ray"):
        fine(snellen("predict", project / "runs" / "scratch", images, "-o", tmp_path / engine, "--engine", engine))
    local, over_ray = ((tmp_path / engine / "predictions.csv").read_bytes() for engine in ("local", "ray"))
    assert local == over_ray


def test_a_trained_run_is_a_backbone_for_others(project: Path, tmp_path: Path) -> None:
    network, preprocessing, classes = load_trained(project / "runs" / "scratch")
    assert classes == ("digit-0", "digit-1", "digit-4", "digit-7")
    images = sorted((project / "data" / "test").rglob("*.png"))[:8]
    pixels = torch.stack([preprocessing.prepare(read_picture(path).image) for path in images])
    with torch.inference_mode():
        said = [classes[number] for number in network(pixels).argmax(1).tolist()]
    fine(snellen("predict", project / "runs" / "scratch", *images, "-o", tmp_path))
    with (tmp_path / "predictions.csv").open(encoding="utf-8", newline="") as file:
        assert [row["class"] for row in csv.DictReader(file)] == said


def test_resume_goes_on(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project / "runs" / "scratch", tmp_path / "scratch")
    resumed = fine(snellen("resume", tmp_path / "scratch", "optim.epochs=7", "--json"))
    assert json.loads(resumed.stdout)["epochs"] == 7


def test_frozen_layers_keep_weights_and_statistics_and_the_probe_is_written_down(project: Path) -> None:
    weights = project / "runs" / "scratch" / "checkpoints" / "best" / "model.safetensors"
    text = RUN.format(name="frozen", model=f"pretrained: false, weights: {weights}, freeze: all", epochs=2)
    (project / "frozen.yaml").write_text(text, encoding="utf-8")
    fine(snellen("train", project / "frozen.yaml", "--no-check", "optim.evaluate_every=1", "optim.lr=0.01"))
    before, after = (
        load_file(weights),
        load_file(project / "runs" / "frozen" / "checkpoints" / "last" / "model.safetensors"),
    )
    kept = [name for name in before if not name.startswith("network.fc") and "num_batches" not in name]
    assert kept
    assert all(torch.equal(before[name], after[name]) for name in kept)
    assert not torch.equal(before["network.fc.weight"], after["network.fc.weight"])
    with RunFolder.open(project / "runs" / "frozen", lock=False) as folder:
        last = [record for record in folder.metrics() if record["kind"] == "val"][-1]["metrics"]
    assert last["probe_accuracy_low"] <= last["probe_accuracy"] <= last["probe_accuracy_high"]
    assert last["probe_accuracy"] > 0.7


def test_few_images_freeze_the_network_and_the_reason_is_told(project: Path) -> None:
    weights = project / "runs" / "scratch" / "checkpoints" / "best" / "model.safetensors"
    text = RUN.format(name="few", model=f"pretrained: false, weights: {weights}", epochs=1)
    (project / "few.yaml").write_text(text, encoding="utf-8")
    fine(snellen("train", project / "few.yaml", "--no-check", "optim.max_steps=1"))
    with RunFolder.open(project / "runs" / "few", lock=False) as folder:
        settled = {one["key"]: one for one in folder.read_json("environment.json")["settled"]}
    assert settled["model.freeze"]["value"] == "part"
    assert "200 training images" in settled["model.freeze"]["why"]


def test_an_unknown_label_is_never_class_0(project: Path) -> None:
    stranger = project / "data" / "val" / "digit-9"
    stranger.mkdir()
    shutil.copy(next((project / "data" / "val" / "digit-0").iterdir()), stranger)
    try:
        refused(snellen("evaluate", project / "runs" / "scratch"), "label-out-of-range", "digit-9")
        refused(snellen("train", project / "run.yaml", "--no-check", "name=no"), "label-out-of-range", "digit-9")
    finally:
        shutil.rmtree(stranger)


def test_a_declared_class_without_images_has_no_output(project: Path) -> None:
    declared = 'data.classes=["digit-0", "digit-1", "digit-4", "digit-7", "digit-8"]'
    weights = "loss.class_weights=[1.0, 1.0, 2.0, 1.0, 9.0]"
    fine(snellen("train", project / "run.yaml", "--no-check", "name=declared", "optim.max_steps=2", declared, weights))
    network, _, classes = load_trained(project / "runs" / "declared")
    assert "digit-8" not in classes
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 4)
    wrong = snellen(
        "train", project / "run.yaml", "--no-check", "name=wrong", declared, "loss.class_weights=[1.0, 2.0]"
    )
    refused(wrong, "class-weights-length", "2 numbers for 5 classes")


def test_a_table_of_classes_with_mixing_weights_and_balanced_sampling(project: Path, tmp_path: Path) -> None:
    files = sorted((project / "data" / "train").rglob("*.png"))[::3]
    lines = [f"{path.name},{path.parent.name}" for path in files]
    (tmp_path / "images").mkdir()
    for path in files:
        shutil.copy(path, tmp_path / "images")
    (tmp_path / "images" / "labels.csv").write_text("image,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    settings = [
        "augment.preset=deit",
        "data.sampling=balanced",
        "optim.ema_decay=0.9",
        "optim.max_steps=2",
        "name=table",
    ]
    found = fine(
        snellen("train", project / "run.yaml", "--no-check", f"data.train={tmp_path / 'images'}", *settings, "--json")
    )
    assert json.loads(found.stdout)["steps"] == 2


def test_the_example_runs_and_the_recipe_of_deit_is_a_sound_run_file(project: Path, tmp_path: Path) -> None:
    data = [f"data.train={project / 'data' / 'train'}", f"data.val={project / 'data' / 'val'}"]
    small = ["optim.max_steps=2", "name=example", f"output={tmp_path}", "track.tensorboard=false"]
    found = fine(snellen("train", EXAMPLES / "classify.yaml", "--no-check", *data, *small, "--json"))
    assert json.loads(found.stdout)["steps"] == 2
    deit = open_target(EXAMPLES / "classify_deit.yaml", data).config
    assert isinstance(deit, ClassifyRun)
    assert (deit.augment.mixup, deit.augment.cutmix, deit.augment.randaugment) == (0.8, 1.0, 9)
    assert deit.loss.label_smoothing == 0.1


def test_one_class_is_refused_by_name(project: Path) -> None:
    result = snellen(
        "train", project / "run.yaml", "--no-check", f"data.train={project / 'data/train/digit-0'}", "name=one"
    )
    assert isinstance(result.exception, DataError)


@pytest.fixture
def small(project: Path, tmp_path: Path) -> Path:
    """A run file of its own with few images, which a test may damage."""
    for split, count in (("train", 8), ("val", 4)):
        for name in ("digit-0", "digit-1"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for path in sorted((project / "data" / split / name).iterdir())[:count]:
                shutil.copy(path, tmp_path / "data" / split / name)
    shutil.copytree(tmp_path / "data" / "val", tmp_path / "data" / "test")
    (tmp_path / "run.yaml").write_text(RUN.format(name="small", model="pretrained: false", epochs=2), encoding="utf-8")
    return tmp_path / "run.yaml"


def test_a_run_that_diverges_ends_in_a_line_and_not_in_figures(small: Path) -> None:
    refused(snellen("train", small, "--no-check", "optim.lr=1e6", "optim.clip_norm=null", "optim.epochs=6"), "nan-loss")


def test_a_folder_of_broken_images_is_told_in_some_lines(small: Path) -> None:
    for path in (small.parent / "data" / "train").rglob("*.png"):
        path.write_bytes(b"no image")
    result = snellen("train", small, "--no-check")
    refused(result, "corrupt-image", "is not an image")
    assert result.stderr.count("left out:") <= 6
    assert "left out: more files" in result.stderr


def test_what_no_option_mends_is_not_said_to_be_mended_by_one(small: Path) -> None:
    stopped = snellen("train", small, "optim.batch_size=0")
    assert stopped.exit_code == 1
    assert "next: mend the errors above" in stopped.stderr
    assert "--fix" not in stopped.stderr


def test_options_that_the_network_lacks_are_found_before_the_run(small: Path) -> None:
    report = json.loads(snellen("check", small, "model.options={nonsense: 1}", "--json").stdout)
    (found,) = (one for one in report["findings"] if one["level"] == "error")
    assert (found["slug"], report["exit_code"]) == ("unknown-model", 1)
    assert "nonsense=1" in found["message"]


def test_layers_that_know_nothing_are_not_frozen(small: Path) -> None:
    report = json.loads(snellen("check", small, "model.freeze=part", "--max-cost=instant", "--json").stdout)
    (found,) = (one for one in report["findings"] if one["level"] == "error")
    assert "from a random start they know nothing" in found["message"]


@pytest.mark.parametrize("train", ["data/train/digit-0", "table"])
def test_images_of_no_or_one_class_are_found_before_the_run(small: Path, train: str) -> None:
    table = small.parent / "table"
    table.mkdir()
    for path in (small.parent / "data" / "train" / "digit-0").iterdir():
        shutil.copy(path, table)
    rows = "".join(f"{path.name},one\n" for path in table.glob("*.png"))
    (table / "labels.csv").write_text(f"image,label\n{rows}", encoding="utf-8")
    ask = (small, f"data.train={train}", "--select=labels-unusable", "--json")
    (found,) = json.loads(snellen("check", *ask).stdout)["findings"]
    assert found["level"] == "error"
    assert ("names no class of any image" if train != "table" else "images of one class, one") in found["message"]
    assert json.loads(snellen("check", small, *ask[2:]).stdout)["findings"] == []


def test_the_check_knows_the_task(project: Path) -> None:
    found = snellen("check", project / "run.yaml", "--json", "loss.class_weights=[1.0, 2.0]")
    report = json.loads(found.stdout)
    states = {one["slug"]: one["state"] for one in report["checks"]}
    assert states["class-weights-length"] == "failed"
    assert states["spatial-mismatch"] == "passed"
    assert "crashed" not in states.values()
