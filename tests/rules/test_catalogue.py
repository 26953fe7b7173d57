"""The catalogue: found by folder, helpful on a miss, unharmed by other packages."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import snellen
from snellen.errors import UsageError
from snellen.rules.catalogue import catalogue, get


def test_a_miss_names_the_nearest_rule() -> None:
    with pytest.raises(UsageError, match="did you mean half-overflow"):
        get("half-overfow")


def test_the_catalogue_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        catalogue()["mine"] = get("nan-loss")  # type: ignore[index]


def test_public_names_stay_functions_after_their_folders_are_imported() -> None:
    assert snellen.rules() is catalogue()
    assert snellen.explain("nothing to see") == []
    assert callable(snellen.lint)
    with pytest.raises(AttributeError, match="no_such"):
        _ = snellen.no_such


def _package(folder: Path, rules: str) -> None:
    """A package with an entry point, as pip would install it."""
    (folder / "their_rules.py").write_text(rules)
    info = folder / "their_rules-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-rules\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[snellen.rules]\nours = their_rules:RULES\n")


GOOD = """
from snellen.core.finding import Fix, Level
from snellen.core.log import LogMatch
from snellen.core.rule import LogFacet, Rule, absent
examine = lambda log: LogMatch(0.9, (), "because", Fix("do")) if log.search("flux") else None
RULES = [Rule(slug="flux-lost", family="tasks", title="Flux lost", level=Level.ERROR, log=LogFacet(("flux",), examine),
              source=absent("none"), before=absent("none"), during=absent("none"), module=__name__)]
"""


def _python(folder: Path, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_another_package_adds_a_rule(tmp_path: Path) -> None:
    _package(tmp_path, GOOD)
    assert _python(tmp_path, "import snellen; print(snellen.explain('the flux is gone')[0].slug)") == "flux-lost"


@pytest.mark.parametrize("rules", ["raise RuntimeError('boom')", "RULES = 3", "RULES = ['x']", "from x_y import z"])
def test_a_broken_rule_of_another_package_is_reported_and_left_out(tmp_path: Path, rules: str) -> None:
    _package(tmp_path, rules)
    code = "from snellen.rules.catalogue import broken, catalogue; print(len(catalogue()), len(broken()), broken())"
    own, problems, text = _python(tmp_path, code).split(" ", 2)
    theirs = list(importlib.metadata.entry_points(group="snellen.rules"))
    assert int(own) == len(catalogue()) - len(theirs)
    assert int(problems) == 1
    assert "their_rules:RULES" in text
