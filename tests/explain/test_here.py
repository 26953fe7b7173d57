"""Probes ask this machine, change nothing, and never take the answer with them when they fail."""

from __future__ import annotations

import io
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from snellen.core.finding import Fix, Level
from snellen.core.log import Log, LogMatch
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import LogFacet, Rule, absent
from snellen.explain import examine
from snellen.explain.here import ThisMachine, probe
from snellen.rules.catalogue import catalogue

LOG = Log(())


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return ThisMachine(tmp_path, sys.executable)


def test_versions_and_modules_are_found_without_importing(here: ThisMachine) -> None:
    assert here.version("pytest") == version("pytest")
    assert here.version("PyTest_Timeout") == version("pytest-timeout")
    assert here.version("no-such-distribution") is None
    loaded = set(sys.modules)
    assert all(map(here.can_import, ("json", "sys", "numpy", "torch.nn", "os.path")))
    assert not any(
        map(here.can_import, ("no_such_module", "torch.no_such", "json.tool.deeper", "", "a b", "x;y", ".."))
    )
    assert "torch.nn" in loaded or "torch.nn" not in sys.modules


def test_the_root_is_looked_at_first(here: ThisMachine, tmp_path: Path) -> None:
    assert not here.can_import("mine.part")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "part.py").touch()
    assert here.can_import("mine.part")
    assert here.root == tmp_path


def test_another_interpreter_is_asked_where_it_looks(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    other = ThisMachine(tmp_path, str(python))
    assert other.version("pytest") is None
    assert not other.can_import("numpy")
    assert other.can_import("json")


def test_code_and_commands_run_apart(here: ThisMachine, tmp_path: Path) -> None:
    ran = here.python("import os, sys; print(os.getcwd()); print('err', file=sys.stderr); sys.exit(3)")
    assert ran.code == 3
    assert ran.output.split() == [str(tmp_path.resolve()), "err"]
    assert here.command("no-such-program").code is None
    assert here.command(sys.executable, "-c", "print(input())").code == 1
    assert here.python("import os; os.kill(os.getpid(), 9)").code == -9
    assert len(here.python("print('x' * 5_000_000)").output) == 100_000


def test_what_takes_too_long_is_ended_with_all_that_it_started(here: ThisMachine) -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    started = time.monotonic()
    assert here.python(code, seconds=1).code is None
    assert time.monotonic() - started < 20


def _rule(probing: object) -> Rule:
    gap = absent("not needed in this test")
    facet = LogFacet((), lambda _: LogMatch(0.9, (), "cause", Fix("fix")), probing)  # type: ignore[arg-type]
    return Rule(
        slug="a",
        family="tasks",
        title="a",
        level=Level.ERROR,
        log=facet,
        source=gap,
        before=gap,
        during=gap,
        module=__name__,
    )


def test_a_probe_answers_or_says_why_it_cannot(here: ThisMachine) -> None:
    def broken(log: Log, machine: Here) -> Answer:
        raise ZeroDivisionError("oh")

    confirmed = Answer(Outcome.CONFIRMED, "seen")
    assert probe(_rule(lambda log, machine: confirmed), LOG, here) is confirmed
    assert probe(_rule(broken), LOG, here) == Answer(Outcome.CANNOT_TELL, "the probe failed: ZeroDivisionError: oh")
    answer = probe(_rule(None), LOG, here)
    assert answer.outcome is Outcome.CANNOT_TELL
    assert answer.text.startswith("no probe: ")


@pytest.mark.parametrize(("module", "outcome"), [("no_such_package", "confirmed"), ("json5x_really", "confirmed")])
def test_explain_with_a_probe(module: str, outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ranking = examine(f"ModuleNotFoundError: No module named '{module}'\n", probe=True)
    assert ranking.probed is not None
    assert ranking.probed["missing-package"].outcome.value == outcome


PROBES = [slug for slug, rule in catalogue().items() if isinstance(rule.log, LogFacet) and rule.log.probe is not None]


class Refusing:
    """A machine on which nothing is found and nothing can be run."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def version(self, package: str) -> str | None:
        return None

    def can_import(self, module: str) -> bool:
        return False

    def python(self, code: str, seconds: float = 60) -> object:
        compile(code, "probe", "exec")
        from snellen.core.probe import Ran

        return Ran(None, "")

    def command(self, *arguments: str, seconds: float = 20) -> object:
        from snellen.core.probe import Ran

        assert all(isinstance(argument, str) for argument in arguments)
        return Ran(None, "")


@pytest.mark.parametrize("slug", PROBES)
def test_every_probe_answers_where_nothing_is_to_be_had(slug: str, tmp_path: Path) -> None:
    from snellen.explain.parse import parse

    rule = catalogue()[slug]
    assert isinstance(rule.log, LogFacet)
    assert rule.log.probe is not None
    for path in sorted((Path(__file__).parents[1] / "rules" / slug).glob("*.log")):
        answer = rule.log.probe(parse(path), Refusing(tmp_path))  # type: ignore[arg-type]
        assert isinstance(answer, Answer)
        assert answer.text.strip()
        json.dumps(answer.text)
    assert isinstance(rule.log.probe(parse(io.BytesIO(b"nothing\n")), Refusing(tmp_path)), Answer)  # type: ignore[arg-type]
