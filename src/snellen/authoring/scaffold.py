"""The files of a new rule: the rule itself, an example of every kind, and a test that proves them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import get_args

from snellen.core.files import write_text
from snellen.core.rule import Family
from snellen.errors import UsageError
from snellen.rules.catalogue import catalogue
from snellen.rules.project import FOLDER

__all__ = ["Layout", "layout_of", "scaffold"]

_SLUG = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)+")
_LONGEST_SLUG = 48


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of a rule lie.

    Args:
        rule: The folder of its file.
        examples: The folder that holds a folder of examples for each rule.
        test: The test that proves all of them; `None` where there is one already.
    """

    rule: Path
    examples: Path
    test: Path | None


def layout_of(project: Path, family: str) -> Layout:
    """Where a rule belongs in a project: in Snellen's own repository among its own, elsewhere in `snellen_rules/`.

    Args:
        project: The folder one works in.
        family: The rule's family.
    """
    own = project / "src" / "snellen" / "rules"
    if (own / "catalogue.py").is_file():
        return Layout(own / family, project / "tests" / "rules", None)
    return Layout(project / FOLDER, project / FOLDER / "examples", project / "tests" / "test_snellen_rules.py")


def scaffold(slug: str, family: str, project: Path) -> list[Path]:
    """Write the files of a new rule; nothing that exists is touched.

    Args:
        slug: Its name, the pattern and not the remedy: `mask-values`.
        family: One of the families of `snellen rules`.
        project: The folder one works in.

    Returns:
        What was written.

    Raises:
        UsageError: The slug or the family will not do, the rule exists, or a file is there already.
    """
    problems = list(_problems(slug, family))
    if problems:
        raise UsageError("; ".join(problems), hint="for example: snellen rules new mask-values --family data")
    layout = layout_of(project, family)
    name = slug.replace("-", "_")
    examples = layout.examples / slug
    words = {"slug": slug, "family": family, "word": name, "title": slug.replace("-", " ").capitalize()}
    files = {
        layout.rule / f"{name}.py": _RULE,
        examples / "fires_example.log": _FIRES,
        examples / "silent_example.log": _SILENT,
        examples / "bad_example.py": _BAD,
        examples / "good_example.py": _GOOD,
    }
    taken = [str(path) for path in files if path.exists()]
    if taken:
        raise UsageError(f"{', '.join(taken)} exists already", hint="choose another name")
    if layout.test is not None and not layout.test.exists():
        files[layout.test] = _TEST
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, Template(text).substitute(words))
    return list(files)


def _problems(slug: str, family: str) -> Iterator[str]:
    if not _SLUG.fullmatch(slug) or len(slug) > _LONGEST_SLUG:
        yield f"{slug!r} is no slug: expected two or more lower-case words joined by hyphens"
    if slug in catalogue():
        yield f"a rule called {slug} exists already: {catalogue()[slug].module}"
    if family not in get_args(Family):
        yield f"no family is called {family!r}: expected one of {', '.join(get_args(Family))}"


_RULE = r'''"""$title: say in one sentence what a person sees.

What happens
------------
What is printed, word for word, or what is wrong with the result when nothing is printed.

Why
---
The mechanism: which part does what with which value, and why that fails.

How to confirm
--------------
A command, or two lines of Python, that tell this failure from its neighbours.

Fix
---
What to change, with the value computed where the evidence allows it.

When it is something else
-------------------------
What looks the same and is not, with the slug of the rule that knows it.

Sources
-------
- Replace this by the page that documents the behaviour: https://docs.pytorch.org/docs/stable/index.html
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.finding import Fix, FixSafety, Level
from snellen.core.log import Log, LogMatch
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile

__all__ = ["RULE"]

_MESSAGE = r"$word went wrong: (\d+)"


def _examine_log(log: Log) -> LogMatch | None:
    line = log.search(_MESSAGE)
    if line is None:
        return None
    return LogMatch(0.9, (line.evidence,), "Say why this happened, with the values seen.", Fix("Say what to change."))


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    for call in file.calls_to("$word"):
        fix = Fix(
            "Write `mended_$word`.",
            FixSafety.UNSAFE,
            "say why a program may or may not apply it",
            edits=(file.edit(call.span, call.code.replace("$word", "mended_$word", 1)),),
        )
        yield Hit("say what is wrong here, with the values seen", call.span, fix)


RULE = Rule(
    slug="$slug",
    family="$family",
    title="$title",
    level=Level.WARNING,
    log=LogFacet(("$word went wrong",), _examine_log),
    source=SourceFacet(("$word",), _examine_source),
    before=absent("say why it cannot be known before the run"),
    during=absent("say why no step of the run shows it"),
    module=__name__,
)
'''

_FIRES = "Epoch 1: loss 0.7\n$word went wrong: 3\n"
_SILENT = "Epoch 1: loss 0.7\nEpoch 2: loss 0.5\n"
_BAD = "value = $word(3)\n"
_GOOD = "value = mended_$word(3)\n"

_TEST = '''"""The project's own rules: pages, gaps and examples are in order."""

from __future__ import annotations

from pathlib import Path

import pytest
import snellen
from snellen.authoring import problems_of

FOLDER = Path(__file__).parents[1] / "snellen_rules"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("[!_]*.py")), ids=lambda path: path.stem)
def test_a_rule_is_in_order(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER.parent)
    slug = path.stem.replace("_", "-")
    assert list(problems_of(snellen.rules()[slug], FOLDER / "examples" / slug)) == []
'''
