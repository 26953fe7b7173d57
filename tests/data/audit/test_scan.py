"""Scans that are cut off, repeated, run twice at once, robbed of their processes and of their cache."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from snellen.data.audit import scan as scanning
from snellen.data.audit.cache import AuditCache
from snellen.data.audit.scan import scan
from snellen.data.audit.workers import Job, work

PROGRAM = """
import sys
from pathlib import Path
from snellen.data.audit.scan import scan

def tell(what, done, total):
    print(done, flush=True)

found = scan(sorted(map(str, Path(sys.argv[1]).iterdir())), cache=Path(sys.argv[2]), workers=1, tell=tell)
print("end", len(found.images), len(found.notes), flush=True)
"""


def pictures(folder: Path, count: int) -> list[str]:
    """Files of noise that were written long ago."""
    folder.mkdir(exist_ok=True)
    dice = np.random.default_rng(1)
    for number in range(count):
        path = folder / f"{number:04}.jpg"
        Image.fromarray(dice.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    return sorted(str(path) for path in folder.iterdir())


def wait_until_old(files: list[str]) -> None:
    """Files that were just written are hashed again; tests of what is not read again wait that long."""
    newest = max(Path(path).stat().st_ctime for path in files)
    time.sleep(max(0.0, newest + 2.05 - time.time()))


def told() -> tuple[list[int], Callable[[str, int, int], None]]:
    """What is measured anew, counted."""
    counts: list[int] = []
    return counts, lambda _what, done, _total: counts.append(done)


def test_a_second_scan_reads_nothing_and_says_the_same(tmp_path: Path) -> None:
    files = pictures(tmp_path / "data", 30)
    np.save(tmp_path / "mask.npy", np.eye(9, dtype=np.uint8))
    wait_until_old([*files, str(tmp_path / "mask.npy")])
    first = scan(files, [str(tmp_path / "mask.npy")], cache=tmp_path / "cache")
    counts, tell = told()
    second = scan(files, [str(tmp_path / "mask.npy")], cache=tmp_path / "cache", tell=tell)
    assert first == second
    assert first.masks[str(tmp_path / "mask.npy")].values == ((0, 72), (1, 9))
    assert counts == []
    assert list(first.images) == files


def test_a_file_that_was_replaced_is_measured_again(tmp_path: Path) -> None:
    files = pictures(tmp_path / "data", 3)
    wait_until_old(files)
    before = scan(files, cache=tmp_path / "cache")
    state = Path(files[1]).stat()
    content = Path(files[1]).read_bytes()
    Path(files[1]).write_bytes(content[:-40] + bytes(40))  # as large, and as old
    os.utime(files[1], ns=(state.st_atime_ns, state.st_mtime_ns))
    counts, tell = told()
    after = scan(files, cache=tmp_path / "cache", tell=tell)
    assert len(counts) == 1
    assert after.images[files[1]].digest != before.images[files[1]].digest
    assert after.images[files[0]] == before.images[files[0]]


def test_a_file_that_was_moved_is_known_by_its_content(tmp_path: Path) -> None:
    files = pictures(tmp_path / "data", 3)
    with AuditCache(tmp_path / "cache") as cache:
        pass
    scan(files, cache=tmp_path / "cache")
    with sqlite3.connect(cache.place or "") as base:
        base.execute("UPDATE records SET data = replace(data, '\"JPEG\"', '\"remembered\"')")
    base.close()
    (tmp_path / "data").rename(tmp_path / "moved")
    again = scan(sorted(str(path) for path in (tmp_path / "moved").iterdir()), cache=tmp_path / "cache")
    assert {record.format for record in again.images.values()} == {"remembered"}


def test_a_killed_scan_goes_on_where_it_was(tmp_path: Path) -> None:
    files = pictures(tmp_path / "data", 900)
    wait_until_old(files)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "data"), str(tmp_path / "cache")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        done = 0
        for line in process.stdout:
            done = int(line)
            base = tmp_path / "cache" / "audit-1.sqlite"
            if done > 100 and _remembered(base) >= 50:
                process.send_signal(signal.SIGKILL)
                break
    counts, tell = told()
    found = scan(files, cache=tmp_path / "cache", tell=tell)
    assert len(found.images) == 900
    assert 0 < len(counts) < 900
    assert found == scan(files)


def _remembered(base: Path) -> int:
    try:
        connection = sqlite3.connect(f"file:{base}?mode=ro", uri=True, timeout=5)
    except sqlite3.Error:
        return 0
    try:
        return int(connection.execute("SELECT COUNT(*) FROM records").fetchone()[0])
    except sqlite3.Error:
        return 0
    finally:
        connection.close()


def test_two_scans_at_once_share_a_cache(tmp_path: Path) -> None:
    pictures(tmp_path / "data", 150)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "data"), str(tmp_path / "cache")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    ends = [process.communicate()[0].splitlines()[-1] for process in both]
    assert ends == ["end 150 0"] * 2
    assert _remembered(tmp_path / "cache" / "audit-1.sqlite") == 150


def test_a_cache_that_is_no_database_is_made_anew(tmp_path: Path) -> None:
    files = pictures(tmp_path / "data", 3)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "audit-1.sqlite").write_bytes(b"not a database" * 100)
    found = scan(files, cache=tmp_path / "cache")
    assert (len(found.images), found.notes) == (3, ())
    assert _remembered(tmp_path / "cache" / "audit-1.sqlite") == 3


def test_records_of_nobody_are_measured_again(tmp_path: Path) -> None:
    files = pictures(tmp_path / "data", 2)
    wait_until_old(files)
    scan(files, cache=tmp_path / "cache")
    with sqlite3.connect(tmp_path / "cache" / "audit-1.sqlite") as base:
        base.execute("UPDATE records SET data = '{\"pixels\": [1]}'")
    base.close()
    found = scan(files, cache=tmp_path / "cache")
    assert all(record.format == "JPEG" for record in found.images.values())


@pytest.mark.parametrize("place", ["a file", "/proc/1/nothing", "/dev/full"])
def test_without_a_cache_the_scan_goes_on_and_says_so(tmp_path: Path, place: str) -> None:
    files = pictures(tmp_path / "data", 2)
    folder = Path(place)
    if place == "a file":
        folder = tmp_path / "file"
        folder.touch()
    found = scan(files, cache=folder)
    assert len(found.images) == 2
    assert len(found.notes) == 1
    assert "is not remembered" in found.notes[0]


def test_a_full_disk_is_said_once(tmp_path: Path) -> None:
    files = pictures(tmp_path / "data", 20)
    with AuditCache(tmp_path / "cache") as cache:
        pages = cache._base.execute("PRAGMA page_count").fetchone()[0] if cache._base else 0
        if cache._base is not None:
            cache._base.execute(f"PRAGMA max_page_count = {pages + 1}")
        for number in range(2000):
            cache.put("image", f"{number:032}", "x" * 500)
        cache.flush()
        cache.flush()
        assert len(cache.notes) == 1
        assert "full" in cache.notes[0]
    assert len(scan(files, cache=tmp_path / "cache").images) == 20


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user whose rights count")
def test_a_cache_that_may_only_be_read_is_used(tmp_path: Path) -> None:
    files = pictures(tmp_path / "data", 3)
    wait_until_old(files)
    scan(files, cache=tmp_path / "cache")
    (tmp_path / "cache" / "audit-1.sqlite").chmod(0o444)
    (tmp_path / "cache").chmod(0o555)
    counts, tell = told()
    found = scan(files, cache=tmp_path / "cache", tell=tell)
    (tmp_path / "cache").chmod(0o755)
    assert counts == []
    assert "what was measured before is used" in found.notes[0]


def test_the_sample_is_even_and_its_size_is_told(tmp_path: Path) -> None:
    files = pictures(tmp_path / "data", 20)
    found = scan(files, max_measured=5)
    assert sorted(found.sample) == files[::4]
    assert [path for path, record in found.images.items() if record.pixels is not None] == files[::4]
    assert all(record.width == 40 for record in found.images.values())


def test_files_that_cannot_be_read_stand_among_the_others(tmp_path: Path) -> None:
    files = pictures(tmp_path / "data", 4)
    Path(files[1]).write_bytes(b"<html>")
    Path(files[2]).unlink()
    problems = {path: record.problem for path, record in scan(files).images.items()}
    assert "HTML" in problems[files[1]]
    assert "does not exist" in problems[files[2]]
    assert (problems[files[0]], problems[files[3]]) == ("", "")
    assert scan([]).images == {}


def test_a_decoder_that_dies_costs_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = pictures(tmp_path / "data", 12)
    crashing = _with_a_decoder(tmp_path, monkeypatch, "os.kill(os.getpid(), signal.SIGSEGV)", Path(files[5]).name)
    found = scan(files, workers=1)
    assert "the decoder crashed on it (SIGSEGV)" in found.images[files[5]].problem
    assert [path for path, record in found.images.items() if record.problem] == [files[5]]
    assert crashing.exists()


def test_a_decoder_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = pictures(tmp_path / "data", 6)
    _with_a_decoder(tmp_path, monkeypatch, "time.sleep(600)", Path(files[2]).name)
    outcomes = list(work([Job("image", path) for path in files], workers=1, patience=6))
    problems = {outcome.job.path: outcome.problem for outcome in outcomes if outcome.problem}
    assert list(problems) == [files[2]]
    assert "more than 6 seconds" in problems[files[2]]


def test_a_disk_that_hangs_is_not_waited_for_file_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = pictures(tmp_path / "data", 60)
    _with_a_decoder(tmp_path, monkeypatch, "time.sleep(600)", ".jpg")
    outcomes = list(work([Job("image", path) for path in files], workers=2, patience=0.3))
    assert sorted(outcome.job.path for outcome in outcomes) == sorted(files)
    assert sum("was given up" in outcome.problem for outcome in outcomes) <= 6
    assert sum("was not opened: 4 files before it" in outcome.problem for outcome in outcomes) >= 54


def _with_a_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, name: str) -> Path:
    """Let every Python that starts from here on misbehave when it opens the file of that name."""
    folder = tmp_path / "site"
    folder.mkdir()
    hook = folder / "sitecustomize.py"
    hook.write_text(
        "import os, signal, sys, time\n"
        "def hook(event, arguments):\n"
        f"    if event == 'open' and str(arguments[0]).endswith({name!r}):\n"
        f"        {does}\n"
        "sys.addaudithook(hook)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return hook


def test_a_scan_that_is_given_up_leaves_no_process(tmp_path: Path) -> None:
    files = pictures(tmp_path / "data", 60)
    outcomes = work([Job("image", path) for path in files], workers=2)
    next(outcomes)
    outcomes.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "snellen-audit"]
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    assert not children.exists() or _dead(children.read_text().split())


def _dead(children: list[str]) -> bool:
    names = [Path(f"/proc/{child}/cmdline") for child in children]
    return not any(b"snellen.data.audit" in name.read_bytes() for name in names if name.exists())


def test_ctrl_c_ends_a_scan_and_keeps_what_it_measured(tmp_path: Path) -> None:
    pictures(tmp_path / "data", 600)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "data"), str(tmp_path / "cache")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) > 50:
                os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the processes it started, too
                break
        _, stderr = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in stderr
    assert _remembered(tmp_path / "cache" / "audit-1.sqlite") >= 50


def test_large_files_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "MIN_MEASURED", 2)
    files = pictures(tmp_path / "data", 10)
    total = sum(Path(path).stat().st_size for path in files)
    assert len(scan(files, max_bytes=total // 2).sample) == 5
    assert len(scan(files, max_bytes=1).sample) == 2
