"""What a project asks of the linter: pyproject.toml, comments for whole files, the baseline."""

from __future__ import annotations

from pathlib import Path

import pytest

from snellen.core.baseline import new_findings, read_baseline, write_baseline
from snellen.errors import UsageError
from snellen.lint.configuration import find_configuration
from snellen.lint.runner import chosen_rules, run

MASK = "import torch\nwith torch.autocast('cuda'):\n    x = scores.masked_fill(mask, -1e9)\n"


def project(folder: Path, table: str) -> None:
    (folder / "pyproject.toml").write_text(f"[tool.snellen.lint]\n{table}\n")
    for name in ("a.py", "old/b.py", "tests/c.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(MASK)


def found(folder: Path, *paths: Path) -> list[str]:
    configuration = find_configuration([folder])
    report = run(paths or [folder], chosen_rules(["fill-out-of-range"]), configuration)
    assert not report.errors
    return [Path(str(finding.location.path)).name for finding in report.findings if finding.location]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("", ["a.py", "b.py", "c.py"]),
        ('exclude = ["old"]', ["a.py", "c.py"]),
        ('exclude = ["old/", "tests/*.py"]', ["a.py"]),
        ('exclude = ["c.py"]', ["a.py", "b.py"]),
        ('per-file-ignores = {"tests/**" = ["fill-out-of-range"]}', ["a.py", "b.py"]),
        ('per-file-ignores = {"*.py" = ["unfold-blowup"]}', ["a.py", "b.py", "c.py"]),
    ],
)
def test_what_is_left_out_where(tmp_path: Path, table: str, expected: list[str]) -> None:
    project(tmp_path, table)
    assert found(tmp_path) == expected


def test_a_file_named_itself_is_always_looked_at(tmp_path: Path) -> None:
    project(tmp_path, 'exclude = ["old"]')
    assert found(tmp_path, tmp_path / "old" / "b.py") == ["b.py"]


def test_all_problems_of_the_table_are_said_at_once(tmp_path: Path) -> None:
    project(tmp_path, 'selekt = ["x"]\nignore = "nan-loss"\nbaseline = 3\nper-file-ignores = ["a"]')
    with pytest.raises(UsageError) as caught:
        find_configuration([tmp_path])
    for part in ("did you mean 'select'", "ignore is 'nan-loss'", "baseline is 3", "per-file-ignores is not a table"):
        assert part in str(caught.value)


def test_a_comment_silences_a_whole_file_and_an_unknown_slug_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(f"# snellen: ignore-file[fill-out-of-range]\n{MASK}")
    assert run([path], chosen_rules(["fill-out-of-range"])).findings == []
    path.write_text(MASK.replace("-1e9)", "-1e9)  # snellen: ignore[fill-out-of-rnage]"))
    report = run([path], chosen_rules(["fill-out-of-range"]))
    assert len(report.findings) == 1
    assert [(error.line, error.message) for error in report.errors] == [
        (3, "the comment silences 'fill-out-of-rnage', which is no rule")
    ]


def test_known_findings_stay_known_when_lines_move_and_new_ones_count(tmp_path: Path) -> None:
    project(tmp_path, "")
    rules = chosen_rules(["fill-out-of-range"])
    kept = tmp_path / "known.json"
    assert write_baseline(kept, run([tmp_path], rules).findings) == 3
    (tmp_path / "a.py").write_text(f"# moved\n\n{MASK}    y = scores.masked_fill(mask, -1e9)\n{MASK}")
    fresh = new_findings(run([tmp_path], rules).findings, read_baseline(kept, verb="lint"), tmp_path)
    assert [(finding.location.line) for finding in fresh if finding.location] == [6, 9]


@pytest.mark.parametrize("text", ["", "[]", '{"version": 9, "findings": []}', '{"version": 1, "findings": [{}]}'])
def test_what_is_no_baseline_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "known.json").write_text(text)
    with pytest.raises(UsageError, match="is not a baseline"):
        read_baseline(tmp_path / "known.json", verb="lint")
    with pytest.raises(UsageError, match="does not exist"):
        read_baseline(tmp_path / "absent.json", verb="lint")
