"""No pattern with which a log is read runs away: four times the line takes about four times as long."""

from __future__ import annotations

import time

import pytest

from snellen.explain.parse import parse

HEADS = (
    "", "Traceback (most recent call last): ", '  File "', '  File "a.py", line 3, in ', "File ",
    "Cell In[3], line 2", "---> 1 ", "│ /", "│ ❱ 3 │ ", "RuntimeError: ", "ERROR:root:", "E   ", "  + ",
    "  +-", "    | ", "[rank0]: ", "(train pid=1, ip=", "[1,0]<stderr>:", "2024-01-01 10:00:00 ",
    "May 02 10:00:00 ", "user@host:", "C:\\", "loss", "loss: ", "Epoch [", "Epoch ", "Train: ", "acc ", "| ",
    "a,b,loss,", '{"', '{"log": "', "'a\\n', '", "PyTorch version", "NVIDIA ", "GPU 0: Tesla ", "In [5]: ",
    "$ A=", "terminate called after ", "\x1b[", "[0;", "Fatal Python error: ", "from user code:",
    "Exception ignored in", "wandb: ", "__ ", "      1/20      4.28G ",
)  # fmt: skip
FILLERS = (
    "a", "a.", "a/", " ", "\t ", "1", "1,", "1.", "1 ", "(", "[(", "[1", "'", "', '", '"', "=", "a=1, ", "-",
    "+-", ": ", "_", "\\", "\\n", "|", "│ ", "\r1%|", "\x1b[3", "{", '{"a":', "nan ", "é", ">>> ", "~^",
)  # fmt: skip
SHORT, TIMES, TOO_MUCH, NOTICEABLE = 900, 4, 9, 0.25


def seconds(filler: str, length: int) -> float:
    run = (filler * (length // len(filler) + 1))[:length]
    text = "".join(f"{head}{run}\n{head}{run} loss: 1 x\n" for head in HEADS)
    started = time.process_time()
    parse(text)
    return time.process_time() - started


@pytest.mark.slow  # it takes times, which a busy machine spoils: it runs apart
@pytest.mark.parametrize("filler", FILLERS)
def test_time_grows_with_the_line_and_not_faster(filler: str) -> None:
    long = seconds(filler, SHORT * TIMES)
    if long > NOTICEABLE:
        pairs = [(seconds(filler, SHORT), seconds(filler, SHORT * TIMES)) for _ in range(4)]
        short, long = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
        assert long < max(NOTICEABLE, TOO_MUCH * short), f"{short:.3f} s became {long:.3f} s"


def test_a_line_of_megabytes_is_cut_before_it_is_looked_at() -> None:
    started = time.process_time()
    log = parse("loss: " + "9" * 8_000_000 + " nan\nRuntimeError: after it\n")
    assert log.root is not None
    assert log.root.line == 2
    assert all(len(line.text) < 5000 for line in log.lines)
    assert time.process_time() - started < 60
