"""A run's folder: whole files, one owner, one version."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from snellen.core.files import append_json_line, plain, read_json, read_json_lines, write_json, write_lines, write_text
from snellen.core.lock import FolderLock
from snellen.core.run_folder import FORMAT, RunFolder
from snellen.errors import RunFolderError


def test_a_new_folder_has_the_layout_and_can_be_opened_again(tmp_path):
    with RunFolder.create(tmp_path / "runs", "first") as folder:
        folder.write_json("findings.json", {"loss": float("inf")})
        folder.event("resume", "went on", step=3)
        folder.metric(step=1, loss=float("nan"))
    again = RunFolder.open(tmp_path / "runs" / "first", lock=False)
    assert again.read_json("findings.json") == {"loss": "inf"}
    assert [(event["slug"], event["step"]) for event in again.events()] == [("resume", 3)]
    assert next(again.metrics())["loss"] == "nan"
    for part in (again.tensorboard, again.checkpoints, again.predictions, again.captures):
        assert part.is_dir()
    assert again.read_json("format.json")["format"] == FORMAT


def test_a_table_of_numbers_takes_a_line_for_each_row_and_comes_back_as_it_was(tmp_path):
    record = {"confusion": [[4, 0], [1, 3]], "auc": [0.5, None], "odd": [[], {}, [True], float("nan")], "kind": "ä"}
    write_json(tmp_path / "evaluation.json", record)
    assert read_json(tmp_path / "evaluation.json") == {**record, "odd": [[], {}, [True], "nan"]}
    text = (tmp_path / "evaluation.json").read_text(encoding="utf-8")
    assert "    [4, 0],\n    [1, 3]\n" in text

    wide = [[0] * 200] * 200
    write_json(tmp_path / "wide.json", wide)
    assert (tmp_path / "wide.json").stat().st_size < 3.1 * 200 * 200


def test_unnamed_runs_get_names_of_their_own(tmp_path):
    names = set()
    for _ in range(3):
        with RunFolder.create(tmp_path) as folder:
            names.add(folder.name)
    assert len(names) == 3


@pytest.mark.parametrize("name", ["", "..", "a/b", "a:b", "a\nb"])
def test_a_name_that_is_a_path_is_refused(tmp_path, name):
    with pytest.raises(RunFolderError, match="cannot be a run's name"):
        RunFolder.create(tmp_path, name)


def test_a_taken_name_is_refused_with_the_command_to_resume(tmp_path):
    RunFolder.create(tmp_path, "first").close()
    with pytest.raises(RunFolderError, match=r"already holds a run[\s\S]*snellen resume"):
        RunFolder.create(tmp_path, "first")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    with pytest.raises(RunFolderError, match="not empty"):
        RunFolder.create(tmp_path, "other")
    assert [entry.name for entry in (tmp_path / "other").iterdir()] == ["thesis.tex"]


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path):
    RunFolder.create(tmp_path, "first").close()
    program = (
        "import sys; from snellen.core.run_folder import RunFolder\n"
        "folder = RunFolder.open(sys.argv[1]); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "first")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline().strip() == b"locked"
        with pytest.raises(RunFolderError, match=f"in use by process {process.pid}"):
            RunFolder.open(tmp_path / "first")
        RunFolder.open(tmp_path / "first", lock=False)
        process.kill()
        process.wait()
    with RunFolder.open(tmp_path / "first") as folder:
        events = list(folder.events())
    assert [event["slug"] for event in events] == ["stale-lock"]
    assert events[0]["pid"] == process.pid
    RunFolder.open(tmp_path / "first").close()
    assert len(list(folder.events())) == 1


def test_a_lock_of_another_machine_is_not_broken_unasked(tmp_path):
    RunFolder.create(tmp_path, "first").close()
    record = {"pid": 1, "host": "elsewhere", "started": None, "locked": "2026-01-01T00:00:00+00:00"}
    (tmp_path / "first" / "lock.json").write_text(json.dumps(record))
    with pytest.raises(RunFolderError, match=r"on elsewhere[\s\S]*delete"):
        RunFolder.open(tmp_path / "first")
    RunFolder.open(tmp_path / "first", force=True).close()


def test_a_recycled_process_id_does_not_keep_a_lock(tmp_path):
    lock = FolderLock(tmp_path / "lock.json")
    lock.acquire()
    record = json.loads((tmp_path / "lock.json").read_text())
    if record["started"] is None:
        pytest.skip("this system does not tell when a process began")
    (tmp_path / "lock.json").write_text(json.dumps({**record, "started": record["started"] - 1}))
    assert FolderLock(tmp_path / "lock.json").acquire() is not None


def test_a_torn_lock_counts_as_free(tmp_path):
    (tmp_path / "lock.json").write_text('{"pid": 1')
    assert FolderLock(tmp_path / "lock.json").acquire() is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"format": 0, "snellen": "0.0.3"}', "older format 0.*reads format 1[\\s\\S]*snellen==0.0.3"),
        ('{"format": 7, "snellen": "3.1"}', "newer format 7.*reads format 1[\\s\\S]*--upgrade 'snellen>=3.1'"),
        ('{"format": true}', "states no format number"),
        ("{", "torn"),
        ("[]", "states no format number"),
    ],
)
def test_other_versions_are_refused_with_both_numbers(tmp_path, content, words):
    RunFolder.create(tmp_path, "first").close()
    (tmp_path / "first" / "format.json").write_text(content)
    with pytest.raises(RunFolderError, match=words):
        RunFolder.open(tmp_path / "first")


def test_what_is_no_run_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path, words in ((tmp_path, "no run's folder"), (tmp_path / "file", "a file"), (tmp_path / "none", "missing")):
        with pytest.raises(RunFolderError, match=words):
            RunFolder.open(path)
    with pytest.raises(RunFolderError, match="not a folder"):
        RunFolder.create(tmp_path / "file", "x")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunFolderError, match="permission denied"):
        RunFolder.create(tmp_path, "x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_clear_line(tmp_path):
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    with pytest.raises(RunFolderError, match="the disk is full"):
        append_json_line(tmp_path / "events.jsonl", {"a": 1})


def test_a_failed_write_leaves_the_old_content_and_no_rubbish(tmp_path):
    def lines():
        yield "new"
        raise KeyError("the source of the lines fails")

    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(KeyError):
        write_lines(tmp_path / "a.txt", lines())
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_names_that_are_no_text_are_written_as_they_are_told(tmp_path):
    write_text(tmp_path / "a.txt", "new \udcff")
    assert (tmp_path / "a.txt").read_text() == "new \\udcff"


def test_a_torn_line_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "events.jsonl"
    append_json_line(path, {"a": 1})
    with path.open("a") as file:
        file.write('{"b": ')
    append_json_line(path, {"c": 3})
    assert list(read_json_lines(path)) == [{"a": 1}, {"c": 3}]


def test_plain_makes_strict_json_of_anything():
    data = plain({"a": {3, 1}, "b": (float("-inf"), None), "c": object})
    assert json.loads(json.dumps(data, allow_nan=False))["b"] == ["-inf", None]
    assert data["a"] == [1, 3]
