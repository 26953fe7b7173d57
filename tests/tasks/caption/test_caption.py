"""Captions through the command line, on a tiny Florence-2: complete, resumable, one model at a time, and bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from florence_at_hand import save_florence
from pictures import make_pictures
from snellen.cli.main import app
from snellen.data.captions import read_captions
from snellen.data.features import part_files, read_features
from snellen.data.sources import open_sources
from snellen.engine.captioning import CaptionSettings, caption_images
from snellen.errors import DataError, RunFolderError, UsageError
from snellen.models.captioning.florence import Captioner, load_captioner
from snellen.models.captioning.prompts import parse_prompt
from snellen.tasks.caption.memory import Held, measured, released
from snellen.tasks.check import check_run

PROMPTS = (parse_prompt("caption"), parse_prompt("objects"))
SETTINGS = CaptionSettings(batch_size=4, rows=8, max_tokens=12, beams=2, features=True)


def snellen(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_florence(tmp_path_factory.mktemp("florence"))


@pytest.fixture(scope="module")
def captioner(weights: Path) -> Captioner:
    return load_captioner("florence", weights=weights)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("photos"), 21)[0].parent


@pytest.fixture
def run_file(weights: Path, tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(
        f"task: caption\nmodel: {{weights: {weights}}}\nprompts: [caption, objects]\ndevice: cpu\ncache: false\n"
        "generation: {max_tokens: 12, beams: 2}\nfeatures: true\n",
        encoding="utf-8",
    )
    return path


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in part_files(folder)}


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_words_boxes_and_vectors_of_every_image(run_file: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = snellen("predict", run_file, photos, "-o", out)
    assert result.exit_code == 0, f"{result.output} {result.exception!r}"
    assert "21 images asked 2 prompts (caption, objects)" in result.output
    lines = lines_of(out / "captions.jsonl")
    assert [Path(line["path"]).name for line in lines] == [f"{number:05d}.png" for number in range(21)]
    assert {(line["width"], line["height"]) for line in lines} == {(40, 32)}
    assert all(set(line["objects"]) == {"text", "regions", "complete"} for line in lines)
    rows = list(read_captions(out / "captions"))
    assert all(row.vector is not None and row.vector.shape == (32,) for row in rows)
    assert read_features(out / "captions").vectors.shape == (21, 32)
    cut = [line for line in lines if not line["caption"]["complete"]]
    assert f"{len(cut)} answers to caption were cut at generation.max_tokens" in result.output


def test_the_example_runs(weights: Path, photos: Path, tmp_path: Path) -> None:
    example = Path(__file__).parents[3] / "examples" / "caption.yaml"
    few = [f"model.weights={weights}", "generation.max_tokens=4", "generation.beams=1", "device=cpu"]
    result = snellen("predict", example, photos, "-o", tmp_path / "out", "--limit", "3", *few)
    assert result.exit_code == 0, f"{result.output} {result.exception!r}"
    assert "3 images asked 3 prompts (caption, objects, find: a red car)" in result.output


def test_a_run_file_is_checked(run_file: Path) -> None:
    report = check_run(run_file)
    assert not [result for result in report.results if result.state.value in {"failed", "crashed"}]


def test_batches_and_workers_change_no_answer(captioner: Captioner, photos: Path, tmp_path: Path) -> None:
    texts = []
    for batch, workers in ((4, 1), (3, 4), (8, 2)):
        folder = tmp_path / str(batch)
        settings = CaptionSettings(batch_size=batch, workers=workers, rows=10, max_tokens=12, beams=2)
        caption_images(open_sources([photos]), captioner, PROMPTS, folder, settings=settings)
        texts.append([row.answers for row in read_captions(folder)])
    assert texts[0] == texts[1] == texts[2]


def test_what_is_done_is_passed_over_and_what_is_broken_is_tried_again(
    captioner: Captioner, photos: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "some", tmp_path / "out"
    folder.mkdir()
    for path in sorted(photos.iterdir())[:10]:
        (folder / path.name).write_bytes(path.read_bytes())
    good = (folder / "00004.png").read_bytes()
    (folder / "00004.png").write_bytes(b"no picture")
    first = caption_images(open_sources([folder]), captioner, PROMPTS, out, settings=SETTINGS)
    assert (first.done, [Path(one.name).name for one in first.unread]) == (9, ["00004.png"])
    before = content_of(out)
    again = caption_images(open_sources([folder]), captioner, PROMPTS, out, settings=SETTINGS)
    assert (again.done, again.earlier, len(again.unread)) == (0, 9, 1)
    assert content_of(out) == before
    (folder / "00004.png").write_bytes(good)
    mended = caption_images(open_sources([folder]), captioner, PROMPTS, out, settings=SETTINGS)
    assert (mended.done, mended.unread) == (1, [])
    assert len({row.name for row in read_captions(out)}) == 10


def test_answers_of_another_model_or_prompt_are_not_mixed(captioner: Captioner, photos: Path, tmp_path: Path) -> None:
    settings = CaptionSettings(limit=2, max_tokens=4, beams=1)
    caption_images(open_sources([photos]), captioner, PROMPTS, tmp_path, settings=settings)
    with pytest.raises(RunFolderError, match=r"holds features of .* expected"):
        caption_images(open_sources([photos]), captioner, PROMPTS[:1], tmp_path, settings=settings)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("can't allocate memory")]
)
def test_a_pass_that_does_not_fit_is_split(
    error: Exception, captioner: Captioner, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = tmp_path / "expected"
    caption_images(open_sources([photos]), captioner, PROMPTS, expected, settings=SETTINGS)
    vision = captioner.network.model.vision_tower

    def refuse(_module: Any, arguments: tuple[torch.Tensor, ...]) -> None:
        if len(arguments[0]) > 2:
            raise error

    handle = vision.register_forward_pre_hook(refuse)
    try:
        report = caption_images(open_sources([photos]), captioner, PROMPTS, tmp_path / "split", settings=SETTINGS)
    finally:
        handle.remove()
    assert report.splits == 1
    answers = [[row.answers for row in read_captions(place)] for place in (expected, tmp_path / "split")]
    assert answers[0] == answers[1]


def test_not_even_one_picture_fits(captioner: Captioner, photos: Path, tmp_path: Path) -> None:
    def refuse(_module: Any, _arguments: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    handle = captioner.network.model.vision_tower.register_forward_pre_hook(refuse)
    try:
        with pytest.raises(UsageError, match="not even one picture fits"):
            caption_images(open_sources([photos]), captioner, PROMPTS, tmp_path, settings=SETTINGS)
    finally:
        handle.remove()


def test_stages_run_one_after_the_other_and_leave_nothing(run_file: Path, photos: Path, tmp_path: Path) -> None:
    run_file.write_text(
        run_file.read_text() + "stages:\n  - {backbone: resnet10t, pretrained: false}\n  - {backbone: hog}\n"
    )
    out = tmp_path / "out"
    result = snellen("predict", run_file, photos, "-o", out, "--limit", "6")
    assert result.exit_code == 0, f"{result.output} {result.exception!r}"
    stages = json.loads((out / "summary.json").read_text(encoding="utf-8"))["stages"]
    assert [stage["name"] for stage in stages] == ["resnet10t", "hog", "captions"]
    network, _, captions = stages
    assert network["during"]["tensors"] - network["before"]["tensors"] > 15_000_000
    assert all(stage["alive"] == 0 for stage in stages)
    assert all(stage["after"]["tensors"] - stage["before"]["tensors"] < 1_000_000 for stage in stages)
    assert captions["during"]["tensors"] < network["during"]["tensors"]
    assert read_features(out / "features-resnet10t").names == tuple(
        line["path"] for line in lines_of(out / "captions.jsonl")
    )
    assert read_features(out / "features-hog").vectors.shape == (6, 768)


def test_weights_that_somebody_holds_are_seen() -> None:
    network = torch.nn.Linear(600, 600)
    held, before = Held(network), measured("cpu")
    kept = network.weight
    del network
    assert held.alive == 1
    assert released("cpu").tensors <= before.tensors
    del kept
    assert held.alive == 0


def test_memory_does_not_grow_with_the_images(captioner: Captioner, tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "many", 60)[0].parent
    live: dict[int, int] = {}

    def tell(report: Any) -> None:
        if report.done not in live:
            live[report.done] = measured("cpu").tensors

    settings = CaptionSettings(batch_size=8, rows=12, max_tokens=4, beams=1, features=True)
    caption_images(open_sources([folder]), captioner, PROMPTS, tmp_path / "out", settings=settings, progress=tell)
    ahead = 3 * 8 * 3 * captioner.side**2 * 4
    assert len(live) >= 5
    assert max(live.values()) - min(live.values()) <= ahead


PROGRAM = """
import sys
from pathlib import Path
from snellen.data.sources import open_sources
from snellen.engine.captioning import CaptionSettings, caption_images
from snellen.models.captioning.florence import load_captioner
from snellen.models.captioning.prompts import parse_prompt

captioner = load_captioner("florence", weights=Path(sys.argv[1]))
settings = CaptionSettings(batch_size=4, rows=8, max_tokens=12, beams=2, features=True)
prompts = (parse_prompt("caption"), parse_prompt("objects"))
print("ready", flush=True)
caption_images(open_sources([sys.argv[2]]), captioner, prompts, Path(sys.argv[3]), settings=settings)
"""


@pytest.mark.parametrize("parts", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_a_killed_process_loses_the_part_in_hand_only(
    parts: int, captioner: Captioner, weights: Path, photos: Path, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    caption_images(open_sources([photos]), captioner, PROMPTS, whole, settings=SETTINGS)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(weights), str(photos), str(out)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    while len(part_files(out)) < parts and process.poll() is None:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    kept = content_of(out)
    assert len(kept) >= parts
    report = caption_images(open_sources([photos]), captioner, PROMPTS, out, settings=SETTINGS)
    assert report.earlier == sum(8 if name != "part-000002.parquet" else 5 for name in kept)
    assert content_of(out) == content_of(whole)
    assert not list(out.glob(".part-*"))


def test_bad_input_ends_with_one_line(run_file: Path, photos: Path, tmp_path: Path) -> None:
    def refused(*overrides: str) -> tuple[str, str]:
        with pytest.raises((UsageError, DataError)) as error:
            CliRunner().invoke(
                app, ["predict", str(run_file), str(photos), "-o", str(tmp_path / "o"), *overrides],
                catch_exceptions=False,
            )  # fmt: skip
        return error.value.message, error.value.hint or ""

    several = refused("prompts=[captoin,find,objects]")[0]
    assert "did you mean caption?" in several
    assert "the prompt find needs a text" in several
    assert "expected a list that is not empty" in refused("prompts=[]")[0]
    assert "is not there" in refused("model.weights=nowhere")[0]
    assert "PART.txt" in refused("--engine", "ray")[1]
    assert "cannot be used" in refused("device=cuda:7")[0]


def test_what_captions_cannot_do_is_answered_with_what_they_can(run_file: Path, photos: Path, tmp_path: Path) -> None:
    for verb in ("train", "evaluate"):
        with pytest.raises(UsageError, match="the task caption has no") as error:
            CliRunner().invoke(app, [verb, str(run_file)], catch_exceptions=False)
        assert error.value.hint == "snellen predict RUN.yaml IMAGES -o OUT"
    assert f"next: snellen predict {run_file} IMAGES -o OUT" in snellen("check", run_file).stdout
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(RunFolderError, match="expected a folder"):
        CliRunner().invoke(
            app, ["predict", str(run_file), str(photos), "-o", str(tmp_path / "out")], catch_exceptions=False
        )


def test_a_disk_that_is_full_is_said(captioner: Captioner, photos: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(RunFolderError, match="cannot write"):
        caption_images(open_sources([photos]), captioner, PROMPTS, Path("/dev/full/out"), settings=SETTINGS)
