"""`snellen watch`: run a command, and explain it when it fails."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from snellen.watch import Watched

__all__ = ["register"]

_EXAMPLES = """\b
Examples:
  snellen watch -- python train.py --lr 1e-4
  snellen watch --log train.log -- torchrun --nproc-per-node 4 train.py
  snellen watch --always -- yolo train data=coco8.yaml

\b
What the command prints passes through untouched; the explanation goes to stderr.
Exit code: the command's own; 128 + n when signal n ended it; 127 when there is no such program."""


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    # What stands behind the command's name is the command's, with or without `--`.
    settings = {"ignore_unknown_options": True, "allow_interspersed_args": False}
    app.command(epilog=_EXAMPLES, context_settings=settings)(watch)


def watch(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="The program and its arguments.")],
    log: Annotated[Path | None, typer.Option(metavar="FILE", help="Keep a copy of all that is printed.")] = None,
    always: Annotated[bool, typer.Option("--always", help="Explain also when it ends well.")] = False,
    probe: Annotated[bool, typer.Option("--probe", help="Ask this machine whether the answers hold here.")] = False,
) -> None:
    """Run a command; colours, progress bars, keys, signals and exit code stay its own. Explain it when it fails."""
    from snellen.watch import watch as run

    watched = run(command, log=log)
    try:
        if always or (watched.code and not watched.interrupted):
            _explain(watched, command, log, probe=probe)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - nothing may change the command's exit code
        typer.echo(f"snellen: no explanation: {type(error).__name__}: {error}", err=True)
    raise typer.Exit(watched.code)


def _explain(watched: Watched, command: list[str], log: Path | None, *, probe: bool) -> None:
    from snellen.cli._output import say
    from snellen.cli._ranking import NOTHING, ranking_lines

    ranking = watched.explain(probe=probe)
    how = f"was ended by {watched.signal}" if watched.signal else f"ended with exit code {watched.code}"
    say(f"\nsnellen: {shlex.join(command)[:200]} {how}", err=True)
    for problem in (*watched.problems, *ranking.problems):
        say(f"snellen: {problem}", err=True)
    if not ranking.diagnoses:
        say(NOTHING, err=True)
        return
    again = f"snellen explain {shlex.quote(str(log))}" if log is not None else ""
    say("\n".join(ranking_lines(ranking, again=again)), err=True)
