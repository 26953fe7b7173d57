"""The facts that the linter gives a rule, for tests of what is read out of them."""

from __future__ import annotations

import textwrap
from pathlib import Path

from snellen.core.finding import Level
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import SourceFile
from snellen.lint.runner import run


def facts(folder: Path, source: str, *, head: str = "", **others: str) -> SourceFile:
    """The facts of `main.py` in a project of Python files, whose other files are given by name.

    Args:
        folder: Where the files are written.
        source: Text of `main.py`; indentation that all lines share is taken off.
        head: Put before it, as it is.
        others: Texts of further files.
    """
    for name, text in {"main": head + textwrap.dedent(source), **others}.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    return facts_below(folder)["main"]


def facts_of_file(path: Path, text: str) -> SourceFile:
    """The facts of one file of any kind that the linter reads."""
    path.write_text(text)
    return facts_below(path)[path.stem]


def facts_below(path: Path) -> dict[str, SourceFile]:
    """The facts of every file at or below a path, by the name without suffix."""
    seen: dict[str, SourceFile] = {}

    def examine(file: SourceFile) -> tuple[()]:
        seen[Path(file.path).stem] = file
        return ()

    gap = absent("not needed in this test")
    rule = Rule(
        slug="look",
        family="tasks",
        title="Look",
        level=Level.ERROR,
        log=gap,
        source=SourceFacet(("",), examine),
        before=gap,
        during=gap,
        module=__name__,
    )
    report = run([path], {"look": rule})
    assert not report.errors
    return seen
