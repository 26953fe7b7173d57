"""`snellen explain`: why a run failed, or what a rule says."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snellen.core.file_kinds import nearest
from snellen.errors import UsageError

if TYPE_CHECKING:
    from snellen.core.rule import Rule

__all__ = ["register"]

_EXAMPLES = """\b
Examples:
  snellen explain train.log              the log of a failed run
  python train.py 2>&1 | snellen explain -
  snellen explain train.log --probe      and ask this machine whether it is so
  snellen explain notebook.ipynb         what the cells printed
  snellen explain runs/unet              a folder: logs, metrics, TensorBoard event files
  snellen explain half-overflow          the page of one rule
  snellen explain train.log --json       for programs

\b
Exit code 0: answered; 2: nothing known, or the file cannot be read.
Ctrl-C while the log comes from stdin gives the answer so far."""


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command(epilog=_EXAMPLES)(explain)


def explain(
    source: Annotated[str, typer.Argument(metavar="[LOG|-|SLUG]", help="A log, - for stdin, or a rule.")] = "-",
    probe: Annotated[bool, typer.Option("--probe", help="Ask this machine whether the answers hold here.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say why a run failed: root cause first, evidence, fix. Works without torch."""
    from snellen.cli._output import print_json, print_page, say
    from snellen.cli._ranking import ranking_data, ranking_lines
    from snellen.explain import examine

    if source != "-" and not Path(source).exists():
        rule = _rule(source)
        if probe:
            raise UsageError("--probe needs a log", hint=f"snellen explain LOG --probe; {source} is a rule")
        print_page(rule, as_json=as_json)
        return
    if source == "-" and sys.stdin.isatty():
        typer.echo("reading the log from stdin; end it with Ctrl-D", err=True)
    ranking = examine(sys.stdin.buffer if source == "-" else Path(source), probe=probe)
    for problem in ranking.problems:
        say(f"snellen: {problem}", err=True)
    again = "" if source == "-" else f"snellen explain {shlex.quote(source)}"
    if as_json:
        print_json(ranking_data(ranking))
    else:
        say("\n".join(ranking_lines(ranking, again=again)))
    if not ranking.diagnoses:
        raise typer.Exit(2)


def _rule(slug: str) -> Rule:
    from snellen.rules.catalogue import catalogue, files, load

    if slug in files():
        return load(slug)
    if slug in catalogue():
        return catalogue()[slug]
    close = nearest(slug, catalogue())
    hint = (
        f"did you mean the rule {close}?"
        if close
        else "give the path of a log, - for stdin, or a rule of `snellen rules`"
    )
    raise UsageError(f"{slug} is neither a file nor a rule", hint=hint)
