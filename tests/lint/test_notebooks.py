"""Fixes in notebooks and YAML: the cell changes, the rest of the file stays as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from snellen.lint.fixes import fix_files
from snellen.lint.runner import chosen_rules, run

CELL = "import torch\nwith torch.autocast('cuda'):\n    x = scores.masked_fill(mask, -1e9)\n"


def notebook(**layout: object) -> str:
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# é\n"]},
        {"cell_type": "code", "execution_count": 1, "metadata": {}, "outputs": [], "source": ["%matplotlib inline\n"]},
        {"cell_type": "code", "execution_count": 2, "metadata": {}, "outputs": [{"text": ["1\n"]}],
         "source": CELL.splitlines(keepends=True)},
    ]  # fmt: skip
    return json.dumps({"cells": cells, "metadata": {"a": 1}, "nbformat": 4, "nbformat_minor": 5}, **layout)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "layout",
    [{"indent": 1, "ensure_ascii": False}, {"indent": 2}, {"separators": (",", ":"), "ensure_ascii": False}, {}],
)
@pytest.mark.parametrize("end", ["", "\n"])
def test_only_the_line_of_the_cell_changes(tmp_path: Path, layout: dict[str, object], end: str) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(notebook(**layout) + end, encoding="utf-8")

    def look() -> object:
        return run([path], chosen_rules(["fill-out-of-range"]))

    fixed = fix_files(look(), unsafe=False, write=True, again=look)  # type: ignore[arg-type]
    assert fixed.applied == 1
    expected = notebook(**layout).replace("-1e9", "torch.finfo(scores.dtype).min") + end
    assert path.read_text(encoding="utf-8") == expected
    assert run([path], chosen_rules(["fill-out-of-range"])).findings == []


def test_a_cell_that_holds_its_source_as_one_text_keeps_doing_so(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": CELL}], "nbformat": 4}))

    def look() -> object:
        return run([path], chosen_rules(["fill-out-of-range"]))

    fix_files(look(), unsafe=False, write=True, again=look)  # type: ignore[arg-type]
    assert isinstance(json.loads(path.read_text())["cells"][0]["source"], str)
