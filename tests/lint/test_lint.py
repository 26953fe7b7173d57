"""Lint on whole folders: projects, notebooks, comments, fixes, and files that cannot be read."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

import snellen
from snellen.core.finding import Edit, Level
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.errors import UsageError
from snellen.lint import inspect
from snellen.lint.fixes import apply_edits, fix_files
from snellen.lint.read import parse_text
from snellen.lint.runner import Report, chosen_rules, run

MASK = "import torch\nx = scores.masked_fill(mask, -1e9)\n"


def notebook(path: Path, *cells: str) -> Path:
    data = [{"cell_type": "markdown", "source": ["text"]}]
    data += [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    path.write_text(json.dumps({"cells": data, "nbformat": 4}))
    return path


def look(*paths: Path) -> Report:
    return run(paths, chosen_rules())


def test_facts_that_span_the_files_of_a_project(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text("def pad(h):\n    return ((h + 31) // 32) * 32\n")
    assert look(tmp_path).findings == []
    (tmp_path / "model.py").write_text("import timm\nnet = timm.create_model('vit_base_patch14_dinov2')\n")
    (finding,) = look(tmp_path).findings
    assert finding.slug == "padding-not-lcm"
    assert finding.evidence[0].location is not None
    assert finding.evidence[0].location.path.endswith("model.py")
    assert finding.fix is not None
    assert finding.fix.edits[0].replacement == "((h + 223) // 224) * 224"


def test_a_finding_in_a_notebook_names_cell_and_line(tmp_path: Path) -> None:
    path = notebook(tmp_path / "a.ipynb", "%matplotlib inline\nimport torch\n", "!ls\n# note\n" + MASK)
    (finding,) = look(path).findings
    assert str(finding.location) == f"{path}:4:30 (cell 2)"
    assert finding.fix is not None
    assert [(edit.path, edit.start_line) for edit in finding.fix.edits] == [(f"{path}#cell=2", 4)]


@pytest.mark.parametrize(
    "cell",
    ["%%bash\nif [ 1 ]; then echo; fi", "%%writefile a.txt\n{{{", "%%time\nx = 1", "x = !ls", "files = %who",
     "print?", "?print", "if a:\n    !pip list\n", "x = 5 % 3\n", "%load_ext autoreload", "",
     "%%javascript\nalert(1);", "y = (1\n% 2)"],
)  # fmt: skip
def test_magics_and_commands_are_no_syntax_errors(tmp_path: Path, cell: str) -> None:
    report = look(notebook(tmp_path / "a.ipynb", cell, MASK))
    assert report.errors == []
    assert [finding.location.key for finding in report.findings if finding.location] == ["cell 2"]


def test_a_broken_cell_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    report = look(notebook(tmp_path / "a.ipynb", "def f(:", MASK))
    assert [error.message for error in report.errors] == ["cell 1: syntax error: invalid syntax"]
    assert len(report.findings) == 1


@pytest.mark.parametrize(
    "comment",
    ["x = scores.masked_fill(mask, -1e9)  # snellen: ignore[fill-out-of-range]",
     "x = scores.masked_fill(mask, -1e9)  # noqa  # snellen: ignore[nan-loss, fill-out-of-range]",
     "# float32 only  # snellen: ignore[fill-out-of-range]\nx = scores.masked_fill(mask, -1e9)"],
)  # fmt: skip
def test_a_comment_silences_a_finding(tmp_path: Path, comment: str) -> None:
    path = tmp_path / "a.py"
    path.write_text(comment)
    assert snellen.lint(path) == []
    path.write_text(comment.replace("fill-out-of-range", "nan-loss"))
    assert len(snellen.lint(path)) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.py", b"def f(:\n", "syntax error"),
        ("a.py", b"\xff\xfe\x00", "not readable as text"),
        ("a.py", b"x = 1\x00", "null byte"),
        ("a.py", b"# coding: nonsense\n", "unknown encoding"),
        ("a.py", b"(" * 5000 + b")" * 5000, "too many nested parentheses"),
        ("a.py", b"x = " + b"-" * 100_000 + b"1\n", "cannot be parsed"),
        ("a.ipynb", b"{", "not a notebook"),
        ("a.ipynb", b"[]", "no list of cells"),
        ("a.ipynb", b'{"cells": [1]}', "no list of cells"),
    ],
)
def test_a_file_that_cannot_be_read_is_reported_and_the_rest_goes_on(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "good.py").write_text(MASK)
    report = look(tmp_path)
    assert len(report.findings) == 1
    (error,) = report.errors
    assert error.path.endswith(name)
    assert message in error.message


def test_a_failing_rule_is_reported_and_the_others_go_on(tmp_path: Path) -> None:
    def broken(file: object) -> list[object]:
        raise KeyError("oh")

    gap = absent("not needed in this test")
    facet = SourceFacet(("",), broken)  # type: ignore[arg-type]
    rule = Rule(
        slug="bad", family="tasks", title="Bad", level=Level.ERROR, log=gap, source=facet, before=gap, during=gap,
        module=__name__,
    )  # fmt: skip
    (tmp_path / "a.py").write_text(MASK)
    report = run([tmp_path], {**chosen_rules(), "bad": rule})
    assert len(report.findings) == 1
    assert [error.message for error in report.errors] == ["rule bad failed: KeyError: 'oh'"]


def test_virtual_environments_and_hidden_folders_are_passed_over(tmp_path: Path) -> None:
    for folder in ("venv/lib", ".hidden", "__pycache__", "src"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.py").write_text(MASK)
    (tmp_path / "venv" / "pyvenv.cfg").write_text("")
    report = look(tmp_path)
    assert report.files == 1
    assert len(look(tmp_path / ".hidden").findings) == 1


def test_bad_requests_are_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        snellen.lint(tmp_path / "absent")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(UsageError, match="neither Python nor a notebook nor YAML"):
        snellen.lint(tmp_path / "a.txt")
    with pytest.raises(UsageError, match="did you mean nan-loss"):
        snellen.lint(tmp_path, ignore=["nan-los"])
    with pytest.raises(UsageError, match="does not look at source"):
        snellen.lint(tmp_path, select=["half-overflow"])


def test_rules_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(MASK + "model.load_state_dict(s, strict=False)\n")
    assert [f.slug for f in snellen.lint(path)] == ["fill-out-of-range", "silent-random-weights"]
    assert [f.slug for f in snellen.lint(path, select=["silent-random-weights"])] == ["silent-random-weights"]
    assert [f.slug for f in snellen.lint(path, ignore=["silent-random-weights"])] == ["fill-out-of-range"]
    assert inspect([path], rules={}) == []


def fix(path: Path, *, unsafe: bool = False, write: bool = True) -> object:
    return fix_files(look(path), unsafe=unsafe, write=write, again=lambda: look(path))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_marks_are_kept(tmp_path: Path, end: str) -> None:
    path = tmp_path / "a.py"
    text = "\ufeff" + MASK.replace("\n", end) + "# größer" + end
    path.write_bytes(text.encode())
    fix(path)
    expected = text.replace("-1e9", "torch.finfo(scores.dtype).min")
    assert path.read_bytes().decode() == expected


def test_unsafe_fixes_wait_to_be_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("import torch\nx = torch.full_like(y, 1e9)\n")
    assert fix(path).applied == 0  # type: ignore[attr-defined]
    assert fix(path, unsafe=True).applied == 1  # type: ignore[attr-defined]
    assert "torch.finfo(y.dtype).max" in path.read_text()


def test_a_difference_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(MASK)
    diff = fix(path, write=False).diff  # type: ignore[attr-defined]
    assert path.read_text() == MASK
    assert "-x = scores.masked_fill(mask, -1e9)" in diff
    assert "+x = scores.masked_fill(mask, torch.finfo(scores.dtype).min)" in diff


def test_a_file_that_may_not_be_written_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.py"
    path.write_text(MASK)
    path.chmod(stat.S_IRUSR)
    # The super-user may write everything; what the system would answer others is put in its place.
    monkeypatch.setattr("os.access", lambda *_: False)
    fixed = fix(path)
    assert [error.message for error in fixed.errors] == ["not fixed: permission denied"]  # type: ignore[attr-defined]
    assert path.read_text() == MASK


def test_two_edits_of_one_place_are_not_applied_at_once() -> None:
    first, second = Edit("a", 1, 0, 1, 3, "xyz"), Edit("a", 1, 2, 1, 5, "--")
    assert apply_edits("abcdef\n", [[first], [second]]) == ("xyzdef\n", 1)
    parse_text("x = 1")
