"""Few-shot recognition through the command line: check, evaluate, predict; bad input; the same totals always."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from few_shot_folders import category, class_folders, draw
from snellen.cli.main import app
from snellen.data.features import FeaturePart, part_files, write_part
from snellen.errors import SnellenError


def snellen(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Result, *words: str) -> None:
    assert isinstance(result.exception, SnellenError), f"{result.output} {result.exception!r}"
    for word in words:
        assert word in f"{result.exception} {result.exception.hint}"


def run_file(root: Path, data: str) -> Path:
    path = root / "run.yaml"
    path.write_text(f"task: fewshot\nname: small\ndata: {data}\nmodel: {{backbone: hog-colour}}\n", encoding="utf-8")
    return path


EXAMPLE = Path(__file__).parents[2] / "examples" / "fewshot.yaml"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fewshot")
    category(root / "cells", queries=10, unknown=10)
    run_file(root, "{test: cells, shots: [1, 5], validation: 0.3}")
    return root


@pytest.fixture(scope="module")
def record(project: Path) -> dict[str, object]:
    evaluated = snellen("evaluate", project / "run.yaml", "--split", "test", "--gallery", project / "errors", "--json")
    assert evaluated.exit_code == 0, f"{evaluated.output} {evaluated.exception!r}"
    found: dict[str, object] = json.loads((project / "runs" / "small" / "evaluation.json").read_text(encoding="utf-8"))
    return found


def states(*arguments: str | Path) -> dict[str, str]:
    checked = snellen("check", *arguments, "--json")
    assert checked.exit_code in (0, 1), checked.output
    return {one["slug"]: one["state"] for one in json.loads(checked.stdout)["checks"]}


def test_check_knows_the_task(project: Path) -> None:
    found = states(project / "run.yaml")
    # Queries in a folder `Unknown` are meant, and the support set of five holds that of one.
    for slug in ("support-set-short", "query-in-support", "unknown-query-class", "duplicate-image"):
        assert found[slug] == "passed", slug


def test_check_tells_of_a_support_set_without_anything_to_recognise(tmp_path: Path) -> None:
    category(tmp_path / "cells", queries=2, unknown=0)
    for image in (tmp_path / "cells" / "6.preprocessed").rglob("*.png"):
        image.unlink()
    run = run_file(tmp_path, "{test: cells, shots: [1]}")
    assert states(run)["support-set-short"] == "failed"
    category(tmp_path / "queries", queries=2, unknown=0)
    shutil.rmtree(tmp_path / "queries" / "2.support-set")
    assert states(run_file(tmp_path, "{support: cells, test: queries, shots: [1]}"))["support-set-short"] != "failed"


def test_check_tells_of_shots_that_are_not_there_and_of_empty_folders(project: Path, tmp_path: Path) -> None:
    assert states(project / "run.yaml", "data.shots=[1, 50]")["support-set-short"] == "failed"
    category(tmp_path / "cells")
    for path in (tmp_path / "cells" / "2.support-set" / "Class_blue" / "shot5").iterdir():
        path.unlink()
    checked = snellen("check", run_file(tmp_path, "{test: cells}"))
    assert "1 of 6 support folders is empty: Class_blue shot5" in checked.output
    again = snellen("evaluate", run_file(tmp_path, "{test: cells, shots: [50]}"), "--split", "test")
    refused(again, "no support set of 50 shots, only of 1, 5", "leave data.shots out")


def test_queries_of_other_classes_are_told_unless_they_are_meant(tmp_path: Path) -> None:
    category(tmp_path / "cells")
    draw(tmp_path / "cells" / "6.preprocessed" / "violet" / "0.png", "violet", 7)
    checked = snellen("check", run_file(tmp_path, "{test: cells}"))
    assert "1 of 23 (4%) queries" not in checked.output
    assert "queries are of 1 class that no support set holds: violet" in checked.output


def test_an_evaluation_tells_known_and_unknown_and_compares_with_baselines(
    project: Path, record: dict[str, object]
) -> None:
    best = record["best"]
    assert isinstance(best, dict)
    figures = best["figures"]
    assert figures["closed_accuracy"][0] > 0.9
    assert figures["closed_accuracy"][1] <= figures["closed_accuracy"][0] <= figures["closed_accuracy"][2]
    assert figures["unknown_auroc"][0] > 0.9
    assert "validation queries" in best["threshold_why"]
    assert set(record["better_than"]) == {"pixels", "colour-histogram"}  # type: ignore[call-overload]
    page = (project / "runs" / "small" / "report.html").read_text(encoding="utf-8")
    assert "Worst mistakes" in page
    assert "Shots and thresholds" in page


def test_predictions_and_record_agree(project: Path, record: dict[str, object]) -> None:
    with (project / "runs" / "small" / "predictions.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["part"] == "test"]
    best = record["best"]
    assert isinstance(best, dict)
    right = np.mean([row["truth"] == row["answer"] for row in rows])
    assert best["queries"] == len(rows)
    assert right == pytest.approx(best["figures"]["accuracy"][0])
    for row in rows:
        assert (row["answer"] == "Unknown") == (float(row["score"]) < best["threshold"])


def test_totals_do_not_depend_on_workers_cache_or_parts(
    project: Path, record: dict[str, object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from snellen.engine import part_embedder

    del record
    before = (project / "runs" / "small" / "evaluation.json").read_bytes()
    for workers, rows in ((1, 3), (4, 1024), (7, 17)):
        monkeypatch.setattr(part_embedder, "PART_ROWS", rows)
        settings = [f"data.workers={workers}", "cache=false", f"output={tmp_path / str(workers)}"]
        again = snellen("evaluate", project / "run.yaml", *settings, "--split", "test")
        assert again.exit_code == 0, again.exception
        assert (tmp_path / str(workers) / "small" / "evaluation.json").read_bytes() == before


def test_predictions_of_new_images_use_what_the_evaluation_chose(
    project: Path, record: dict[str, object], tmp_path: Path
) -> None:
    del record
    for label in ("amber", "violet"):
        for number in range(3):
            draw(tmp_path / "new" / f"{label}{number}.png", label, 500 + number)
    (tmp_path / "new" / "torn.png").write_bytes(b"\x89PNG torn")
    predicted = snellen("predict", project / "run.yaml", tmp_path / "new", "-o", tmp_path / "out")
    assert predicted.exit_code == 1
    assert "6 images recognised, 1 could not be read" in predicted.output
    with (tmp_path / "out" / "predictions.csv").open(encoding="utf-8") as file:
        answers = {Path(row["image"]).stem: row["answer"] for row in csv.DictReader(file)}
    assert {answers[f"amber{number}"] for number in range(3)} == {"Class_amber"}
    assert [answers[f"violet{number}"] for number in range(3)].count("Unknown") >= 2
    again = snellen("predict", project / "run.yaml", tmp_path / "new", "-o", tmp_path / "out", "--json")
    assert json.loads(again.stdout)["earlier"] == 6
    # Two processes may have computed the same images.
    (part,) = part_files(tmp_path / "out" / "features")
    shutil.copy(part, part.with_name("part-000001.parquet"))
    snellen("predict", project / "run.yaml", tmp_path / "new", "-o", tmp_path / "out")
    assert len((tmp_path / "out" / "predictions.csv").read_text(encoding="utf-8").splitlines()) == 1 + 6


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.filterwarnings("ignore")
def test_predictions_over_ray_are_those_of_one_process(
    project: Path, record: dict[str, object], tmp_path: Path
) -> None:
    del record
    for number in range(6):
        draw(tmp_path / "new" / f"{number}.png", "amber", 500 + number)
    for engine in ("local", "ray"):
        told = snellen("predict", project / "run.yaml", tmp_path / "new", "-o", tmp_path / engine, "--engine", engine)
        assert told.exit_code == 0, f"{told.output} {told.exception!r}"
    local, over_ray = ((tmp_path / engine / "predictions.csv").read_bytes() for engine in ("local", "ray"))
    assert local == over_ray


def test_a_prediction_without_a_threshold_says_what_to_type(project: Path, tmp_path: Path) -> None:
    draw(tmp_path / "a.png", "blue", 0)
    settings = f"output={tmp_path / 'none'}"
    refused(
        snellen("predict", project / "run.yaml", settings, tmp_path / "a.png", "-o", tmp_path / "out"),
        "no threshold was chosen yet",
        "recognition.threshold",
    )


def test_features_of_another_backbone_are_refused(project: Path, tmp_path: Path) -> None:
    write_part(tmp_path, FeaturePart(("a",), ("b",), np.ones((1, 3), np.float32), "pixels", "0123"))
    refused(
        snellen("evaluate", project / "run.yaml", f"data.features={tmp_path}", "--split", "test"), "pixels", "expected"
    )


def test_bad_images_and_copied_queries_are_said_and_the_rest_goes_on(tmp_path: Path) -> None:
    folder = category(tmp_path / "cells", queries=6)
    supports, queries = folder / "2.support-set", folder / "6.preprocessed"
    shutil.copy(supports / "Class_blue" / "shot1" / "0.png", queries / "blue" / "copy.png")
    (queries / "green" / "0.png").write_bytes(b"nothing")
    (supports / "Class_green" / "shot5" / "0.png").write_bytes(b"")
    evaluated = snellen("evaluate", run_file(tmp_path, "{test: cells}"), "--split", "test")
    assert evaluated.exit_code == 0, evaluated.exception
    assert "1 queries are in the support set as well: copy.png" in evaluated.output
    assert evaluated.output.count("not read:") == 2
    assert "Class_green has 4 of 5 examples" in evaluated.output


def test_supports_and_queries_may_lie_apart_and_episodes_may_be_drawn(tmp_path: Path) -> None:
    class_folders(tmp_path / "support", images=6)
    class_folders(tmp_path / "query", images=8, first=50)
    apart = snellen(
        "evaluate", run_file(tmp_path, "{support: support, test: query, shots: [1, 3]}"), "--split", "test", "--json"
    )
    assert apart.exit_code == 0, apart.exception
    assert json.loads(apart.stdout)["metrics"]["closed_accuracy"] > 0.8
    data = "{test: query, val: support, shots: [1, 3], episodes: {ways: 2, queries: 3, count: 8, unknown: 1}}"
    drawn = snellen("evaluate", run_file(tmp_path, data), "--split", "test", "--json")
    assert drawn.exit_code == 0, drawn.exception
    assert json.loads(drawn.stdout)["metrics"]["queries"] == 8 * 9


@pytest.mark.parametrize("centre", ["true", "false"])
def test_the_grid_of_thresholds_lies_where_similarities_are(project: Path, tmp_path: Path, centre: str) -> None:
    settings = [f"recognition.centre={centre}", f"output={tmp_path}", "recognition.baselines=[]"]
    evaluated = snellen("evaluate", project / "run.yaml", *settings, "--split", "test")
    assert evaluated.exit_code == 0, evaluated.exception
    cells = json.loads((tmp_path / "small" / "evaluation.json").read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        rejected = [row["unknown"] for row in cell["grid"]]
        assert [row["threshold"] for row in cell["grid"]] == [row["threshold"] for row in cells[0]["grid"]]
        assert min(rejected) < 0.3
        assert max(rejected) > 0.7
        assert len(set(rejected)) > 3
    snellen("evaluate", project / "run.yaml", *settings, "recognition.thresholds=[0.1, 0.8]", "--split", "test")
    cells = json.loads((tmp_path / "small" / "evaluation.json").read_text(encoding="utf-8"))["cells"]
    assert [row["threshold"] for row in cells[0]["grid"]] == [0.1, 0.8]


@pytest.mark.parametrize("part", ["2.support-set", "6.preprocessed"])
def test_an_evaluation_in_which_nothing_can_be_read_is_refused(tmp_path: Path, part: str) -> None:
    category(tmp_path / "cells")
    for path in (tmp_path / "cells" / part).rglob("*.png"):
        path.write_bytes(b"")
    refused(
        snellen("evaluate", run_file(tmp_path, "{test: cells}"), "--split", "test"), "no query", "is empty", "check"
    )


def test_an_evaluation_without_validation_queries_says_that_nothing_is_rejected(tmp_path: Path) -> None:
    category(tmp_path / "cells")
    evaluated = snellen("evaluate", run_file(tmp_path, "{test: cells, validation: 0}"), "--split", "test")
    assert evaluated.exit_code == 0, evaluated.exception
    assert "none is rejected" in evaluated.output


def test_sizes_of_a_support_set_do_not_bind_drawn_episodes(tmp_path: Path) -> None:
    category(tmp_path / "cells")
    data = "{test: cells, shots: [1, 5], episodes: {ways: 3, queries: 2, count: 4}}"
    evaluated = snellen("evaluate", run_file(tmp_path, data), "--split", "test")
    assert evaluated.exit_code == 0, evaluated.exception
    assert "has 0 of" not in evaluated.output


def test_features_of_another_width_are_refused(project: Path, tmp_path: Path) -> None:
    from snellen.models.backbones.embedders import load_embedder

    embedder = load_embedder("hog-colour")
    names = tuple(str(path) for path in (project / "cells").rglob("*.png"))
    part = FeaturePart(names, names, np.ones((len(names), 7), np.float32), embedder.name, embedder.fingerprint)
    write_part(tmp_path / "features", part)
    settings = [f"data.features={tmp_path / 'features'}", "--split", "test"]
    refused(snellen("evaluate", project / "run.yaml", *settings), "vectors of 7 numbers", f"makes {embedder.width}")
    write_part(tmp_path / "features", replace(part, vectors=np.ones((len(names), 8), np.float32)))
    refused(snellen("evaluate", project / "run.yaml", *settings), "7 and 8 numbers", "one width")


def test_the_example_runs(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path)
    category(tmp_path / "cells", shots=[5])
    evaluated = snellen("evaluate", tmp_path / EXAMPLE.name, "--split", "test")
    assert evaluated.exit_code == 0, evaluated.exception
    assert "closed_accuracy" in evaluated.output


def test_the_table_of_classes_goes_round(project: Path, tmp_path: Path) -> None:
    table = tmp_path / "truth.csv"
    written = snellen("fewshot", "truth", project / "run.yaml", "-o", table)
    assert written.exit_code == 0, written.exception
    evaluated = snellen(
        "evaluate", project / "run.yaml", f"data.truth={table}", f"output={tmp_path}", "--split", "test"
    )
    assert evaluated.exit_code == 0, evaluated.exception
    table.write_text(table.read_text(encoding="utf-8").replace(",Class_blue", ",Class_bleu"), encoding="utf-8")
    refused(snellen("evaluate", project / "run.yaml", f"data.truth={table}", "--split", "test"), "Class_bleu", "line")


def test_boxes_become_folders_of_classes(tmp_path: Path) -> None:
    draw(tmp_path / "data" / "images" / "photo.png", "blue", 0)
    (tmp_path / "data" / "annotations").mkdir()
    box = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>2</ymin><xmax>{}</xmax><ymax>14</ymax></bndbox></object>"
    content = "<annotation><filename>photo.png</filename><size><width>24</width><height>24</height></size>"
    content += box.format("cell", 2, 14) + box.format("dust", 8, 20) + box.format("cell", 9, 9) + "</annotation>"
    (tmp_path / "data" / "annotations" / "photo.xml").write_text(content, encoding="utf-8")
    cut = snellen("fewshot", "crop", tmp_path / "data", "-o", tmp_path / "crops", "--json")
    assert cut.exit_code == 0, cut.exception
    assert json.loads(cut.stdout)["counts"] == {"cell": 1, "dust": 1}
    assert "has no area" in json.loads(cut.stdout)["problems"][0]
    assert (tmp_path / "crops" / "cell" / "photo_crop_0.png").is_file()
    refused(snellen("fewshot", "crop", tmp_path / "crops", "-o", tmp_path / "more"), "holds no boxes")
