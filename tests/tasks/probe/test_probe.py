"""Heads on frozen features, from the run file to the table of answers, on scikit-learn's digits."""

from __future__ import annotations

import csv
import json
import os
import runpy
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score
from typer.testing import CliRunner, Result

from snellen.cli.main import app
from snellen.core.finding import Level
from snellen.data.features import FeaturePart, write_part
from snellen.data.pictures import content_digest
from snellen.engine.checkpoint import read_card
from snellen.engine.embedding import features_of
from snellen.errors import ConfigError, DataError, RunFolderError, SnellenError, UsageError, WeightsError
from snellen.models.backbones.embedders import load_embedder
from snellen.tasks.check import check_run
from snellen.tasks.probe.data import read_splits
from snellen.tasks.probe.recipe import build_recipe
from snellen.tasks.target import open_target

EXAMPLES = Path(__file__).parents[3] / "examples"


def snellen(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's run file beside its pictures."""
    folder = tmp_path_factory.mktemp("probe")
    runpy.run_path(str(EXAMPLES / "probe_digits.py"))["write_digits"](folder / "digits", each=40)
    shutil.copy(EXAMPLES / "probe.yaml", folder / "probe.yaml")
    return folder


@pytest.fixture(scope="module")
def trained(digits: Path) -> Path:
    result = snellen("train", digits / "probe.yaml", "cache=cache", "optim.epochs=12")
    assert result.exit_code == 0, f"{result.output} {result.exception!r}"
    return digits / "runs" / "digits"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def edited(digits: Path, tmp_path: Path, **changes: str) -> Path:
    """The run file with further lines, its data where they were."""
    text = (digits / "probe.yaml").read_text(encoding="utf-8").replace("digits/", f"{digits}/digits/")
    path = tmp_path / "run.yaml"
    path.write_text(text + "".join(f"{key}: {value}\n" for key, value in changes.items()), encoding="utf-8")
    return path


def with_labels(digits: Path, tmp_path: Path, change: object) -> Path:
    """The run file with a table of labels that differs."""
    rows = rows_of(digits / "digits" / "labels.csv")
    for row in rows:
        row["image"] = str(digits / "digits" / row["image"])
    change(rows)  # type: ignore[operator]
    with (tmp_path / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
    run = edited(digits, tmp_path)
    run.write_text(run.read_text().replace(f"{digits}/digits/labels.csv", str(tmp_path / "labels.csv")))
    return run


def test_the_example_is_sound_and_learns(trained: Path) -> None:
    findings = json.loads((trained / "findings.json").read_text(encoding="utf-8"))
    assert not [one for one in findings["checks"] if one["state"] in {"failed", "crashed"}]
    # The heads read the labels of their batch, so what memory happens to hold must not stand in for one.
    assert [one["state"] for one in findings["checks"] if one["slug"] == "host-oom"] == ["passed"]
    metrics = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in metrics if "metrics" in line][-1]["metrics"]
    assert last["macro_f1"] > 0.9


def test_classes_without_samples_have_no_output_and_the_map_lies_in_the_checkpoint(trained: Path) -> None:
    card = read_card(trained)
    digit = card["heads"]["digit"]["classes"]
    assert (digit["names"], digit["absent"]) == (["0", "6", "8", "9"], ["3"])
    weights = load_file(trained / "checkpoints" / "best" / "model.safetensors")
    outputs = sorted(value.shape[0] for name, value in weights.items() if name.endswith(".bias"))
    assert outputs == [2, 2, 4, 128]
    assert card["backbone"] == "hog"


def test_an_evaluation_agrees_with_scikit_learn(trained: Path) -> None:
    result = snellen("evaluate", trained, "--split", "test", "--json")
    assert result.exit_code == 0, f"{result.output} {result.exception!r}"
    metrics = json.loads(result.stdout)["metrics"]
    rows = rows_of(trained / "evaluation-test" / "predictions.csv")
    assert len(rows) == 80
    for head in ("looped", "digit", "parity"):
        known = [row for row in rows if row[f"{head}_truth"]]
        truth, answer = [row[f"{head}_truth"] for row in known], [row[head] for row in known]
        names = sorted(set(truth))
        precision, recall, f1, _ = precision_recall_fscore_support(truth, answer, labels=names, zero_division=0)
        for place, name in enumerate(names):
            assert metrics[f"{head}/{name}/precision"] == pytest.approx(precision[place])
            assert metrics[f"{head}/{name}/recall"] == pytest.approx(recall[place])
            assert metrics[f"{head}/{name}/f1"] == pytest.approx(f1[place])
            assert metrics[f"{head}/{name}/f1_low"] <= f1[place] <= metrics[f"{head}/{name}/f1_high"]
        record = json.loads((trained / "evaluation-test" / "evaluation.json").read_text(encoding="utf-8"))
        matrix = np.array(record["heads"][head]["confusion"])
        assert (matrix == confusion_matrix(truth, answer, labels=record["heads"][head]["classes"])).all()
    assert {row["looped_truth"] for row in rows if row["digit_truth"]} == {"yes"}
    page = (trained / "evaluation-test" / "report.html").read_text(encoding="utf-8")
    assert "t-SNE of perplexity" in page
    assert "Declared and never seen in training: 3." in page
    assert page.count("ROC") == 3
    assert "worst mistakes" in page


def test_many_classes_are_told_by_their_most_frequent_mistakes(digits: Path, tmp_path: Path) -> None:
    def spread(rows: list[dict[str, str]]) -> None:
        for place, row in enumerate(rows):
            row["parity"] = f"kind{place // 5 % 30}"
            # A class may be named as a column of a table is.
            row["looped"] = {"yes": "truth", "no": "no"}[row["looped"]]

    run = with_labels(digits, tmp_path, spread)
    result = snellen("train", run, "--no-check", "cache=cache", "optim.epochs=1", "heads.looped.class_weights=null")
    assert result.exit_code == 0, f"{result.output} {result.exception!r}"
    result = snellen("evaluate", tmp_path / "runs" / "digits", "--split", "test")
    assert "figures of each of the 30 classes of parity: --json holds all" in result.stdout
    assert "parity/kind7/f1" not in result.stdout
    page = (tmp_path / "runs" / "digits" / "evaluation-test" / "report.html").read_text(encoding="utf-8")
    assert "the whole matrix of 30 classes is in evaluation.json" in page
    assert "The first 24 of 30 classes" in page
    assert "<th>truth / answer</th>" in page


def test_a_split_that_does_not_exist_is_named_with_those_that_do(trained: Path) -> None:
    with pytest.raises(UsageError, match="--split is 'tset', expected train, val or test") as error:
        CliRunner().invoke(app, ["evaluate", str(trained), "--split", "tset"], catch_exceptions=False)
    assert error.value.hint == "did you mean test?"


def test_linear_heads_come_near_logistic_regression(digits: Path, tmp_path: Path) -> None:
    run = edited(digits, tmp_path)
    target = open_target(run, ["cache=false", "sampling.by=null"])
    recipe = build_recipe(target.config)
    recipe.prepare()
    train, val = recipe.train_dataset(), recipe.evaluation_dataset("val")
    assert val is not None
    settings = ["cache=false", "sampling.by=null", "heads.looped.class_weights=null", "optim.epochs=60"]
    result = snellen("train", run, "--no-check", "--json", *settings)
    assert result.exit_code == 0, f"{result.output} {result.exception!r}"
    metrics = json.loads(result.stdout)["metrics"]
    mean, deviation = train.vectors.mean(axis=0), train.vectors.std(axis=0)
    scaled = [(part.vectors - mean) / np.where(deviation > 1e-8, deviation, 1) for part in (train, val)]
    for place, head in ((0, "looped"), (2, "parity")):
        reference = LogisticRegression(max_iter=2000).fit(scaled[0], train.targets[:, place])
        expected = roc_auc_score(val.targets[:, place], reference.predict_proba(scaled[1])[:, 1])
        assert metrics[f"{head}/auc"] == pytest.approx(expected, abs=0.02)
        assert metrics[f"{head}/accuracy"] == pytest.approx(reference.score(scaled[1], val.targets[:, place]), abs=0.04)


def test_a_run_is_resumed_exactly(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    shutil.rmtree(copy / "checkpoints" / "last")
    result = snellen("resume", copy)
    assert result.exit_code == 0, f"{result.output} {result.exception!r}"
    for name in ("model", "optimiser"):
        one, other = (load_file(place / "checkpoints" / "last" / f"{name}.safetensors") for place in (trained, copy))
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[key], other[key]) for key in one)


def test_a_run_is_not_resumed_with_other_classes(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    with pytest.raises(SnellenError, match="was written by a model of heads"):
        CliRunner().invoke(app, ["resume", str(copy), "heads.digit.hidden=64"], catch_exceptions=False)


def test_predictions_have_all_heads_and_go_on(trained: Path, digits: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in sorted((digits / "digits" / "test").iterdir())[:10]:
        shutil.copy(path, photos)
    (photos / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    first = snellen("predict", trained, photos, "-o", out, "--limit", "5")
    assert "5 images answered by 3 heads (looped, digit, parity)" in first.output, first.output
    second = snellen("predict", trained, photos, "-o", out)
    assert second.exit_code == 1
    assert "broken.png" in second.output
    rows = rows_of(out / "predictions.csv")
    assert len(rows) == 10
    assert {row["digit"] for row in rows} <= {"0", "6", "8", "9"}
    assert all(0.25 <= float(row["digit_probability"]) <= 1 for row in rows)
    evaluated = {Path(row["image"]).name: row for row in rows_of(_evaluated(trained) / "predictions.csv")}
    for row in rows:
        assert row["parity_probability"] == f"{float(evaluated[Path(row['image']).name]['parity_probability']):.6f}"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.filterwarnings("ignore")
def test_predictions_over_ray_are_those_of_one_process(trained: Path, digits: Path, tmp_path: Path) -> None:
    images = sorted((digits / "digits" / "test").iterdir())[:10]
    for engine in ("local", "ray"):
        snellen("predict", trained, *images, "-o", tmp_path / engine, "--engine", engine)
    local, over_ray = ((tmp_path / engine / "predictions.csv").read_bytes() for engine in ("local", "ray"))
    assert local == over_ray


def _evaluated(trained: Path) -> Path:
    place = trained / "evaluation-test"
    if not place.is_dir():
        snellen("evaluate", trained, "--split", "test")
    return place


def test_features_are_computed_once(digits: Path, tmp_path: Path) -> None:
    embedder = load_embedder("hog")
    images = sorted((digits / "digits" / "train").iterdir())
    found = features_of([str(path) for path in images[:30]], embedder)
    # Under other names: what counts is the content of the files.
    names = tuple(f"elsewhere/{path.name}" for path in images[:30])
    part = FeaturePart(names, found.digests, found.vectors + 1, embedder.name, embedder.fingerprint)
    write_part(tmp_path / "features", part, number=0)
    target = open_target(edited(digits, tmp_path), [f"data.features={tmp_path / 'features'}", "cache=false"])
    recipe = build_recipe(target.config)
    recipe.prepare()
    rows = recipe._of("train")
    assert np.array_equal(rows.vectors[:30], found.vectors + 1)
    assert rows.vectors[30:].max() <= 1.0


def test_rare_classes_are_drawn_as_often(digits: Path, tmp_path: Path) -> None:
    import torch

    target = open_target(edited(digits, tmp_path), ["cache=false", "sampling.strength=1.0"])
    recipe = build_recipe(target.config)
    recipe.prepare()
    rows = recipe.train_dataset()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [int(rows[index % len(rows)]["target"][0]) for index in range(2000)]
    assert 0.45 < np.mean(drawn) < 0.55


REFUSED = {
    "a label that is not declared": (
        lambda rows: rows[0].update(digit="7"),
        "'7' is not among the declared classes",
    ),
    "a validation label of a class without training samples": (
        lambda rows: next(row for row in rows if "/val/" in row["image"] and row["digit"]).update(digit="3"),
        "data.val, head digit: 1 sample of '3', which the model has not learned; '3' was declared without a sample",
    ),
    "names that differ in case": (
        lambda rows: rows[0].update(parity=rows[0]["parity"].upper()),
        "differ in case or blanks only",
    ),
    "one class": (
        lambda rows: [row.update(looped="yes") for row in rows],
        "head looped: all 240 labelled training images are 'yes'",
    ),
    "no label": (lambda rows: [row.update(parity="") for row in rows], "no training sample has a label"),
    "two labels for one image": (
        lambda rows: rows.append({**rows[0], "parity": "even" if rows[0]["parity"] == "odd" else "odd"}),
        "1 images are listed twice with different labels",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_labels_that_cannot_be_meant_are_refused(case: str, digits: Path, tmp_path: Path) -> None:
    change, message = REFUSED[case]
    with pytest.raises(DataError) as error:
        build_recipe(open_target(with_labels(digits, tmp_path, change)).config)
    assert message in error.value.message
    assert error.value.hint


def test_a_missing_column_is_named_with_the_nearest(digits: Path, tmp_path: Path) -> None:
    target = open_target(edited(digits, tmp_path), ["heads.parity.column=pairity"])
    with pytest.raises(DataError, match="no column 'pairity'") as error:
        build_recipe(target.config)
    assert error.value.hint == "did you mean parity?"


def test_all_that_is_wrong_with_the_labels_is_said_at_once(digits: Path, tmp_path: Path) -> None:
    wrong = ["heads.looped.column=loped", "heads.digit.column=digits", "data.image_column=photo"]
    with pytest.raises(DataError, match="3 problems with the labels") as error:
        build_recipe(open_target(edited(digits, tmp_path), wrong).config)
    assert all(word in error.value.message for word in ("'photo'", "'loped'", "'digits'", "did you mean looped?"))

    wrong = ["heads.digit.classes=['0','6','8','9','0']", "heads.looped.class_weights={no: 1, maybe: 1}"]
    with pytest.raises(DataError, match="2 problems with the labels") as error:
        build_recipe(open_target(edited(digits, tmp_path), wrong).config)
    assert "there is no class maybe and yes has no weight" in error.value.message
    assert "'0' declared more than once" in error.value.message


@pytest.mark.parametrize("name", ["digit_probability", "digit_truth", "image"])
def test_heads_whose_answers_would_share_a_column_are_refused(name: str, digits: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"two columns {name}"):
        open_target(edited(digits, tmp_path), [f"heads.{name}={{column: parity}}"])


def test_a_column_that_stands_twice_is_not_guessed(digits: Path, tmp_path: Path) -> None:
    run = with_labels(digits, tmp_path, lambda rows: None)
    table = tmp_path / "labels.csv"
    table.write_text("".join(f"{line},{line.split(',')[-1]}\n" for line in table.read_text().splitlines()))
    with pytest.raises(DataError, match="2 columns 'parity'"):
        build_recipe(open_target(run).config)


def test_a_head_without_labels_in_a_split_is_said(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def emptied(rows: list[dict[str, str]]) -> None:
        for row in rows:
            row["digit"] = "" if "/val/" in row["image"] else row["digit"]

    build_recipe(open_target(with_labels(digits, tmp_path, emptied), ["cache=false"]).config).prepare()
    assert "data.val has no label for head digit" in capsys.readouterr().err


def test_rows_of_another_split_are_never_taken_for_images_of_the_same_name(digits: Path, tmp_path: Path) -> None:
    from PIL import Image

    data = tmp_path / "data"
    for split in ("train", "val"):
        (data / split).mkdir(parents=True)
        Image.new("L", (8, 8), 9).save(data / split / "1.png")
        Image.new("L", (8, 8), 99).save(data / split / "2.png")
    table = data / "labels.csv"
    run = tmp_path / "run.yaml"
    run.write_text(
        "task: probe\ndata: {train: data/train, val: data/val, labels: data/labels.csv}\nheads: {kind: {}}\n"
    )
    table.write_text("image,kind\ntrain/1.png,a\ntrain/2.png,b\nval/1.png,b\nval/2.png,a\nval/3.png,a\n")
    found, notes = read_splits(open_target(run).config, ("train", "val"))  # type: ignore[arg-type]
    assert found["train"].labels == {"kind": ("a", "b")}
    assert found["val"].labels == {"kind": ("b", "a")}
    assert "1 of 5 rows" in notes[0]
    table.write_text("image,kind\n1.png,a\n2.png,b\n")
    with pytest.raises(DataError, match="2 rows name images of several splits"):
        read_splits(open_target(run).config, ("train",))  # type: ignore[arg-type]


def test_folders_of_classes_are_one_head(digits: Path, tmp_path: Path) -> None:
    for row in rows_of(digits / "digits" / "labels.csv"):
        split, name = row["image"].split("/")
        place = tmp_path / "data" / split / row["parity"]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(digits / "digits" / row["image"], place / name)
    run = tmp_path / "run.yaml"
    run.write_text("task: probe\nname: a\ndata: {train: data/train, val: data/val}\nmodel: {backbone: hog}\n")
    result = snellen("train", run, "--json", "optim.epochs=3", "cache=false")
    assert result.exit_code == 0, f"{result.output} {result.exception!r}"
    assert "class/macro_f1" in json.loads(result.stdout)["metrics"]
    run.write_text(f"{run.read_text()}heads: {{one: {{}}, two: {{}}}}\n")
    with pytest.raises(DataError, match="no table of labels for the heads one, two"):
        build_recipe(open_target(run).config)


def test_features_of_another_backbone_or_of_several_are_refused(digits: Path, tmp_path: Path) -> None:
    features = tmp_path / "features"
    vectors = np.zeros((1, 3), np.float32)
    write_part(features, FeaturePart(("a",), ("00",), vectors, "other", "0123"), number=0)
    target = open_target(edited(digits, tmp_path), [f"data.features={features}", "cache=false"])
    with pytest.raises(DataError, match="holds features of other"):
        build_recipe(target.config).prepare()
    write_part(features, FeaturePart(("b",), ("01",), vectors, "third", "4567"), number=1)
    with pytest.raises(DataError, match="mixes features of other"):
        build_recipe(target.config).prepare()


def test_features_that_are_not_finite_are_computed_anew_and_named(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = build_recipe(open_target(edited(digits, tmp_path), ["cache=false"]).config)
    sound.prepare()
    expected = sound.train_dataset()
    files = [Path(file) for file in expected.files[:3]]
    embedder = load_embedder("hog")
    part = FeaturePart(
        tuple(map(str, files)),
        tuple(content_digest(file.read_bytes()) for file in files),
        expected.vectors[:3],
        embedder.name,
        embedder.fingerprint,
    )
    place = write_part(tmp_path / "features", part, number=0)
    table = pq.read_table(place)
    column = table.column_names.index("embedding")
    rows = np.stack(table["embedding"].to_numpy(zero_copy_only=False))
    rows[1, 5] = np.nan
    kind = table.schema.field(column)
    broken = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel(), kind.type.value_type), rows.shape[1])
    pq.write_table(table.set_column(column, kind, broken), place)

    recipe = build_recipe(open_target(edited(digits, tmp_path), ["data.features=features", "cache=false"]).config)
    recipe.prepare()
    assert f"a vector that is not finite, of {files[1]} for one" in capsys.readouterr().err
    assert np.allclose(recipe.train_dataset().vectors, expected.vectors)


def test_heads_are_refused_on_features_of_another_backbone(trained: Path) -> None:
    with pytest.raises(WeightsError, match=r"trained on features of hog .* the run file says pixels"):
        CliRunner().invoke(app, ["evaluate", str(trained), "model.backbone=pixels"], catch_exceptions=False)


def test_a_run_file_without_training_cannot_evaluate(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no trained heads"):
        CliRunner().invoke(app, ["evaluate", str(edited(digits, tmp_path))], catch_exceptions=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_cannot_be_written_is_said(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o500)
    build_recipe(open_target(edited(digits, tmp_path), [f"cache={cache}"]).config).prepare()
    assert "the cache does not help" in capsys.readouterr().err


def test_a_cache_whose_place_is_a_file_is_said(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").write_text("in the way")
    build_recipe(open_target(edited(digits, tmp_path), ["cache=cache"]).config).prepare()
    assert "the cache does not help" in capsys.readouterr().err


def test_unreadable_images_are_left_out_and_named(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(rows: list[dict[str, str]]) -> None:
        path = tmp_path / "broken.png"
        path.write_bytes(b"\x89PNG no more")
        rows[0]["image"] = str(path)

    run = with_labels(digits, tmp_path, broken)
    (digits / "digits" / "train" / "broken.png").write_bytes(b"\x89PNG no more")
    try:
        rows = rows_of(tmp_path / "labels.csv")
        rows[0]["image"] = str(digits / "digits" / "train" / "broken.png")
        with (tmp_path / "labels.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, rows[0].keys())
            table.writeheader()
            table.writerows(rows)
        recipe = build_recipe(open_target(run, ["cache=false"]).config)
        recipe.prepare()
    finally:
        (digits / "digits" / "train" / "broken.png").unlink()
    said = capsys.readouterr().err
    assert "left out" in said
    assert "broken.png" in said
    assert len(recipe.train_dataset()) == 239


def test_check_tells_of_a_backbone_that_does_not_exist(digits: Path, tmp_path: Path) -> None:
    report = check_run(edited(digits, tmp_path), overrides=["heads.parity.losss=focal"])
    problems = [one for result in report.results for one in result.findings if result.slug == "config-unknown-key"]
    assert "heads.parity.losss" in problems[0].message
    assert "loss" in problems[0].message


def test_check_tells_what_training_would_refuse(digits: Path, tmp_path: Path) -> None:
    wrong = ["heads.looped.column=loped", "heads.parity.column=pairity"]
    report = check_run(edited(digits, tmp_path), overrides=wrong)
    found = [one for result in report.results if result.slug == "labels-unusable" for one in result.findings]
    assert [(one.level, one.location.key) for one in found if one.location] == [
        (Level.ERROR, "heads.looped"),
        (Level.ERROR, "heads.parity"),
    ]
    assert found[0].fix is not None
    assert found[0].fix.text == "Did you mean looped?"


def test_check_tells_of_a_class_that_only_an_evaluation_would_meet(digits: Path, tmp_path: Path) -> None:
    def strange(rows: list[dict[str, str]]) -> None:
        next(row for row in rows if "/test/" in row["image"])["parity"] = "neither"

    report = check_run(with_labels(digits, tmp_path, strange))
    found = [one for result in report.results if result.slug == "labels-unusable" for one in result.findings]
    assert [one.level for one in found] == [Level.WARNING]
    assert "data.test, head parity: 1 sample of 'neither'" in found[0].message
    sound = check_run(edited(digits, tmp_path))
    assert [result.state for result in sound.results if result.slug == "labels-unusable"] == ["passed"]


def test_several_writers_share_a_cache(digits: Path, tmp_path: Path) -> None:
    import threading

    run = edited(digits, tmp_path)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            build_recipe(open_target(run, ["cache=cache"]).config).prepare()
        except (SnellenError, RunFolderError) as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    recipe = build_recipe(open_target(run, ["cache=cache"]).config)
    recipe.prepare()
    assert len(recipe.train_dataset()) == 240
