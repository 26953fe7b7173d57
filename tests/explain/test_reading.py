"""Logs of any size and encoding are read with bounded memory, and what tells is kept."""

from __future__ import annotations

import io
import tracemalloc

import pytest

from snellen.explain.lines import clean
from snellen.explain.reading import read_lines

TRACEBACK = b'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    go()\nRuntimeError: boom\n'


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("[rank3]: ValueError: x", "ValueError: x"),
        ('[rank0]:   File "a.py", line 3, in f', '  File "a.py", line 3, in f'),
        ("[1,0]<stderr>:ValueError: x", "ValueError: x"),
        ("2021-03-10T13:22:37.443Z: [1,0]<stderr>:OSError: y", "OSError: y"),
        ("2024-01-01 10:00:00,123 - INFO - loss 1", "- INFO - loss 1"),
        ("(train pid=123, ip=10.0.0.1) KeyError: 'a'", "KeyError: 'a'"),
        ("\x1b[1;31mRuntimeError\x1b[0m: z", "RuntimeError: z"),
        ("  0%|  | 0/9\r 50%|# | 4/9\r100%|##| 9/9\r", "100%|##| 9/9"),
        ("a\x00b\x07c", "abc"),
        ("    indented stays", "    indented stays"),
    ],
)
def test_a_line_is_freed_of_what_machines_add(raw: str, expected: str) -> None:
    assert clean(raw) == expected


def test_short_logs_are_kept_whole() -> None:
    kept = read_lines(io.BytesIO(b"a\nb\n\nc"))
    assert [(line.number, line.text) for line in kept.lines] == [(1, "a"), (2, "b"), (3, ""), (4, "c")]
    assert kept.total == 4


def test_a_traceback_in_the_middle_of_a_long_log_is_kept() -> None:
    noise = b"step done, all is well\n" * 50_000
    kept = read_lines(io.BytesIO(noise + TRACEBACK + noise))
    assert kept.total == 100_004
    assert [line.text for line in kept.lines if line.number in range(50_001, 50_005)][-1] == "RuntimeError: boom"
    assert len(kept.lines) < 10_000
    assert [line.number for line in kept.lines] == sorted({line.number for line in kept.lines})


def test_a_literal_that_comes_a_million_times_does_not_hide_a_later_traceback() -> None:
    noise = b"loss: nan\n" * 60_000
    kept = read_lines(io.BytesIO(noise + TRACEBACK + noise), triggers=("nan",))
    assert any(line.text == "RuntimeError: boom" for line in kept.lines)
    assert len(kept.lines) < 25_000


class _Endless(io.RawIOBase):
    """A stream of so many bytes that never holds them."""

    def __init__(self, pattern: bytes, size: int) -> None:
        self.pattern, self.left = pattern, size

    def read(self, size: int = -1) -> bytes:
        count = min(self.left, size)
        self.left -= count
        return (self.pattern * (count // len(self.pattern) + 1))[:count]


@pytest.mark.parametrize("pattern", [b"epoch loss: nan error: x\n", b"no line end \r", bytes(range(256)), b"\x00"])
def test_memory_is_bounded_whatever_comes(pattern: bytes) -> None:
    tracemalloc.start()
    try:
        kept = read_lines(_Endless(pattern, 12 << 20), triggers=("nan",))  # type: ignore[arg-type]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert kept.lines
    assert peak < 50 << 20


def test_bytes_of_no_encoding_survive() -> None:
    kept = read_lines(io.BytesIO("für\n".encode("latin-1") + b"\xff\xfe\x80 error\n"))
    assert len(kept.lines) == 2
    assert kept.lines[1].text.endswith("error")
