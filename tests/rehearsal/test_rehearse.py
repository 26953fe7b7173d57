"""The life of a run in other processes: gone through whole, and every failure told, also those that end a process."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from snellen.cli.main import main
from snellen.core.facts.data import FolderAudit, ImageRecord, Sample
from snellen.core.finding import State
from snellen.rehearsal import rehearse
from snellen.rehearsal.selection import choose, copy_few
from snellen.rehearsal.stages import STAGES


@pytest.fixture(scope="module")
def project(tmp_path_factory, photo):
    """A run on ten images cut from photographs, with masks."""
    root = tmp_path_factory.mktemp("project")
    for split, name in (("train", "astronaut"), ("val", "coffee")):
        for kind in ("forged", "masks", "authentic"):
            (root / "data" / split / kind).mkdir(parents=True)
        picture = Image.fromarray(photo(name))
        for number in range(5):
            size = (96 + 8 * number, 80)
            part = picture.crop((20 * number, 30, 20 * number + size[0], 30 + size[1]))
            part.save(root / "data" / split / "authentic" / f"{split}{number}.png")
            part.paste(part.crop((0, 0, 24, 24)), (50, 40))
            part.save(root / "data" / split / "forged" / f"{split}{number}.png")
            mask = Image.new("L", size, 0)
            mask.paste(255, (50, 40, 74, 64))
            mask.save(root / "data" / split / "masks" / f"{split}{number}.png")
    (root / "run.yaml").write_text(
        "task: forgery\nname: small\n"
        "data: {train: data/train, val: data/val, layout: forged-masks, image_size: 64, workers: 0}\n"
        "model: {detector: net, backbone: resnet10t, max_stride: 4, pretrained: false, tile: 64}\n"
        "optim: {lr: 1e-3, epochs: 40, batch_size: 32, accumulate: 4}\n"
        "precision: fp32\ntrack: {tensorboard: false}\n"
    )
    return root


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def scratch_folders():
    return set(Path(tempfile.gettempdir()).glob("snellen-rehearsal-*"))


def test_a_whole_life_passes_and_leaves_nothing_behind(project, monkeypatch, capsys):
    before, scratch = tree(project), scratch_folders()
    monkeypatch.setattr(
        sys, "argv", ["snellen", "check", str(project / "run.yaml"), "--select", "config", "--rehearse", "--json"]
    )
    with pytest.raises(SystemExit) as end:
        main()
    data = json.loads(capsys.readouterr().out)
    assert end.value.code == 0
    stages = {check["slug"]: check for check in data["checks"] if check["family"] == "rehearsal"}
    assert list(stages) == [stage.slug for stage in STAGES.values()]
    assert {slug: check["state"] for slug, check in stages.items() if check["state"] != "passed"} == {
        "rehearse-code": "not-applicable"
    }
    assert "killed with SIGKILL in the third" in stages["rehearse-train"]["reason"]
    assert "went on after step 2 and finished 3 steps" in stages["rehearse-resume"]["reason"]
    assert "safetensors, torch.export" in stages["rehearse-export"]["reason"]
    assert sum(data["counts"].values()) == len(data["checks"])
    assert tree(project) == before
    assert scratch_folders() == scratch


SABOTAGE = """
import ctypes
from snellen.tasks.forgery import predict, recipe

def validation(self, model, batch):
    raise RuntimeError("value cannot be converted to type at::Half without overflow")

def training(self, model, batch):
    ctypes.string_at(0)

recipe.ForgeryRecipe.evaluation_step = validation
recipe.ForgeryRecipe.training_step = training
"""


def test_every_failure_is_told_and_none_hides_another(project, tmp_path, monkeypatch):
    """Training ends its process with a segmentation fault, validation raises, the run's code has two mistakes."""
    (tmp_path / "sitecustomize.py").write_text(SABOTAGE)
    (tmp_path / "mine.py").write_text("import surely_not_installed\n")
    (tmp_path / "broken.py").write_text("def f(:\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    run_file = project / "run.yaml"
    overrides = [f"code=[{tmp_path / 'mine.py'}, {tmp_path / 'broken.py'}]"]
    scratch = scratch_folders()
    results, _ = rehearse(run_file, overrides=overrides)
    found = {result.slug: result for result in results}
    assert {slug: result.state for slug, result in found.items() if result.state is not State.PASSED} == {
        "rehearse-code": State.FAILED,
        "rehearse-validate": State.FAILED,
        "rehearse-train": State.FAILED,
        "rehearse-resume": State.SKIPPED,
        "rehearse-export": State.WARNED,
    }
    said = {slug: [finding.message for finding in result.findings] for slug, result in found.items()}
    assert any("surely_not_installed" in message for message in said["rehearse-code"])
    assert any("SyntaxError" in message for message in said["rehearse-code"])
    assert found["rehearse-validate"].findings[0].slug == "half-overflow"
    assert "SIGSEGV" in said["rehearse-train"][0]
    assert "rehearse-train did not come through" in found["rehearse-resume"].reason
    assert "with untrained weights" not in found["rehearse-predict"].reason
    assert scratch_folders() == scratch


def test_a_stage_that_hangs_is_a_note_and_settings_that_are_wrong_end_it(project, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import time\nfrom snellen.tasks import target\n"
        "target.open_target = lambda *a, **k: time.sleep(100)\n"
    )  # fmt: skip
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    results, seconds = rehearse(project / "run.yaml", stage_seconds=2.0)
    assert seconds < 60
    assert results[0].state is State.WARNED
    assert "not through after 2 s" in results[0].findings[0].message
    assert {result.state for result in results[1:]} == {State.SKIPPED}
    monkeypatch.delenv("PYTHONPATH")
    results, _ = rehearse(project / "run.yaml", overrides=["optim.lr=0"])
    assert results[0].state is State.FAILED
    assert "optim.lr" in results[0].findings[0].message
    assert {result.reason for result in results[1:]} == {"rehearse-settings did not come through"}


def record(path, height, width, problem=""):
    return ImageRecord(path, 9, height=height, width=width, problem=problem)


def test_the_samples_that_break_things_first_are_chosen(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    (tmp_path / "empty").mkdir()
    sizes = {f"cat/{n}.png": (100, 100) for n in range(50)} | {
        "cat/large.png": (900, 900), "cat/long.png": (10, 400), "cat/small.png": (3, 3), "dog/0.png": (50, 50),
        "cat/bad.png": (9000, 9000),
    }  # fmt: skip
    for name in sizes:
        (tmp_path / name).write_bytes(b"pixels")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    samples = tuple(Sample(str(tmp_path / name), label=name[:3]) for name in sizes)
    images = {
        str(tmp_path / name): record(name, *size, problem="torn" if "bad" in name else "")
        for name, size in sizes.items()
    }
    audit = FolderAudit("data.train", str(tmp_path), "class-folders", samples=samples, images=images)
    chosen = choose(audit, 6)
    names = {Path(sample.image).relative_to(tmp_path).as_posix() for sample in chosen}
    assert {"cat/large.png", "cat/long.png", "cat/small.png", "dog/0.png"} <= names
    assert "cat/bad.png" not in names
    assert len(names) <= 9
    copy = copy_few(audit, chosen, tmp_path.parent / "copy")
    assert {os.path.relpath(path, copy) for path in copy.rglob("*") if path.is_file()} == names | {"classes.txt"}
    assert (copy / "empty").is_dir()


def test_frames_of_a_sequence_come_together(tmp_path):
    samples = tuple(Sample(str(tmp_path / f"{n}.png"), group="a", index=n) for n in range(100))
    audit = FolderAudit("data.train", str(tmp_path), "frames", samples=samples)
    assert len(choose(audit, 1)) == 13
