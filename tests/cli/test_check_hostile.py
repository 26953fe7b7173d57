"""Bad input of `snellen check`: each is said in one line, nothing hangs, and what can be checked is checked."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from rights import as_nobody
from snellen.check.alive import problems_of
from snellen.check.plan import RunPlan
from snellen.check.runner import CheckSettings, run_checks
from snellen.cli.main import main
from snellen.core.plan import FactUnavailable
from snellen.rules.catalogue import catalogue

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")


@pytest.fixture
def snellen(monkeypatch, capsys):
    """Runs the command line in this process; gives exit code, stdout and stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["snellen", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return call


@pytest.fixture
def project(tmp_path):
    for split in ("train", "val"):
        for kind in ("forged", "masks", "authentic"):
            folder = tmp_path / split / kind
            folder.mkdir(parents=True)
            for number in range(3):
                colour = (number * 40, 90 if split == "val" else 10, len(kind) * 9)
                mask = Image.new("L", (48, 40), 0)
                mask.paste(255, (5, 5, 20, 20))
                image = mask if kind == "masks" else Image.radial_gradient("L").resize((48, 40)).convert("RGB")
                if kind != "masks":
                    image.paste(colour, (number, 2, 9 + number, 12))
                image.save(folder / f"{split}-{number}.png")
    (tmp_path / "run.yaml").write_text("task: forgery\ndata: {train: train, val: val}\n")
    return tmp_path


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"task: [forgery\n", "not valid YAML"),
        (b"\x7fELF\x02\x01\x00\x00" * 50, "binary"),
        (b"task: forgery\nname: \xff\xfe\n", "not UTF-8"),
        (b"task: forgery\n" + b"#" * 400_000, "larger than"),
        (b"task: forgery\n" + BOMB.encode(), "once its aliases are followed"),
        (b"task: &t\n  a: *t\n", "once its aliases are followed"),
        (b"[" * 5000, "YAML"),
        (b"task: !!python/object/apply:os.system [echo]\n", "task is None"),
        (b"- task: forgery\n", "a list"),
        (b"task: forgry\n", "did you mean forgery"),
        (b"", "no `task`"),
        ("task: forgery\n".encode("utf-16"), "UTF-16 text, expected UTF-8"),
        ("task: forgery\n".encode("utf-16-be"), "UTF-16BE text, expected UTF-8"),
        ("task: forgery\n".encode("utf-32"), "UTF-32 text, expected UTF-8"),
        (b"task:\tforgery\n", "this file has tabs"),
        (b"task: forgery\nname: *gone\n", "undefined alias 'gone'"),
        (b"task: forgery\n---\ntask: forgery\n", "another document"),
        (b"task: forgery\n# " + b"x" * 50_000_000, "larger than"),
    ],
    ids=[
        "broken", "binary", "not-utf8", "huge", "billion-laughs", "self-reference", "deep", "tag", "list", "task",
        "empty", "utf-16", "utf-16-without-mark", "utf-32", "tabs", "alias", "two-documents", "50-mb",
    ],
)  # fmt: skip
def test_a_run_file_that_is_none_is_one_line(snellen, tmp_path, content, words):
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    started = time.monotonic()
    code, out, err = snellen("check", path)
    assert (code, out) == (2, "")
    assert err.startswith("snellen: ")
    assert words in err or ("nested too deeply" in err and words == "YAML")
    assert len([line for line in err.splitlines() if not line.startswith("hint:")]) == 1
    assert time.monotonic() - started < 30


def test_a_mark_before_utf_8_is_no_part_of_the_first_key(snellen, project):
    (project / "run.yaml").write_bytes(b"\xef\xbb\xbf" + (project / "run.yaml").read_bytes())
    code, _, _ = snellen("check", project / "run.yaml", "--max-cost", "instant")
    assert code == 0


def test_thousands_of_problems_are_summed_up_and_the_rest_is_checked(snellen, project):
    keys = "".join(f"k{number}: 1\n" for number in range(15_000))
    (project / "run.yaml").write_text(f"task: forgery\ndata: {{train: nowhere}}\nseed: {'9' * 6000}\n{keys}")
    code, out, _ = snellen("check", project / "run.yaml", "--select", "config", "--select", "missing-file", "--json")
    found = json.loads(out)["findings"]
    said = [finding["message"] for finding in found]
    assert code == 1
    assert len(found) < 120
    assert max(map(len, said)) < 1000
    assert any("and 14901 more problems" in message for message in said)
    assert sum("seed is" in message for message in said) == 1
    assert any("nowhere" in message for message in said)


def test_what_stands_twice_and_what_is_unknown_come_together(snellen, project):
    (project / "run.yaml").write_text(
        "task: forgery\nseed: 1\nseed: 2\noptim: {lr: 1e-4, lr: 2e-4}\nbogus: 3\ndata: {train: nowhere}\n"
    )
    code, out, _ = snellen("check", project / "run.yaml", "--json")
    said = " ".join(finding["message"] for finding in json.loads(out)["findings"])
    assert code == 1
    for words in ("seed is given twice", "optim.lr is given twice", "bogus is not a key", "nowhere"):
        assert words in said


@needs_pipes
def test_a_pipe_as_a_run_file_does_not_block(snellen, tmp_path):
    os.mkfifo(tmp_path / "run.yaml")
    code, _, err = snellen("check", tmp_path / "run.yaml")
    assert code == 2
    assert "no regular file" in err


def test_names_that_do_not_exist_are_all_told_at_once(snellen, project):
    (project / "run.yaml").write_text(
        "task: forgery\ndata: {train: nowhere, val: /proc/1/root/../../outside}\n"
        "model: {weights: none.pth}\nmachine: kaggle-t5\ncode: [missing.py]\n"
    )
    code, out, _ = snellen("check", project / "run.yaml", "--json")
    said = " ".join(finding["message"] for finding in json.loads(out)["findings"])
    assert code == 1
    for words in ("nowhere", "outside", "none.pth", "kaggle-t5", "missing.py"):
        assert words in said


@needs_pipes
def test_a_pipe_among_the_images_does_not_block(snellen, project):
    os.mkfifo(project / "train" / "forged" / "pipe.png")
    _code, out, _ = snellen("check", project / "run.yaml", "--json")
    data = json.loads(out)
    assert sum(data["counts"].values()) == len(data["checks"])
    assert data["counts"]["crashed"] == 0


def test_a_loop_of_folders_ends(snellen, project):
    (project / "train" / "forged" / "again").symlink_to(project / "train", target_is_directory=True)
    (project / "self").symlink_to(project / "self")
    _, out, _ = snellen("check", project / "run.yaml", "data.test=self", "--json")
    data = json.loads(out)
    assert data["counts"]["crashed"] == 0
    assert any("self" in finding["message"] for finding in data["findings"])


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no such rights")
def test_no_permission_is_said(snellen, project):
    with tempfile.TemporaryDirectory(dir=tempfile.gettempdir()) as open_to_all:
        Path(open_to_all).chmod(0o755)
        project = Path(shutil.copytree(project, Path(open_to_all) / "project"))
        snellen("check", project / "run.yaml", "--json")  # loads what nobody may not read
        project.chmod(0)
        with as_nobody():
            code, _, err = snellen("check", project / "run.yaml")
        assert code == 2
        assert "cannot be looked at: permission denied" in err
        project.chmod(0o755)
        (project / "train").chmod(0o755)
        (project / "val").chmod(0)
        with as_nobody():
            code, out, _ = snellen("check", project / "run.yaml", "--json")
    said = [finding["message"] for finding in json.loads(out)["findings"]]
    assert code == 1
    assert any("permission denied" in message for message in said)


def test_files_that_change_while_they_are_read(snellen, project):
    """A writer rewrites, truncates and removes images during the check."""
    stop = threading.Event()
    target = project / "train" / "forged"

    def meddle():
        whole = (target / "train-0.png").read_bytes()
        while not stop.is_set():
            (target / "train-0.png").write_bytes(whole[: len(whole) // 2])
            (target / "new.png").write_bytes(whole)
            (target / "new.png").unlink()
            (target / "train-0.png").write_bytes(whole)

    thread = threading.Thread(target=meddle)
    thread.start()
    try:
        code, out, _ = snellen("check", project / "run.yaml", "--json")
    finally:
        stop.set()
        thread.join()
    data = json.loads(out)
    assert code in (0, 1)
    assert data["counts"]["crashed"] == 0


def test_hostile_names_do_not_steer_the_terminal(snellen, project):
    bad = os.fsdecode(b"\x1b[2J\xff[red]<b>.png")
    (project / "train" / "forged" / bad).write_bytes(b"no image")
    _code, out, _ = snellen("check", project / "run.yaml", "--html", project / "page.html")
    assert "\x1b" not in out
    page = (project / "page.html").read_text(encoding="utf-8")
    assert "<b>.png" not in page
    assert "\x1b" not in page
    _, out, _ = snellen("check", project / "run.yaml", "--json")
    json.loads(out)


def test_without_gpu_tools(snellen, project, monkeypatch):
    monkeypatch.setenv("PATH", str(project))
    _code, out, _ = snellen("check", project / "run.yaml", "--json")
    assert json.loads(out)["counts"]["crashed"] == 0


def worked_for(seconds: float) -> float:
    started = time.thread_time()
    while time.thread_time() - started < seconds:
        sum(range(1000))
    return time.thread_time() - started


def test_a_fact_that_hangs_is_given_up_and_the_rest_goes_on(tmp_path):
    """What a read from a mount whose server is gone does: it never returns."""
    released = threading.Event()
    answers = {
        "paths": lambda plan: released.wait() and (),
        "folders": lambda plan: plan.fact("paths"),
        "slow": lambda plan: [plan.notify("reading", n, 4) or time.sleep(0.15) for n in range(4)],
        "busy": lambda plan: worked_for(1.0),
    }
    plan = RunPlan(root=tmp_path, providers=answers, patience={"paths": 0.3, "slow": 0.3, "busy": 0.6})
    try:
        with pytest.raises(FactUnavailable, match="did not answer"):
            plan.fact("folders")
        assert len(plan.fact("slow")) == 4, "one that tells how far it is has not hung"
        assert plan.fact("busy") >= 1.0, "nor has one that computes: a million names are sorted without a word"
        assert "did not answer" in plan.refused("folders")
        report = run_checks(plan, catalogue().values(), CheckSettings(select=["data"]))
        assert report.counts["crashed"] == 0
        empty = next(result for result in report.results if result.slug == "empty-dataset")
        assert "did not answer" in empty.reason
    finally:
        released.set()


@needs_pipes
def test_a_path_that_does_not_answer_is_found_out(tmp_path, monkeypatch):
    """Opening a pipe for reading blocks as a dead mount does; the look at it is real, only its object is not."""
    os.mkfifo(tmp_path / "dead")
    (tmp_path / "fine").mkdir()
    real = os.scandir

    def blocking(path="."):
        if Path(path).name == "hung":
            Path(tmp_path / "dead").read_bytes()
        return real(path)

    (tmp_path / "hung").mkdir()
    monkeypatch.setattr(os, "scandir", blocking)
    found = problems_of([tmp_path / "hung", tmp_path / "fine", tmp_path / "absent"], seconds=0.3)
    assert list(found) == [tmp_path / "hung"]
    assert "does not answer" in found[tmp_path / "hung"]
    (tmp_path / "dead").write_bytes(b"")


def test_select_ignore_baseline_and_cost_leave_every_check_in_one_state(snellen, project):
    (project / "run.yaml").write_text("task: forgery\ndata: {train: train, val: nowhere}\noptim: {lr: 0}\n")
    known = project / "known.json"
    code, out, _ = snellen("check", project / "run.yaml", "--write-baseline", known)
    assert code == 0
    assert "kept in" in out
    code, out, _ = snellen("check", project / "run.yaml", "--baseline", known, "--json")
    data = json.loads(out)
    assert code == 0
    assert not data["findings"]
    assert data["counts"]["muted"] >= 2
    (project / "run.yaml").write_text("task: forgery\ndata: {train: train, val: nowhere}\noptim: {lr: 0, epochs: 0}\n")
    code, out, _ = snellen("check", project / "run.yaml", "--baseline", known, "--json")
    assert code == 1
    assert [finding["key"] for finding in json.loads(out)["findings"]] == ["optim.epochs"]
    for options in (["--select", "config-*"], ["--ignore", "d*"], ["--max-cost", "instant"], ["--machine", "h200"]):
        _, out, _ = snellen("check", project / "run.yaml", *options, "--json")
        again = json.loads(out)
        assert sum(again["counts"].values()) == len(again["checks"]) == len(data["checks"])
        assert len({check["slug"] for check in again["checks"]}) == len(again["checks"])
    code, _, err = snellen("check", project / "run.yaml", "--machine", "kagle-t4")
    assert code == 2
    assert "did you mean kaggle-t4" in err
    code, _, err = snellen("check", project / "run.yaml", "--baseline", project / "absent.json")
    assert code == 2
    assert "snellen check --write-baseline" in err


def test_a_data_folder_is_checked_without_a_run(snellen, project):
    (project / "run.yaml").unlink()
    code, out, err = snellen("check", project)
    assert (code, err) == (0, "") or "Traceback" not in err
    assert "data.train" in out
    assert out.count("it needs a run") == 1
    assert "next: " in out
    _, out, _ = snellen("check", project, "--json")
    data = json.loads(out)
    assert sum(data["counts"].values()) == len(data["checks"])
    code, _, err = snellen("check", project, "optim.lr=1")
    assert code == 2
    assert "give a run file" in err
    code, _, err = snellen("check", project, "--rehearse")
    assert code == 2


def test_layout_and_classes_are_for_folders(snellen, project):
    code, _, err = snellen("check", project / "run.yaml", "--layout", "class-folders")
    assert code == 2
    assert "data.layout" in err


def test_a_relative_folder_is_found(snellen, project, monkeypatch):
    (project / "run.yaml").unlink()
    monkeypatch.chdir(project.parent)
    _, out, _ = snellen("check", project.name, "--json")
    data = json.loads(out)
    assert data["subject"] == project.name
    assert any("data.val" in sentence and "6 samples" in sentence for sentence in data["looked_at"])
