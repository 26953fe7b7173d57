"""Event files are read as TensorBoard reads them, and damage does no harm."""

from __future__ import annotations

import io
import json
import math
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from torch.utils.tensorboard import SummaryWriter

import snellen
from snellen.errors import UsageError
from snellen.explain.events import EventFile
from snellen.explain.parse import parse

VALUES = [2.5, 1.25, math.nan, math.inf]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with SummaryWriter(str(tmp_path / "tb")) as writer:
        for step, value in enumerate(VALUES):
            writer.add_scalar("loss/train", value, step)
            writer.add_scalar("lr", 0.1, step)
        writer.add_text("note", "not a scalar")
        writer.add_histogram("weights", np.arange(3.0), 3)
    return next((tmp_path / "tb").iterdir())


def lines(data: bytes) -> tuple[list[str], int | None]:
    file = EventFile(io.BytesIO(data))
    return file.lines(), file.damaged


def test_scalars_are_read_step_by_step(path: Path) -> None:
    read, damaged = lines(path.read_bytes())
    assert damaged is None
    steps = [json.loads(line) for line in read]
    assert [step["step"] for step in steps] == [0, 1, 2, 3]
    assert [step["loss/train"] for step in steps[:2]] == VALUES[:2]
    assert math.isnan(steps[2]["loss/train"])
    assert steps[3]["loss/train"] == math.inf
    assert steps[0]["lr"] == pytest.approx(0.1)
    assert all(set(step) == {"step", "loss/train", "lr"} for step in steps)


def test_scalars_that_tensorflow_writes_as_tensors(tmp_path: Path) -> None:
    writer = EventFileWriter(str(tmp_path))
    tensors = (
        TensorProto(dtype=1, float_val=[0.5]),
        TensorProto(dtype=1, tensor_content=struct.pack("<f", 0.25)),
        TensorProto(dtype=2, double_val=[0.125]),
        TensorProto(dtype=1, float_val=[1.0, 2.0]),
        TensorProto(dtype=7, string_val=[b"text"]),
    )
    for step, tensor in enumerate(tensors):
        writer.add_event(Event(step=step, summary=Summary(value=[Summary.Value(tag="loss", tensor=tensor)])))
    writer.close()
    read, _ = lines(next(tmp_path.iterdir()).read_bytes())
    assert [json.loads(line)["loss"] for line in read] == [0.5, 0.25, 0.125]


def test_a_loss_that_became_nan_is_found_in_an_event_file_and_in_a_folder(path: Path) -> None:
    for source in (path, path.parent, path.parent.parent):
        log = parse(source)
        assert [record.step for record in log.metrics] == [0, 1, 2, 3]
        best = snellen.explain(source)[0]
        assert best.slug == "nan-loss"
        assert "step 2" in best.cause


def test_an_unfinished_record_is_the_end_of_a_run_that_still_writes(path: Path) -> None:
    whole = path.read_bytes()
    complete, _ = lines(whole)
    for cut in range(0, len(whole), 7):
        read, damaged = lines(whole[:cut])
        assert len(read) <= len(complete)
        assert damaged in (None, 0) or cut % 7 == 0


def test_damage_ends_the_reading_and_is_said(path: Path) -> None:
    generator = random.Random(0)
    whole = path.read_bytes()
    complete = lines(whole)[0]
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(generator.randint(1, 5)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        read, _ = lines(bytes(data))
        for line, true in zip(read[:-1], complete, strict=False):
            assert line == true
    path.write_bytes(b"\xff" * 1000)
    with pytest.raises(UsageError, match="is damaged: not one record can be read"):
        parse(path)
    path.write_bytes(whole[:200] + b"\xff" * 100 + whole[300:])
    assert any("damaged after" in line.text for line in parse(path).lines)


def test_a_length_beyond_all_measure_is_not_believed() -> None:
    assert lines(struct.pack("<QI", 1 << 62, 0) + b"x" * 100) == ([], 0)
    assert lines(b"") == ([], None)


def test_a_long_run_is_thinned_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("snellen.explain.events._MOST_STEPS", 100)
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(1000):
            writer.add_scalar("loss", 1.0, step)
    read, _ = lines(next(tmp_path.iterdir()).read_bytes())
    assert 50 < len(read) <= 201
    assert json.loads(read[-1])["step"] > 900
