"""`snellen sync`: curves of runs to Weights & Biases, now or later."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sync", epilog="Example:  snellen sync runs/* --project my-project")(sync)


def sync(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of runs.")],
    project: Annotated[str, typer.Option(help="Project of Weights & Biases.")] = "snellen",
    entity: Annotated[str | None, typer.Option(help="User or team; your own without it.")] = None,
    patience: Annotated[float, typer.Option(min=1, help="Seconds that the server may take.")] = 60.0,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until standard input ends.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Upload what Weights & Biases does not have yet of the curves of runs.

    Every run is tried; exit code 2 when one could not be uploaded. Nothing is sent but curves and the run file.
    """
    from snellen.cli._output import print_json
    from snellen.engine.uploading import sync_run
    from snellen.errors import SnellenError

    rows, failed = [], False
    for folder in folders:
        try:
            done = sync_run(
                folder, project=project, entity=entity, patience=patience, follow=sys.stdin if follow else None
            )
        except SnellenError as error:
            failed = True
            rows.append({"run": str(folder), "uploaded": 0, "error": error.message})
            typer.echo(f"{folder}: {error}", err=True)
            continue
        rows.append({"run": str(folder), "uploaded": done.lines, "before": done.before, "address": done.address})
        if not as_json:
            typer.echo(f"{folder}: {done.lines} lines uploaded, {done.before} before{_where(done.address)}")
    if as_json:
        print_json({"runs": rows})
    elif not failed:
        typer.echo("next: the same command again after the run has gone on")
    if failed:
        raise typer.Exit(2)


def _where(address: str) -> str:
    return f"; {address}" if address else ""
