"""`snellen explain`, `snellen lint` and `snellen rules`: what they print and how they end."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from snellen.cli.main import main
from snellen.core.rule import HEADINGS
from snellen.rules.catalogue import catalogue

OVERFLOW = """Traceback (most recent call last):
  File "train.py", line 3, in forward
    scores = scores.masked_fill(mask, -1e9)
RuntimeError: value cannot be converted to type at::Half without overflow
"""
MASK = "import torch\nscores = scores.half()\nx = scores.masked_fill(mask, -1e9)\n"

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def snellen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs the command line in this process; gives exit code, stdout and stderr."""

    def call(*arguments: object, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["snellen", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        return int(str(code)), out, err

    return call


def test_explain_prints_cause_evidence_fix_and_what_next(snellen: Call, tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(OVERFLOW)
    code, out, err = snellen("explain", path)
    assert (code, err) == (0, "")
    assert "half-overflow" in out.splitlines()[0]
    assert "line 4: RuntimeError: value cannot be converted" in out
    assert "torch.finfo(scores.dtype).min" in out
    assert "or else" in out
    assert out.splitlines()[-1] == "next: snellen explain half-overflow"


def test_explain_reads_stdin(snellen: Call) -> None:
    assert "half-overflow" in snellen("explain", "-", stdin=OVERFLOW)[1]
    assert "half-overflow" in snellen("explain", stdin=OVERFLOW)[1]


def test_explain_in_json(snellen: Call) -> None:
    code, out, _ = snellen("explain", "-", "--json", stdin=OVERFLOW)
    data = json.loads(out)
    assert code == 0
    assert data["diagnoses"][0]["slug"] == "half-overflow"
    assert data["diagnoses"][0]["evidence"][0]["location"]["line"] == 4
    assert data["diagnoses"][0]["fix"]["text"]


def test_explain_says_when_nothing_is_known(snellen: Call) -> None:
    code, out, _ = snellen("explain", "-", stdin="Epoch 1: loss 0.3\n")
    assert code == 2
    assert "Nothing known" in out
    code, out, _ = snellen("explain", "-", "--json", stdin="")
    assert code == 2
    assert json.loads(out)["diagnoses"] == []


def test_explain_asks_this_machine(snellen: Call, tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text("ModuleNotFoundError: No module named 'no_such_package'\n")
    assert snellen("explain", path)[1].splitlines()[-1].startswith(f"next: snellen explain {path} --probe")
    code, out, _ = snellen("explain", path, "--probe")
    assert code == 0
    assert "  here      confirmed: " in out
    probed = json.loads(snellen("explain", path, "--probe", "--json")[1])["diagnoses"][0]["probe"]
    assert probed["outcome"] == "confirmed"
    path.write_text(OVERFLOW)
    assert "  here      cannot tell: no probe" in snellen("explain", path, "--probe")[1]
    assert json.loads(snellen("explain", path, "--json")[1])["diagnoses"][0]["probe"] is None
    code, out, err = snellen("explain", "half-overflow", "--probe")
    assert (code, out) == (2, "")
    assert "--probe needs a log" in err


def test_explain_tells_failures_of_one_log_apart(snellen: Call) -> None:
    log = f"ModuleNotFoundError: No module named 'timmx'\n$ python train.py\n{OVERFLOW}"
    out = snellen("explain", "-", stdin=log)[1]
    assert "(this ended the log; earlier failures in it are listed below)" in out
    assert out.index("half-overflow") < out.index("Also in this log:") < out.index("missing-package")
    log = f"{OVERFLOW}$ python train.py\nValueError: unheard of\n"
    out = snellen("explain", "-", stdin=log)[1]
    assert out.startswith("Nothing known fits the failure that ended the log:")
    assert "ValueError: unheard of" in out
    assert json.loads(snellen("explain", "-", "--json", stdin=log)[1])["unknown_failure"].endswith("unheard of")


def test_explain_prints_nothing_that_steers_a_terminal(snellen: Call, tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2J\u202e.log"
    path.write_text(OVERFLOW.replace("scores", "sc\x1b]0;x\x07\u202eores") + "\x1b[31m\x9b2J\x00")
    for options in ((), ("--json",), ("--probe",)):
        code, out, _ = snellen("explain", path, *options)
        assert code == 0
        assert not set(out) & set("\x1b\x07\x00\x9b\u202e")
    _, out, err = snellen("explain", tmp_path / "b\x1b[2J")
    assert "\x1b" not in out + err


def test_explain_refuses_what_is_no_log_in_one_line(snellen: Call, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(b"PK\x03\x04" + bytes(range(256)))
    code, out, err = snellen("explain", path)
    assert (code, out) == (2, "")
    assert err.startswith(f"snellen: {path} is not text: it begins like a zip archive")
    assert snellen("explain", "-", stdin="")[0] == 2


def test_explain_a_rule(snellen: Call) -> None:
    code, out, _ = snellen("explain", "half-overflow")
    assert code == 0
    assert all(heading in out for heading in HEADINGS)
    assert set(json.loads(snellen("explain", "half-overflow", "--json")[1])["sections"]) == set(HEADINGS)


def test_explain_names_the_nearest_rule(snellen: Call) -> None:
    code, out, err = snellen("explain", "half-overfow")
    assert (code, out) == (2, "")
    assert "did you mean the rule half-overflow?" in err
    assert "is neither a file nor a rule" in snellen("explain", "no/such/file.log")[2]


def test_lint_prints_findings_and_a_summary(snellen: Call, tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(MASK)
    code, out, err = snellen("lint", tmp_path)
    assert (code, err) == (1, "")
    assert out.startswith(f"{path}:3:30: error[fill-out-of-range]")
    assert "1 finding in 1 file" in out
    assert out.splitlines()[-1].startswith("next: snellen lint")


def test_lint_in_json(snellen: Call, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(MASK)
    (tmp_path / "b.py").write_text("def f(:\n")
    code, out, err = snellen("lint", "--json", tmp_path)
    assert (code, err) == (1, "")
    data = json.loads(out)
    (finding,) = data["findings"]
    assert {key: finding[key] for key in ("slug", "line", "column", "level")} == {
        "slug": "fill-out-of-range",
        "line": 3,
        "column": 30,
        "level": "error",
    }
    assert finding["fix"]["safety"] == "safe"
    assert [error["line"] for error in data["errors"]] == [1]


def test_lint_exit_codes(snellen: Call, tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = 1\n")
    assert snellen("lint", path)[0] == 0
    path.write_text("model.load_state_dict(state, strict=False)\n")
    code, out, _ = snellen("lint", path)
    assert (code, "warning[silent-random-weights]" in out) == (0, True)
    path.write_text("def f(:\n")
    code, _, err = snellen("lint", path)
    assert code == 2
    assert "a.py:1: syntax error" in err
    assert snellen("lint", tmp_path / "absent")[0] == 2
    assert snellen("lint", tmp_path, "--select", "nonsense")[0] == 2


def test_lint_fixes_and_shows_differences(snellen: Call, tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(MASK)
    code, out, _ = snellen("lint", path, "--diff")
    assert code == 1
    assert "+x = scores.masked_fill(mask, torch.finfo(scores.dtype).min)" in out
    assert path.read_text() == MASK
    code, out, _ = snellen("lint", path, "--fix")
    assert code == 0
    assert out.strip() == "0 findings in 1 file, 1 fixed"
    assert "torch.finfo(scores.dtype).min" in path.read_text()


def test_rules_lists_all_and_shows_one(snellen: Call) -> None:
    code, out, _ = snellen("rules")
    assert code == 0
    assert all(slug in out for slug in catalogue())
    assert snellen("rules", "list")[1] == out
    assert "nan-loss" not in snellen("rules", "list", "--family", "data")[1]
    assert len(json.loads(snellen("rules", "list", "--json")[1])["rules"]) == len(catalogue())
    assert "What happens" in snellen("rules", "show", "nan-loss")[1]
    assert "did you mean nan-loss" in snellen("rules", "show", "nan-los")[2]
    assert "expected one of" in snellen("rules", "list", "--family", "dta")[2]


@pytest.mark.parametrize("verb", ["explain", "watch", "lint", "rules"])
def test_help_has_examples(snellen: Call, verb: str) -> None:
    code, out, _ = snellen(verb, "--help")
    assert code == 0
    assert out.count(f"snellen {verb}") >= 3


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m snellen rules | head -1 > /dev/null; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
