"""Predictions streamed over items that fail, in runs that are cut off."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snellen.engine.predict import stream
from snellen.errors import DataError, Interrupted, RunFolderError


class Roots:
    """Square roots; remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, item: str) -> dict[str, Any]:
        self.asked.append(item)
        if item == "torn":
            raise DataError("torn is no number", hint="copy it again", slug="corrupt-image")
        return {"item": item, "root": float(item) ** 0.5}


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def test_results_and_failures(ledger: Path) -> None:
    report = stream(["4", "torn", "x", "9"], Roots(), ledger=ledger)
    assert [record["root"] for record in report.records()] == [2.0, 3.0]
    assert (report.items, report.done, report.failed, report.earlier) == (4, 2, 2, 0)
    assert [(failure.item, failure.slug) for failure in report.failures] == [("torn", "corrupt-image"), ("x", None)]
    assert "torn is no number" in report.failures[0].message
    assert "ValueError" in report.failures[1].message
    assert any("torn is no number" in line for line in report.lines())
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_second_call_takes_what_is_left_and_what_failed(ledger: Path) -> None:
    stream(["1", "torn", "4"], Roots(), ledger=ledger, limit=2)
    roots = Roots()
    report = stream(["1", "torn", "4", "9"], roots, ledger=ledger)
    assert roots.asked == ["torn", "4", "9"]
    assert (report.earlier, report.done, report.failed) == (1, 2, 1)
    assert [record["root"] for record in report.records()] == [1.0, 2.0, 3.0]
    again = Roots()
    assert stream(["1", "4", "9"], again, ledger=ledger).done == 0
    assert again.asked == []


def test_a_torn_last_line_is_done_again(ledger: Path) -> None:
    stream(["1", "4"], Roots(), ledger=ledger)
    ledger.write_bytes(ledger.read_bytes()[:-20])
    roots = Roots()
    report = stream(["1", "4", "9"], roots, ledger=ledger)
    assert roots.asked == ["4", "9"]
    assert [record["root"] for record in report.records()] == [1.0, 2.0, 3.0]


def test_the_limit_counts_items(ledger: Path) -> None:
    report = stream((str(number) for number in range(100)), Roots(), ledger=ledger, limit=7)
    assert report.done == 7
    assert report.items is None
    assert report.projected_hours is None


def test_hours_are_projected_against_a_quota(ledger: Path) -> None:
    report = stream([str(number) for number in range(50)], Roots(), ledger=ledger, limit=10, quota_hours=1.0)
    low, high = report.milliseconds(0.5), report.milliseconds(0.95)
    assert low is not None
    assert high is not None
    assert 0 <= low <= high
    assert report.projected_hours == pytest.approx(sum(report.seconds) / 10 * 50 / 3600)
    assert report.fits
    tight = stream(["a", "b"], lambda _: {}, ledger=ledger.with_name("b"), limit=1, quota_hours=1e-12)
    assert not tight.fits


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_after_the_item_in_hand(ledger: Path, number: signal.Signals) -> None:
    def predict(item: str) -> dict[str, Any]:
        if item == "2":
            os.kill(os.getpid(), number)
        return {"item": item}

    items = [str(index) for index in range(5)]
    with pytest.raises(Interrupted, match="3 items") as caught:
        stream(items, predict, ledger=ledger)
    assert caught.value.exit_code == 130
    roots = Roots()
    assert stream(items, roots, ledger=ledger).earlier == 3
    assert roots.asked == ["3", "4"]


def _killed(ledger: Path) -> None:
    def predict(item: str) -> dict[str, Any]:
        if item == "30":
            os.kill(os.getpid(), signal.SIGKILL)
        return {"item": item}

    stream([str(index) for index in range(60)], predict, ledger=ledger)


def test_killed_without_warning(ledger: Path) -> None:
    child = multiprocessing.get_context("fork").Process(target=_killed, args=(ledger,))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    roots = Roots()
    report = stream([str(index) for index in range(60)], roots, ledger=ledger)
    assert (report.earlier, report.done) == (30, 30)
    assert len(list(report.records())) == 60


def test_a_ledger_that_cannot_be_written_ends_it(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="cannot write"):
        stream(["1"], Roots(), ledger=tmp_path / "missing" / "ledger.jsonl")


def test_memory_stays_flat(ledger: Path) -> None:
    def items(count: int) -> Iterator[str]:
        return (str(number) for number in range(count))

    def peak(count: int, name: str) -> int:
        tracemalloc.start()
        stream(items(count), lambda item: {"item": item, "payload": "x" * 1000}, ledger=ledger.with_name(name))
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(10, "warm")
    small, large = peak(300, "small"), peak(3000, "large")
    # 2700 results more are 2.7 MB; what may grow is the eight bytes of each item's time.
    assert large - small < 200_000


def test_it_does_not_load_torch() -> None:
    code = "import sys, snellen.engine.predict; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
