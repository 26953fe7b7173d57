"""Rules are asked without loading those that have nothing to say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from snellen.core.rule import Absent
from snellen.rules.asking import askable, literals_in
from snellen.rules.catalogue import catalogue, files


@pytest.mark.parametrize("slug", files())
def test_triggers_are_read_from_the_source_as_they_are(slug: str) -> None:
    facet = catalogue()[slug].log
    assert literals_in(files()[slug]) == (False if isinstance(facet, Absent) else facet.triggers), (
        "write the triggers as one tuple of strings inside LogFacet(...), or as a constant of the module"
    )


def test_all_rules_with_a_facet_for_logs_can_be_asked() -> None:
    rules = askable()
    known = {slug for slug, rule in catalogue().items() if not isinstance(rule.log, Absent)}
    assert {*rules.unread, *rules.loaded} == known
    assert list(rules.about("value cannot be converted to type at::half without overflow")) == ["half-overflow"]
    assert list(rules.among(["without overflow"])) == ["half-overflow"]
    assert set(rules.literals) >= {literal for literals in rules.unread.values() for literal in literals}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('    log=LogFacet(("a b", "c(d"), _examine),', ("a b", "c(d")),
        (
            '    log=LogFacet(\n        (\n            *("a", "b"),  # why\n            *("c",),\n        ), _f,',
            ("a", "b", "c"),
        ),
        ('_T = ("a",)\n\n    log=LogFacet(_T, _examine),', ("a",)),
        ('_T: Final = (\n    "a",\n)\n    log=LogFacet(triggers=_T, examine=_f),', ("a",)),
        ("    log=LogFacet((), _examine),", ()),
        ('    log=absent("no line tells of it"),', False),
        ('    log=LogFacet(("a" "b"), _examine),', None),
        ("    log=LogFacet(tuple(x for x in Y), _examine),", None),
        ('    log=LogFacet(("a", _B), _examine),', None),
        ('    log=LogFacet(("\\u00e9",), _examine),', ("é",)),
        ("RULE = other()", None),
    ],
)
def test_what_cannot_be_read_has_to_be_run(source: str, expected: object, tmp_path: Path) -> None:
    path = tmp_path / "rule.py"
    path.write_text(source)
    assert literals_in(path) == expected
    assert literals_in(tmp_path / "absent.py") is None


def test_nothing_else_is_loaded() -> None:
    program = (
        "import sys, snellen\n"
        "assert snellen.explain('RuntimeError: value cannot be converted to type at::Half without overflow')\n"
        "loaded = [name for name in sys.modules if name.startswith('snellen.rules.') and name.count('.') == 3]\n"
        "assert len(loaded) < 5, loaded\n"
        "assert 'importlib.metadata' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_rules_of_a_project_are_asked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "snellen_rules").mkdir()
    text = (
        files()["half-overflow"]
        .read_text()
        .replace("half-overflow", "own-rule")
        .replace("without overflow", "own words")
    )
    (tmp_path / "snellen_rules" / "own_rule.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert "own-rule" in askable().about("own words")
    assert "own words" in askable().literals
