"""A network that was trained here as the backbone of embeddings, few-shot recognition and heads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from digit_folders import make_digits
from snellen.cli.main import app
from snellen.data.features import read_features
from snellen.errors import SnellenError

WEIGHTS = "runs/small/checkpoints/best/model.safetensors"
RUN = """\
task: classify
name: small
data: {train: seen/train, val: seen/val, workers: 0}
model: {name: resnet18, pretrained: false, options: {layers: [1, 1, 1, 1], channels: [8, 16, 32, 32]}}
augment: {flip: false}
optim: {epochs: 2, batch_size: 16}
precision: fp32
track: {tensorboard: false}
"""


def snellen(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def fine(result: Result) -> Result:
    assert result.exit_code == 0, f"{result.output} {result.exception!r}"
    return result


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that learned some digits, and others that it has never seen."""
    root = tmp_path_factory.mktemp("trained")
    make_digits(root / "seen", {"train": 80, "val": 40}, digits=(0, 1, 4, 7))
    make_digits(root / "new", {"test": 120, "train": 40}, digits=(2, 3, 6))
    (root / "run.yaml").write_text(RUN, encoding="utf-8")
    fine(snellen("train", root / "run.yaml", "--no-check"))
    return root


def few_shot(root: Path, model: str) -> Path:
    path = root / "few.yaml"
    data = "{test: new/test, shots: [5], episodes: {ways: 3, queries: 5, count: 8}}"
    text = f"task: fewshot\nname: few\ndata: {data}\nmodel: {model}\nrecognition: {{baselines: []}}\ncache: false\n"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_way_to_name_it_gives_the_same_answers(project: Path) -> None:
    found = []
    for model in (
        "{backbone: runs/small}", "{backbone: runs/small/checkpoints}", f"{{backbone: {WEIGHTS}}}",
        f"{{backbone: resnet18, weights: {WEIGHTS}}}",
    ):  # fmt: skip
        fine(snellen("evaluate", few_shot(project, model), "--split", "test"))
        found.append(json.loads((project / "runs" / "few" / "evaluation.json").read_text(encoding="utf-8")))
    assert found[0]["backbone"] == "classify run small"
    assert all(one == found[0] for one in found[1:])


def test_a_check_knows_its_network(project: Path) -> None:
    checked = snellen("check", few_shot(project, "{backbone: runs/small}"), "--json")
    states = {one["slug"]: one["state"] for one in json.loads(checked.stdout)["checks"]}
    assert states["silent-random-weights"] == states["state-dict-mismatch"] == "passed"


def test_embedding_and_heads_take_it(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "features"
    embedded = snellen("embed", project / "new" / "test", "-o", out, "--backbone", project / "runs" / "small")
    fine(embedded)
    features = read_features(out)
    assert features.vectors.shape == (120, 32)
    assert np.isfinite(features.vectors).all()
    run = project / "probe.yaml"
    run.write_text(
        "task: probe\nname: heads\ndata: {train: new/train, val: new/test}\nmodel: {backbone: runs/small}\n"
        f"cache: {tmp_path / 'cache'}\noptim: {{epochs: 3}}\ntrack: {{tensorboard: false}}\n",
        encoding="utf-8",
    )
    fine(snellen("train", run, "--no-check"))
    fine(snellen("evaluate", project / "runs" / "heads", "--split", "val"))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (f"{{backbone: vit_tiny_patch16_224, weights: {WEIGHTS}}}", ("weights of resnet18", "vit_tiny_patch16_224")),
        (f"{{backbone: runs/small, weights: {WEIGHTS}}}", ("both", "leave model.weights out")),
        ("{backbone: new/test}", ("neither the folder of a run", "model.weights")),
        ("{backbone: runs/empty}", ("holds no", "checkpoint")),
        ("{backbone: runs/few}", ("task fewshot", "task classify")),
        ("{backbone: runs/alone/checkpoints/best/model.safetensors}", ("no state.json", "runs/alone")),
    ],
)
def test_what_is_no_trained_network_is_refused_with_what_to_type(
    model: str, words: tuple[str, ...], project: Path
) -> None:
    for name in ("empty", "few", "alone"):
        folder = project / "runs" / name
        folder.mkdir(exist_ok=True)
        shutil.copy(project / "runs" / "small" / "run.yaml", folder)
    (project / "runs" / "few" / "run.yaml").write_text("task: fewshot\n", encoding="utf-8")
    alone = project / "runs" / "alone" / "checkpoints" / "best"
    alone.mkdir(parents=True, exist_ok=True)
    shutil.copy(project / WEIGHTS, alone)
    result = snellen("evaluate", few_shot(project, model), "--split", "test")
    assert isinstance(result.exception, SnellenError), result.exception
    told = f"{result.exception} {result.exception.hint}"
    for word in words:
        assert word in told
