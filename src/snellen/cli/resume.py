"""`snellen resume`: go on with an interrupted run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("resume", epilog="Example:  snellen resume runs/demo")(resume)


def resume(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Settings that win.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Go on with an interrupted run from its last whole checkpoint, as if nothing had happened."""
    from snellen.cli._cores import share_cores

    share_cores()
    from snellen.cli._output import print_training
    from snellen.tasks.train import resume_run

    path, result = resume_run(folder, overrides or [])
    print_training(path, result, as_json=as_json)
