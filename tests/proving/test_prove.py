"""Fixes tried on the CPU: what stays the same, what is mended, what changes, and what cannot be tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from snellen.core.finding import Edit, Finding, Fix, FixSafety, Level, Location
from snellen.proving import prove
from snellen.proving.cases import Verdict
from snellen.proving.trial import compare


def finding(path: Path, old: str, new: str) -> Finding:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        column = line.find(old)
        if column >= 0:
            edit = Edit(str(path), number, column, number, column + len(old), new)
            return Finding(
                "x-y", Level.ERROR, "m", Location(str(path), number), fix=Fix("f", FixSafety.SAFE, "r", (edit,))
            )
    raise AssertionError(old)


def verdict(folder: Path, source: str, old: str, new: str, seconds: float = 120) -> tuple[Verdict, str]:
    path = folder / "net.py"
    path.write_text(source)
    (proof,) = prove([finding(path, old, new)], seconds=seconds)
    return proof.verdict, proof.text


ATTEND = """
import torch
import a_package_that_is_not_there
print("runs on import"); raise SystemExit(7)

def attend(scores, mask):
    return torch.softmax(scores.masked_fill(mask, -1e9), -1)
"""


def test_a_mended_overflow_is_shown_in_float16_and_changes_nothing_in_float32(tmp_path: Path) -> None:
    given, text = verdict(tmp_path, ATTEND, "-1e9", "torch.finfo(scores.dtype).min")
    assert given is Verdict.MENDED
    assert "float16: before it RuntimeError: value cannot be converted" in text
    assert "the same on" in text


def test_a_fix_that_changes_results_is_caught(tmp_path: Path) -> None:
    given, text = verdict(tmp_path, ATTEND, "-1e9", "0.0")
    assert given is Verdict.CHANGED
    assert "largest difference" in text


def test_a_method_of_a_module_is_tried_with_the_module_built_twice_alike(tmp_path: Path) -> None:
    source = "import torch\nfrom torch import nn\nclass Net(nn.Module):\n    def __init__(self, dim=8):\n"
    source += "        super().__init__()\n        self.linear = nn.Linear(dim, dim)\n    def forward(self, x):\n"
    source += "        return self.linear(x).permute(1, 0).contiguous().view(-1)\n"
    given, text = verdict(tmp_path, source, "view(-1)", "reshape(-1)")
    assert (given, text) == (Verdict.SAME, "equal results on x: 4x8 float32")


def test_the_widths_of_layers_and_values_of_the_module_are_used(tmp_path: Path) -> None:
    source = (
        "import torch\nfrom torch import nn\nmask = torch.eye(16, dtype=torch.bool)\nweights = torch.load('x.pt')\n"
    )
    source += "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    source += "        self.linear = nn.Linear(9, 9)\n    def forward(self, tokens):\n        x = self.linear(tokens)\n"
    source += "        return torch.softmax((x @ x.transpose(-1, -2)).masked_fill(mask, -1e9), -1)\n"
    given, text = verdict(tmp_path, source, "-1e9", "-6e4")
    assert given is Verdict.SAME
    assert "tokens: 2x16x9 float32" in text


@pytest.mark.parametrize(
    ("source", "old", "reason"),
    [
        ("x = -1e9\n", "-1e9", "outside any function"),
        ("def f(x):\n    while True:\n        x = 1\n", "x = 1", "did not end within"),
        ("def f(x):\n    raise ValueError('never')\n", "never", "no made-up input was taken"),
        (
            "class A:\n    def __init__(self, path): pass\n    def f(self, x):\n        return 1\n",
            "1",
            "could not be made",
        ),
        ("import os\ndef f(x):\n    os._exit(3)\n", "3", "could not be run"),
    ],
)
def test_what_cannot_be_tried_is_said(tmp_path: Path, source: str, old: str, reason: str) -> None:
    given, text = verdict(tmp_path, source, old, "2", seconds=12 if "while" in source else 120)
    assert given is Verdict.CANNOT_TELL
    assert reason in text


def test_a_notebook_and_a_file_that_went_away_cannot_be_tried(tmp_path: Path) -> None:
    edits = [Edit(str(tmp_path / name), 1, 0, 1, 1, "") for name in ("a.ipynb#cell=1", "gone.py")]
    findings = [Finding("x-y", Level.ERROR, "m", fix=Fix("f", FixSafety.SAFE, "r", (edit,))) for edit in edits]
    assert [proof.verdict for proof in prove(findings)] == [Verdict.CANNOT_TELL] * 2
    assert list(prove([Finding("x-y", Level.ERROR, "m")])) == []


def test_numbers_shapes_and_kinds_are_compared() -> None:
    assert compare(lambda height: (height + 31) // 32 * 32, lambda height: (height + 223) // 224 * 224)[0] == "changed"
    assert compare(lambda x: {"a": [x, 1]}, lambda x: {"a": (x, 1)})[0] == "same"
    assert "float64" in compare(lambda x: x, lambda x: x.double())[1]
    assert compare(lambda x, labels: x[labels].sum(), lambda x, labels: x.sum())[0] == "changed"
