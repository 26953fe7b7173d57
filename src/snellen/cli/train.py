"""`snellen train`: check, then train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train", epilog="Example:  snellen train run.yaml optim.epochs=1")(train)


def train(
    run_file: Annotated[Path, typer.Argument(metavar="RUN.yaml", help="The run file.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Settings that win.")] = None,
    check: Annotated[bool, typer.Option(help="Check the run first, and refuse to train with errors.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a run, then train it. Ctrl-C and kill -9 lose nothing: `snellen resume` goes on."""
    from snellen.cli._cores import share_cores

    share_cores()
    from snellen.cli._check import refuse_errors
    from snellen.cli._output import print_training
    from snellen.tasks.target import open_target
    from snellen.tasks.train import train_run

    chosen = overrides or []
    report = refuse_errors(run_file, chosen, as_json=as_json) if check else None
    folder, result = train_run(open_target(run_file, chosen), report=report)
    print_training(folder, result, as_json=as_json)
