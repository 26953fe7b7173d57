"""Real failure logs: what is known is named, what is not known gets no answer."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from snellen.explain import explain
from snellen.rules.catalogue import catalogue

NAMED = 0.8
"""Share of the logs of known failures whose first answer is right, at least."""
MISLED = 0.02
"""Share of all logs whose first answer is wrong, at most."""


@pytest.fixture(scope="module")
def answers(shared: Path) -> list[tuple[str, str | None]]:
    """The true slug and the first answer for every labelled log of every `failures/*.jsonl`."""
    records = [
        json.loads(line)
        for path in sorted(shared.glob("failures/*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    if not records:
        pytest.skip(f"no failures/*.jsonl below {shared}")
    return [(record["slug"], next((d.slug for d in explain(f"{record['log']}\n")), None)) for record in records]


def test_known_failures_are_named(answers: list[tuple[str, str | None]]) -> None:
    known = [(true, given) for true, given in answers if true in catalogue()]
    right = Counter(true for true, given in known if true == given)
    every = Counter(true for true, _ in known)
    print({slug: f"{right[slug]} of {every[slug]}" for slug in sorted(every)})
    assert right.total() >= NAMED * every.total()


def test_no_answer_rather_than_a_wrong_one(answers: list[tuple[str, str | None]]) -> None:
    wrong = Counter((true, given) for true, given in answers if given is not None and true != given)
    print(f"{wrong.total()} wrong answers on {len(answers)} logs: {dict(wrong)}")
    assert wrong.total() <= MISLED * len(answers)
