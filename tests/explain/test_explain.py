"""`snellen.explain`: text, paths, exceptions and streams in; an honest list out."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch

import snellen
from snellen.core.finding import Fix, Level
from snellen.core.log import Log, LogMatch
from snellen.core.rule import LogFacet, Rule, absent
from snellen.errors import UsageError
from snellen.explain.parse import parse
from snellen.explain.rank import rank

OVERFLOW = "RuntimeError: value cannot be converted to type at::Half without overflow"


@pytest.mark.parametrize("kind", ["text", "path", "string path", "stream"])
def test_every_kind_of_source_gives_the_same(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(OVERFLOW)
    sources = {"text": OVERFLOW, "path": path, "string path": str(path), "stream": io.BytesIO(OVERFLOW.encode())}
    assert [d.slug for d in snellen.explain(sources[kind])] == ["half-overflow"]


def test_an_exception_is_explained_with_the_fix_for_its_line() -> None:
    scores = torch.zeros(2, dtype=torch.float16)
    with pytest.raises(RuntimeError) as caught:
        scores.masked_fill(scores == 0, -1e9)
    diagnosis = snellen.explain(caught.value)[0]
    assert diagnosis.fix.text == "Write `torch.finfo(scores.dtype).min` instead of `-1e9`."
    assert "-1e9" in diagnosis.cause


def test_a_saved_notebook_is_explained_by_its_outputs(tmp_path: Path) -> None:
    lines = ["\x1b[0;31mRuntimeError\x1b[0m  Traceback (most recent call last)", OVERFLOW]
    outputs = [
        {"output_type": "stream", "text": ["epoch 1\n", "epoch 2\n"]},
        {"output_type": "error", "traceback": lines},
    ]
    path = tmp_path / "run.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown"}, {"cell_type": "code", "outputs": outputs}]}))
    (diagnosis,) = snellen.explain(path)
    assert diagnosis.slug == "half-overflow"
    path.write_text("[]")
    with pytest.raises(UsageError, match="is not a notebook"):
        snellen.explain(path)


def test_nothing_known_is_an_empty_list() -> None:
    assert snellen.explain("") == []
    assert snellen.explain("Epoch 1: loss 0.5\nEpoch 2: loss 0.4") == []
    assert snellen.explain("ValueError: the moon is not in the right phase") == []


def test_a_missing_or_unreadable_path_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*absent\.log: No such file"):
        snellen.explain(tmp_path / "absent.log")
    with pytest.raises(UsageError, match="holds no log"):
        snellen.explain(tmp_path)


def _rule(slug: str, examine: object) -> Rule:
    gap = absent("not needed in this test")
    facet = LogFacet((), examine)  # type: ignore[arg-type]
    return Rule(
        slug=slug,
        family="tasks",
        title=slug,
        level=Level.ERROR,
        log=facet,
        source=gap,
        before=gap,
        during=gap,
        module=__name__,
    )


def _answer(score: float) -> object:
    def examine(log: Log) -> LogMatch:
        return LogMatch(score, (log.lines[0].evidence,), "cause", Fix("fix"))

    return examine


def test_the_surest_comes_first_and_guesses_are_left_out() -> None:
    rules = {name: _rule(name, _answer(score)) for name, score in (("low", 0.6), ("high", 0.9), ("guess", 0.3))}
    assert [diagnosis.slug for diagnosis in rank(parse("x\n"), rules).diagnoses] == ["high", "low"]


def test_a_failing_rule_is_reported_and_the_others_answer() -> None:
    def broken(log: Log) -> LogMatch:
        raise ZeroDivisionError("oh")

    ranking = rank(parse("x\n"), {"broken": _rule("broken", broken), "good": _rule("good", _answer(0.9))})
    assert [diagnosis.slug for diagnosis in ranking.diagnoses] == ["good"]
    assert ranking.problems == ("broken: ZeroDivisionError: oh",)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("=> no checkpoint found at 'runs/best.pth'", ["runs/best.pth", "best.pth"]),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/path/to/model.pth'", ["placeholder"]),
        (
            (
                'Traceback (most recent call last):\n  File "t.py", line 2, in f\n    model(pad(x, multiple=32))\n'
                "AssertionError: Input image height 544 is not a multiple of patch height 14"
            ),
            ["lcm(14, 32) = 224", "672"],
        ),
        ("KeyError: 'Non-existent config key: MODEL.BACKBON'\nBACKBONE: resnet", ["`BACKBONE`"]),
        ("ModuleNotFoundError: No module named 'utils'", ["PYTHONPATH=."]),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'a\\\\b/c.jpg'", ["pathlib"]),
    ],
)
def test_fixes_are_computed_for_the_case(log: str, words: list[str]) -> None:
    diagnosis = snellen.explain(log + "\n")[0]
    told = f"{diagnosis.cause} {diagnosis.fix.text}"
    assert all(word in told for word in words), told
