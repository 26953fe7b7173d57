"""Findings as people and programs read them."""

from __future__ import annotations

import io
import json
import re

from rich.console import Console

from snellen.core.check_report import CheckReport
from snellen.core.finding import CheckResult, Edit, Evidence, Finding, Fix, FixSafety, Level, Location, State
from snellen.report.check_page import check_page
from snellen.report.check_text import report_text
from snellen.report.json import render
from snellen.report.text import count_words, findings_text

FINDING = Finding(
    "half-overflow",
    Level.ERROR,
    "-1e9 [does] not fit",
    Location("a.py", 3, 5),
    tuple(Evidence(f"line {number}") for number in range(7)),
    Fix("Write 0.", FixSafety.SAFE, edits=(Edit("a.py", 3, 4, 3, 8, "0"),), command="snellen lint a.py --fix"),
)
REPORT = CheckReport(
    "run.yaml",
    (
        CheckResult("half-overflow", State.FAILED, "A constant", (FINDING,), family="precision"),
        CheckResult("nan-loss", State.SKIPPED, "NaN", reason="costs minutes"),
        CheckResult("split-case", State.PASSED, "Case"),
        CheckResult("corrupt-image", State.PASSED, "Bad", reason="in the run's code"),
        CheckResult("missing-file", State.MUTED, "Gone", (FINDING,), "ignored"),
    ),
    (("precision", "fp32", "no accelerator"), ("machine", "auto", "this machine")),
    ("data.train: opened 12 images",),
    ("3 GB of memory",),
    seconds=1.25,
)


def shown(text):
    stream = io.StringIO()
    Console(file=stream, soft_wrap=True, highlight=False).print(text, end="")
    return stream.getvalue()


def test_a_finding_has_place_message_evidence_and_fix():
    lines = shown(findings_text([FINDING])).splitlines()
    assert lines[0] == "error   half-overflow  a.py:3:5"
    assert lines[1].strip() == "-1e9 [does] not fit"
    assert "- and 2 more" in lines[7]
    assert lines[8].strip() == "fix: Write 0.  (--fix applies it)"
    assert lines[9].strip() == "$ snellen lint a.py --fix"


def test_a_report_tells_what_was_not_checked():
    text = shown(report_text(REPORT))
    assert text.startswith("run.yaml: 1 error\n")
    assert "\n1 error · precision\nerror   half-overflow  a.py:3:5\n" in text
    assert "\nlooked at\n  data.train: opened 12 images\n\nit will take\n  3 GB of memory\n" in text
    assert "precision  fp32  no accelerator" in text
    assert "machine" not in text
    for title, line in (
        ("not checked, because", "costs minutes: nan-loss"),
        ("checked in part", "corrupt-image  passed  in the run's code"),
        ("muted", "missing-file  muted  1 finding: ignored"),
    ):
        assert f"\n{title}\n  {line}\n" in text
    assert text.endswith("5 checks in 1.2 s: 1 failed, 2 passed, 1 skipped, 1 muted\n")
    assert "split-case" not in text
    assert "split-case" in shown(report_text(REPORT, verbose=True))


def test_counting_and_json():
    assert count_words([]) == "no findings"
    warning = Finding("x", Level.WARNING, "m")
    assert count_words([warning, FINDING, warning]) == "1 error, 2 warnings"
    data = json.loads(render(REPORT.to_dict() | {"loss": float("nan")}))
    assert data["loss"] == "nan"
    assert data["counts"]["muted"] == 1
    assert [finding["line"] for finding in data["findings"]] == [3]


def test_a_path_of_thousands_of_characters_is_shortened_in_the_middle() -> None:
    path = f"/data/{'deep/' * 2000}cat 7.png"
    finding = Finding(
        "corrupt-image",
        Level.ERROR,
        f"{path} cannot be decoded",
        Location(path),
        (Evidence("is empty", Location(path)),),
        Fix(f"Fetch {path} again.", command=f"rm '{path}'"),
    )
    report = CheckReport(
        path, (CheckResult("corrupt-image", State.FAILED, "Bad", (finding,), reason=path),), (), (path,)
    )
    for text in (shown(report_text(report)), re.sub(r"<code>rm .*?</code>", "", check_page(report))):
        assert max(map(len, text.replace(f"$ rm '{path}'", "").split())) <= 400
        assert "/data/deep/deep/" in text
        assert "deep/cat 7.png" in text
    assert path in render(report.to_dict()), "programs get all of it"
    assert f"rm '{path}'" in shown(report_text(report)), "and so does who copies the command"
