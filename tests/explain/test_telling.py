"""The fast search finds what a plain one finds."""

from __future__ import annotations

import random

import pytest

from snellen.explain.telling import Telling

LITERALS = (
    *(b"out of memory", b" nan", b"=nan", b"'half'", b"traceback (most recent call last)", b"size of tensor a", b"401"),
    *(b"no module", b"modulenotfounderror", b"module", b"not found", b"target ", b"(nan", b"a", b"error:", b"conv2d"),
)
WORDS = (
    *(b"CUDA", b"out", b"of", b"memory", b"memories", b"loss", b"nan", b"=nan", b"(nan", b"'Half'", b"half", b"401"),
    *(b"ModuleNotFoundError:", b"No", b"module", b"Error:", b"size", b"tensor", b"a", b"conv2d", b"\xff\xfe"),
    *(b"Traceback (most recent call last):", b"target", b"not", b"found", b"\t", b"0.123", b"epoch", b"[1/9]"),
)  # fmt: skip


def plain(block: bytes, left: dict[bytes, int]) -> list[tuple[int, bytes]]:
    """One find a literal, a line at a time."""
    found = []
    for literal in LITERALS:
        at = 0
        for line in block.lower().split(b"\n"):
            if left[literal] and literal in line:
                found.append((at + line.index(literal), literal))
                left[literal] -= 1
            at += len(line) + 1
    return sorted(found)


@pytest.mark.parametrize("often", [1, 3, 1000])
@pytest.mark.parametrize("names", [0, 5000])
def test_it_finds_what_a_plain_search_finds(often: int, names: int) -> None:
    generator = random.Random(often + names)
    finder, left = Telling(LITERALS, often=often), dict.fromkeys(LITERALS, often)
    for _ in range(30):
        lines = [
            generator.choice((b" ", b"", b": ")).join(generator.choices(WORDS, k=generator.randint(1, 8)))
            for _ in range(generator.randint(1, 60))
        ]
        # So many new words that the search goes another way.
        lines += ["".join(generator.choices("abcdefmnory", k=12)).encode() for _ in range(names)]
        block = b"\n".join(lines)
        assert finder.search(block) == plain(block, left)
    assert finder.found == {literal for literal in LITERALS if left[literal] < often}


def test_a_literal_does_not_hide_those_that_begin_with_it() -> None:
    literals = [b"mem", b"memory_error", b"memory error here", b"emory", b"memo"]
    generator = random.Random(0)
    text = "x\n".join("".join(generator.choices("abcdfghijklqwxyz", k=9)) for _ in range(40_000)).encode()
    for words in (b"", text):
        found = Telling(literals, often=9).search(words + b"\na memory error here\n" + words)
        assert {literal for _, literal in found} == {b"mem", b"memory error here", b"emory", b"memo"}


def test_literals_with_few_letters_and_none_at_all() -> None:
    assert Telling([b"401", b"=1"], often=9).search(b"x=1\nHTTP 401") == [(1, b"=1"), (9, b"401")]
    assert Telling([], often=9).search(b"anything") == []
