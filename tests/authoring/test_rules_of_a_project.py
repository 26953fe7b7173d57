"""A rule of one's own: scaffolded, loaded, proven, and loud about what is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from snellen.authoring import problems_of, scaffold
from snellen.errors import UsageError
from snellen.rules.catalogue import broken, catalogue


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def snellen(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    command = [sys.executable, "-m", "snellen", *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def test_a_new_rule_fires_on_its_examples_and_says_what_its_page_lacks(project: Path) -> None:
    written = scaffold("flux-lost", "tasks", project)
    assert (project / "tests" / "test_snellen_rules.py") in written
    problems = list(problems_of(catalogue()["flux-lost"], project / "snellen_rules" / "examples" / "flux-lost"))
    assert problems == []


def test_the_test_that_comes_with_it_runs(project: Path) -> None:
    scaffold("flux-lost", "tasks", project)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_examples_that_do_not_do_what_their_names_say_are_named(project: Path) -> None:
    scaffold("flux-lost", "tasks", project)
    folder = project / "snellen_rules" / "examples" / "flux-lost"
    (folder / "fires_example.log").write_text("nothing here\n")
    (folder / "silent_example.log").write_text("flux_lost went wrong: 1\n")
    (folder / "bad_example.py").write_text("x = 1\n")
    (folder / "good_example.py").write_text("x = flux_lost(1)\n")
    problems = "\n".join(problems_of(catalogue()["flux-lost"], folder))
    for part in (
        "fires_example.log: the first answer is none",
        "silent_example.log: flux-lost answers",
        "bad_example.py: found nothing, expected flux-lost",
        "good_example.py: found flux-lost, expected nothing",
    ):
        assert part in problems


def test_the_command_line_writes_lists_and_proves(project: Path) -> None:
    made = snellen(project, "rules", "new", "flux-lost", "--family", "tasks")
    assert made.returncode == 0, made.stderr
    assert "flux-lost" in snellen(project, "rules").stdout
    proven = snellen(project, "rules", "test")
    assert (proven.returncode, proven.stdout) == (0, "flux-lost: in order\nnext: snellen rules show flux-lost\n")
    assert "flux-lost" not in snellen(project, "rules", SNELLEN_PROJECT_RULES="0").stdout
    (project / "sub").mkdir()
    assert "flux-lost" in snellen(project / "sub", "rules").stdout


@pytest.mark.parametrize(
    ("slug", "family", "message"),
    [
        ("Flux", "tasks", "is no slug"),
        ("flux", "tasks", "two or more"),
        ("../up-here", "tasks", "is no slug"),
        ("half-overflow", "tasks", "exists already"),
        ("flux-lost", "shape", "no family is called 'shape'"),
    ],
)
def test_names_that_will_not_do(project: Path, slug: str, family: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        scaffold(slug, family, project)
    assert not (project / "snellen_rules").exists()


def test_nothing_that_exists_is_touched(project: Path) -> None:
    scaffold("flux-lost", "tasks", project)
    (project / "snellen_rules" / "flux_lost.py").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        scaffold("flux-lost", "tasks", project)
    assert (project / "snellen_rules" / "flux_lost.py").read_text() == "mine"


def test_a_broken_file_is_left_out_and_named(project: Path) -> None:
    folder = project / "snellen_rules"
    folder.mkdir()
    (folder / "a_b.py").write_text("x = (")
    (folder / "c_d.py").write_text("import sys; sys.exit(3)")
    (folder / "e_f.py").write_text("")
    (folder / "_helper.py").write_text("raise ValueError")
    assert [problem.partition("snellen_rules/")[2][:6] for problem in broken()] == ["a_b.py", "c_d.py", "e_f.py"]
    assert "half-overflow" in catalogue()
