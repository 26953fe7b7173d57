"""`snellen predict`: any number of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]

_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict", epilog="Example:  snellen predict run.yaml photos/ -o out --limit 20 --quota-hours 4")(
        predict
    )


def predict(
    target: Annotated[Path, typer.Argument(metavar="DIR|RUN.yaml", help="A trained run's folder, or a run file.")],
    inputs: Annotated[
        list[str], typer.Argument(metavar="IN...", help="Images, folders, patterns; KEY=VALUE settings.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for everything that is written.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first inputs.")] = None,
    quota_hours: Annotated[float | None, typer.Option(min=0, help="Hours that all inputs may take.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Predict any number of images. What cannot be read is listed at the end; a second call goes on."""
    from snellen.cli._cores import share_cores

    share_cores()
    from snellen.cli._output import print_json
    from snellen.tasks.predict import predict_run
    from snellen.tasks.target import open_target

    overrides = [item for item in inputs if _is_setting(item)]
    paths = [Path(item) for item in inputs if not _is_setting(item)]
    report, files, notes = predict_run(
        open_target(target, overrides), paths, out=out, limit=limit, quota_hours=quota_hours
    )
    if as_json:
        print_json({**report.to_dict(), "files": [str(path) for path in files], "notes": notes})
    else:
        for line in report.lines(limit=_SHOWN):
            typer.echo(line)
        for note in notes:
            typer.echo(f"note: {note}")
        for path in files:
            typer.echo(f"wrote {path}")
        typer.echo(f"next: look into {out / 'overlays'}")
    if report.failed:
        raise typer.Exit(1)


def _is_setting(item: str) -> bool:
    return "=" in item and not Path(item).exists()
