"""Findings for code hosts."""

from __future__ import annotations

from pathlib import Path

from snellen.lint.runner import chosen_rules, run
from snellen.report.github import github
from snellen.report.sarif import sarif

MASK = "import torch\nwith torch.autocast('cuda'):\n    x = scores.masked_fill(mask, -1e9)\n"


def test_sarif_names_rule_place_and_fix(tmp_path: Path) -> None:
    (tmp_path / "a b.py").write_text(MASK)
    rules = chosen_rules(["fill-out-of-range", "unfold-blowup"])
    (only,) = sarif(run([tmp_path], rules).findings, rules, version="1.2.3")["runs"]
    described = only["tool"]["driver"]["rules"]
    (result,) = only["results"]
    assert described[result["ruleIndex"]]["id"] == result["ruleId"] == "fill-out-of-range"
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == (tmp_path / "a b.py").as_uri()
    assert place["region"] == {"startLine": 3, "startColumn": 34}
    (replacement,) = result["fixes"][0]["artifactChanges"][0]["replacements"]
    assert replacement["deletedRegion"] == {"startLine": 3, "startColumn": 34, "endLine": 3, "endColumn": 38}
    assert replacement["insertedContent"]["text"] == "torch.finfo(scores.dtype).min"


def test_github_gives_one_line_for_each_finding(tmp_path: Path) -> None:
    (tmp_path / "a,b.py").write_text(MASK)
    rules = chosen_rules(["fill-out-of-range"])
    (line,) = github(run([tmp_path], rules).findings)
    assert line.startswith("::")
    assert "a%2Cb.py,line=3,col=34,title=fill-out-of-range::" in line
    assert "\n" not in line
