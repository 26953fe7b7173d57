"""Embedding through the command line: what it leaves on disk, what it says, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as tables
import pytest
from typer.testing import CliRunner, Result

from pictures import make_pictures
from snellen.cli.main import app
from snellen.data.features import FeaturePart, part_files, read_features, read_part, write_part
from snellen.errors import ConfigError, DataError, RunFolderError, SnellenError, UsageError, WeightsError
from snellen.tasks.check import check_run
from snellen.tasks.target import open_target


def snellen(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    return make_pictures(tmp_path / "photos", 24)


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text("task: embed\nmodel: {backbone: hog}\ndevice: cpu\ncache: false\n", encoding="utf-8")
    return path


def test_a_run_file_embeds_folders_lists_and_shards(photos: list[Path], run_file: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("photos/00003.png\nphotos/00004.png\n", encoding="utf-8")
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        shard.add(photos[5], "five.png")
    out = tmp_path / "out"
    result = snellen("predict", run_file, tmp_path / "shard.tar", tmp_path / "list.txt", photos[0].parent, "-o", out)
    assert result.exit_code == 0, result.output
    assert "25 images embedded" in result.output
    features = read_features(out)
    assert features.names[:3] == (f"{tmp_path / 'shard.tar'}::five.png", str(photos[3]), str(photos[4]))
    assert np.array_equal(features.vectors[0], features.vectors[features.names.index(str(photos[5]))])
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert page.count("<image ") == 25
    assert "images/s" in page
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert (summary["done"], summary["width"], summary["backbone"]) == (25, 768, "hog")


def test_the_example_runs(photos: list[Path], tmp_path: Path) -> None:
    example = Path(__file__).parents[3] / "examples" / "embed.yaml"
    result = snellen(
        "predict", example, photos[0].parent, "model.backbone=pixels", "cache=false", "-o", tmp_path / "out"
    )
    assert result.exit_code == 0, f"{result.output} {result.exception!r}"
    assert "24 images embedded" in result.output


def test_files_that_cannot_be_read_are_named_and_end_with_code_1(photos: list[Path], tmp_path: Path) -> None:
    photos[2].write_bytes(photos[2].read_bytes()[:100])
    photos[4].write_text("<html>moved</html>")
    out = tmp_path / "out"
    first = snellen("embed", photos[0].parent, "-o", out, "--backbone", "hog", "--device", "cpu", "--json")
    assert first.exit_code == 1
    told = json.loads(first.stdout)
    assert (told["done"], told["failed"]) == (22, 2)
    assert {Path(one["path"]).name for one in told["unread"]} == {"00002.png", "00004.png"}
    listed = [json.loads(line) for line in (out / "unread.jsonl").read_text(encoding="utf-8").splitlines()]
    assert listed == told["unread"]
    photos[2].write_bytes(photos[3].read_bytes())
    again = snellen("embed", photos[0].parent, "-o", out, "--backbone", "hog", "--device", "cpu")
    assert again.exit_code == 1
    assert "1 images embedded" in again.output
    assert "22 done before, 1 could not be read" in again.output
    assert "not read: " in again.output
    assert "next: mend these files" in again.output
    assert "HTML page" in again.output


def test_what_had_to_be_changed_in_pictures_is_said(photos: list[Path], tmp_path: Path) -> None:
    from PIL import Image

    odd = tmp_path / "odd"
    odd.mkdir()
    for number in range(2):
        Image.open(photos[number]).convert("CMYK").save(odd / f"ink{number}.jpg")
    Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64)).save(odd / "deep.png")
    Image.fromarray(np.full((64, 64), np.nan, np.float32)).save(odd / "nothing.tiff")
    result = snellen("embed", odd, photos[2], "-o", tmp_path / "out", "--backbone", "hog", "--cache", "off")
    assert result.exit_code == 1, result.output
    assert "2 images, CMYK converted to RGB" in result.output
    assert "1 image, values of 12 bits scaled to 8" in result.output
    assert "nothing.tiff (64 x 64) shows nothing: all its values are NaN or infinite" in result.output
    assert [line.partition(":")[0] for line in result.output.splitlines()].count("next") == 1
    assert result.output.splitlines()[-1].startswith("next: mend these files")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert summary["conversions"]["CMYK converted to RGB"] == 2
    assert "CMYK converted to RGB" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_limit_and_a_cache(photos: list[Path], tmp_path: Path) -> None:
    for out, cached in (("a", 0), ("b", 10)):
        result = snellen(
            "embed", photos[0].parent, "-o", tmp_path / out, "--backbone", "pixels", "--limit", "10",
            "--cache", tmp_path / "cache", "--json",
        )  # fmt: skip
        told = json.loads(result.stdout)
        assert (result.exit_code, told["done"], told["cached"]) == (0, 10, cached)
    assert not result.stderr
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    told = snellen(
        "embed", photos[0].parent, "-o", tmp_path / "c", "--backbone", "pixels", "--cache", tmp_path / "file"
    )
    assert told.exit_code == 0
    assert "note: the cache does not help: " in told.output


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (["{gone}"], DataError, "does not exist"),
        (["{photos}", "--device", "cuda:77"], UsageError, "cannot be used"),
        (["{photos}", "--backbone", "resnet5000"], SnellenError, "resnet5000"),
        (["{photos}", "--backbone", "torchvision:resnet18", "--weights", "{gone}"], WeightsError, "gone"),
        (["{photos}", "--engine", "spark"], UsageError, "expected local or ray"),
        (["{photos}", "--workers", "9", "--backbone", ""], ConfigError, "model.backbone"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    photos: list[Path], tmp_path: Path, arguments: list[str], kind: type[SnellenError], words: str
) -> None:
    filled = [one.format(photos=photos[0].parent, gone=tmp_path / "gone") for one in arguments]
    backbone = [] if "--backbone" in filled else ["--backbone", "hog"]
    result = snellen("embed", *filled, *backbone, "-o", tmp_path / "out")
    assert isinstance(result.exception, kind), result.exception
    assert words in str(result.exception)


def test_weights_that_cannot_be_fetched_are_told_with_the_ways_that_are_left(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    result = snellen("embed", photos[0].parent, "-o", tmp_path / "out", "--backbone", "resnet10t")
    assert isinstance(result.exception, WeightsError)
    text = str(result.exception)
    assert "could not be fetched" in text
    assert "--weights FILE" in text
    assert "--no-pretrained" in text


def test_another_backbone_needs_another_folder(photos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert snellen("embed", photos[0], "-o", out, "--backbone", "hog").exit_code == 0
    result = snellen("embed", photos[0], "-o", out, "--backbone", "pixels")
    assert isinstance(result.exception, RunFolderError)
    assert "holds features of hog" in str(result.exception)


def test_a_check_of_the_run_file_asks_its_facts(run_file: Path) -> None:
    report = check_run(run_file)
    assert not report.findings
    config = open_target(run_file).config
    assert config.model_dump()["cache"] is False


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(photos: list[Path], tmp_path: Path) -> None:
    listed = tmp_path / "many.parquet"
    import pyarrow as pa
    import pyarrow.parquet as tables

    content = photos[0].read_bytes()
    tables.write_table(pa.table({"image": [content] * 30_000}), listed)
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "snellen",
        "embed",
        str(listed),
        "-o",
        str(out),
        "--backbone",
        "hog",
        "--cache",
        "off",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        until = time.monotonic() + 120
        while not part_files(out) and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(running.pid, signal.SIGINT)
        _, told = running.communicate(timeout=120)
    assert running.returncode == 130, told
    assert "are kept in" in told
    assert "the same command goes on from there" in told
    kept = len(read_features(out).names)
    limited = snellen(
        "embed", listed, "-o", out, "--backbone", "hog", "--cache", "off", "--limit", str(kept + 5), "--json"
    )
    assert json.loads(limited.stdout)["earlier"] == kept
    assert json.loads(limited.stdout)["done"] == 5


def test_names_that_are_no_text_are_told_and_written(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"gone\xff.png\nwith\0nothing.png\n")
    result = snellen("embed", tmp_path / "list.txt", "-o", tmp_path / "out", "--backbone", "pixels", "--cache", "off")
    assert result.exit_code == 1, repr(result.exception)
    assert "2 could not be read" in result.output
    assert json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))["failed"] == 2


def test_a_part_of_another_backbone_or_none_at_all_is_refused(photos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    command: list[str | Path] = ["embed", photos[0].parent, "-o", out, "--backbone", "pixels", "--cache", "off"]
    assert snellen(*command).exit_code == 0
    (own,) = part_files(out)
    other = FeaturePart(("a.png",), ("ab",), np.ones((1, 3), np.float32), "hog", "0123")
    strange = write_part(out, other, number=7)
    refused = snellen(*command)
    assert isinstance(refused.exception, RunFolderError)
    assert "features of hog (0123)" in str(refused.exception)
    strange.unlink()
    table = tables.read_table(own)
    for broken, words in (
        (table.replace_schema_metadata({}), "do not say which backbone"),
        (table.drop_columns(["path"]), "path"),
        (table.set_column(0, "path", pa.array([None] * len(table), pa.string())), "24 of 24 rows name no image"),
    ):
        tables.write_table(broken, own)
        refused = snellen(*command)
        assert isinstance(refused.exception, DataError), repr(refused.exception)
        assert words in str(refused.exception)
        assert "delete it" in str(refused.exception.hint)


def test_damaged_vectors_are_left_out_of_the_map(photos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    command: list[str | Path] = ["embed", photos[0].parent, "-o", out, "--backbone", "pixels", "--cache", "off"]
    assert snellen(*command).exit_code == 0
    (own,) = part_files(out)
    table = tables.read_table(own)
    vectors = read_part(own).vectors.copy()
    vectors[3] = np.nan
    damaged = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    broken = table.set_column(2, "embedding", damaged).replace_schema_metadata(table.schema.metadata)
    tables.write_table(broken, own)
    assert snellen(*command).exit_code == 0
    assert (out / "report.html").read_text(encoding="utf-8").count("<image ") == 23


def test_what_has_no_weights_and_what_is_no_folder_is_said(photos: list[Path], tmp_path: Path) -> None:
    given = snellen("embed", photos[0], "-o", tmp_path / "out", "--backbone", "hog", "--weights", photos[0])
    assert isinstance(given.exception, UsageError), repr(given.exception)
    assert "hog has no weights" in str(given.exception)
    onto = snellen("embed", photos[0], "-o", photos[1], "--backbone", "hog", "--cache", "off")
    assert isinstance(onto.exception, RunFolderError)
    assert "is a file, expected a folder" in str(onto.exception)
