"""`snellen explain`: why a run failed, or what a rule says."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snellen.core.file_kinds import nearest
from snellen.core.files import plain
from snellen.core.rule import HEADINGS
from snellen.errors import UsageError

if TYPE_CHECKING:
    from snellen.core.log import Diagnosis
    from snellen.core.rule import Rule
    from snellen.explain.rank import Ranking

__all__ = ["register"]

_WIDTH = 100
_EXAMPLES = """\b
Examples:
  snellen explain train.log              the log of a failed run
  python train.py 2>&1 | snellen explain -
  snellen explain half-overflow          the page of one rule
  snellen explain train.log --json       for programs

\b
Exit code 0: answered; 2: nothing known, or the file cannot be read."""


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command(epilog=_EXAMPLES)(explain)


def explain(
    source: Annotated[str, typer.Argument(metavar="[LOG|-|SLUG]", help="A log, - for stdin, or a rule.")] = "-",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say why a run failed: root cause first, evidence, fix. Works without torch."""
    from snellen.explain import examine
    from snellen.rules.catalogue import catalogue

    if source != "-" and not Path(source).exists() and source in catalogue():
        typer.echo(_rule_json(catalogue()[source]) if as_json else "\n".join(_page(catalogue()[source])))
        return
    if source == "-":
        if sys.stdin.isatty():
            typer.echo("reading the log from stdin; end it with Ctrl-D", err=True)
        ranking = examine(sys.stdin.buffer)
    else:
        _must_exist(source)
        ranking = examine(Path(source))
    for problem in ranking.problems:
        typer.echo(f"snellen: rule {problem}", err=True)
    typer.echo(_ranking_json(ranking) if as_json else "\n".join(_report(ranking)))
    if not ranking.diagnoses:
        raise typer.Exit(2)


def _must_exist(source: str) -> None:
    if Path(source).exists():
        return
    from snellen.rules.catalogue import catalogue

    close = nearest(source, catalogue())
    hint = (
        f"did you mean the rule {close}?"
        if close
        else "give the path of a log, - for stdin, or a rule of `snellen rules`"
    )
    raise UsageError(f"{source} is neither a file nor a rule", hint=hint)


def _ranking_json(ranking: Ranking) -> str:
    return json.dumps({"diagnoses": plain(ranking.diagnoses), "problems": list(ranking.problems)}, indent=2)


def _rule_json(rule: Rule) -> str:
    sections = {heading: rule.section(heading) for heading in HEADINGS}
    data = {"slug": rule.slug, "title": rule.title, "family": rule.family, "level": rule.level, "sections": sections}
    return json.dumps(data, indent=2)


def _page(rule: Rule) -> Iterator[str]:
    yield f"{rule.slug}  ({rule.family}, found in: {', '.join(rule.moments) or 'nothing yet'})"
    yield ""
    yield rule.page.strip()


def _report(ranking: Ranking) -> Iterator[str]:
    if not ranking.diagnoses:
        yield "Nothing known fits this log: no answer is better than a wrong one."
        yield ""
        yield "Give the whole log, from the first line of the traceback on; `snellen rules` lists what is known."
        return
    for number, diagnosis in enumerate(ranking.diagnoses):
        if number == 1:
            yield "Also possible:"
        yield from _diagnosis(diagnosis) if number == 0 else _short(diagnosis)
    yield f"next: snellen explain {ranking.diagnoses[0].slug}"


def _diagnosis(diagnosis: Diagnosis) -> Iterator[str]:
    yield f"{diagnosis.title}  [{diagnosis.slug}, {diagnosis.score:.0%} sure]"
    yield ""
    yield from _part("cause", diagnosis.cause)
    for fact in diagnosis.evidence:
        line = fact.location.line if fact.location and fact.location.path == "log" else None
        yield from _part("evidence", f"line {line}: {fact.text}" if line else fact.text)
    yield from _part("fix", diagnosis.fix.text)
    if diagnosis.fix.command:
        yield from _part("run", diagnosis.fix.command)
    yield from _part("confirm", diagnosis.confirm)
    yield from _part("or else", diagnosis.otherwise)
    yield ""


def _short(diagnosis: Diagnosis) -> Iterator[str]:
    yield from _part(diagnosis.slug, f"{diagnosis.cause} {diagnosis.fix.text}")


def _part(label: str, text: str) -> Iterator[str]:
    indent = " " * 12
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    for position, paragraph in enumerate(paragraphs):
        head = f"  {label:<9} " if position == 0 else indent
        yield textwrap.fill(paragraph, _WIDTH, initial_indent=head, subsequent_indent=indent, break_long_words=False)
