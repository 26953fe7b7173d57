"""Files of every encoding and kind, folders of them; what is no log is refused in one line."""

from __future__ import annotations

import gzip
import io
import json
import os
from pathlib import Path

import pytest

import snellen
from snellen.errors import UsageError
from snellen.explain import examine
from snellen.explain.parse import parse

OVERFLOW = (
    'Traceback (most recent call last):\n  File "train.py", line 3, in forward\n    x.masked_fill(m, -1e9)  # café\n'
    "RuntimeError: value cannot be converted to type at::Half without overflow\n"
)


def slugs(source: object) -> list[str]:
    return [one.slug for one in snellen.explain(source)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1"]
)
def test_every_encoding(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(OVERFLOW.replace("\n", "\r\n").encode(encoding))
    assert slugs(path) == ["half-overflow"]
    root = parse(path).root
    assert root is not None
    assert root.frames[0].code.endswith("café")


def test_compressed(tmp_path: Path) -> None:
    path = tmp_path / "train.log.gz"
    data = gzip.compress((OVERFLOW + "noise\n" * 50_000).encode())
    path.write_bytes(data)
    assert slugs(path) == ["half-overflow"]
    path.write_bytes(data[:-100])
    assert slugs(path) == ["half-overflow"]


def test_a_hole_at_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(bytes(300_000) + OVERFLOW.encode())
    assert slugs(path) == ["half-overflow"]


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "a PNG image"),
        (b"PK\x03\x04" + bytes(range(256)), "checkpoint"),
        (b"\x80\x02\x8a\n" + bytes(range(200)), "pickle"),
        (bytes(range(256)) * 50, "is not text"),
        (bytes(1000), "is not text"),
    ],
)
def test_what_is_no_text(head: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(head)
    if head.strip(b"\0"):
        with pytest.raises(UsageError, match=what):
            parse(path)
    else:
        assert parse(path).lines == ()


def test_a_stream_is_left_open() -> None:
    stream = io.BytesIO(OVERFLOW.encode())
    assert slugs(stream) == ["half-overflow"]
    assert not stream.closed


class _Interrupted(io.BytesIO):
    """Ends with Ctrl-C instead of an end."""

    def read1(self, size: int | None = -1) -> bytes:
        part = super().read1(20)
        if not part:
            raise KeyboardInterrupt
        return part


def test_ctrl_c_gives_the_answer_so_far() -> None:
    assert slugs(_Interrupted(OVERFLOW.encode())) == ["half-overflow"]


def test_a_folder_is_read_file_by_file_the_newest_last(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    old, new = tmp_path / "slurm-1.out", tmp_path / "deep" / "er" / "slurm-2.err"
    old.write_text("Epoch 1 loss: 0.5\nno line end")
    new.write_text("start\n" + OVERFLOW)
    os.utime(old, (1, 1))
    (tmp_path / "weights.pth").write_bytes(b"PK\x03\x04")
    (tmp_path / "zero.log").write_bytes(bytes(range(256)) * 9)
    ranking = examine(tmp_path)
    assert ranking.diagnoses[0].slug == "half-overflow"
    places = [fact.location for fact in ranking.diagnoses[0].evidence]
    assert ("deep/er/slurm-2.err", 5) in [(place.path, place.line) for place in places if place]
    assert len(ranking.problems) == 1
    assert "zero.log is not text" in ranking.problems[0]
    (name, first) = parse(tmp_path).parts[0][::-1]
    assert (name, first) == ("slurm-1.out", 1)


def test_links_in_a_circle_and_unreadable_files_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(OVERFLOW)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.log").symlink_to(tmp_path / "nowhere")
    assert slugs(tmp_path) == ["half-overflow"]


def test_a_folder_without_a_log_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no log"):
        parse(tmp_path)
    (tmp_path / "a.log").write_bytes(bytes(range(256)) * 9)
    with pytest.raises(UsageError, match="holds no log that can be read"):
        parse(tmp_path)


def test_the_folder_of_a_failed_run(tmp_path: Path) -> None:
    records = [{"step": step, "loss": value} for step, value in enumerate([0.9, 0.8, "nan"])]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    (tmp_path / "events.jsonl").write_text('{"slug": "resume", "message": "continued"}\n')
    assert slugs(tmp_path)[0] == "nan-loss"
    explanation = [{"slug": "half-overflow", "evidence": OVERFLOW.splitlines()[-1:]}]
    (tmp_path / "explanation.json").write_text(json.dumps(explanation))
    assert "half-overflow" in slugs(tmp_path / "explanation.json")


def test_the_state_of_a_trainer(tmp_path: Path) -> None:
    path = tmp_path / "trainer_state.json"
    path.write_text('{"log_history": [{"loss": 0.5, "step": 10}, {"loss": NaN, "step": 20}]}')
    assert [record.step for record in parse(path).metrics] == [10, 20]
    assert slugs(path)[0] == "nan-loss"
    path.write_text("{")
    with pytest.raises(UsageError, match="torn"):
        parse(path)


def test_output_of_a_notebook_keeps_its_order(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    outputs = [{"output_type": "stream", "text": OVERFLOW}]
    path.write_text(json.dumps({"cells": [{"outputs": outputs}, {"outputs": "broken"}, {}]}))
    assert slugs(path) == ["half-overflow"]
    cells = [
        {"execution_count": 1, "outputs": [{"output_type": "error", "traceback": [OVERFLOW]}]},
        {
            "execution_count": 2,
            "outputs": [{"data": {"text/plain": ["42"]}}, {"text": ["ModuleNotFoundError: No module named 'x'"]}],
        },
        {"execution_count": 3, "outputs": []},
    ]
    path.write_text(json.dumps({"cells": cells}))
    assert [line.text for line in parse(path).lines][-3:] == [
        "In [2]:",
        "42",
        "ModuleNotFoundError: No module named 'x'",
    ]
    assert slugs(path) == ["missing-package", "half-overflow"]
    path.write_text('{"cells": [')
    with pytest.raises(UsageError, match="is not a notebook"):
        parse(path)
