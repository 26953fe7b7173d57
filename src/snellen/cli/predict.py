"""`snellen predict`: any number of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


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
    engine: Annotated[str, typer.Option(metavar="local|ray", help="This process, or a Ray cluster.")] = "local",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Predict any number of images. What cannot be read is listed at the end; a second call goes on."""
    from snellen.cli._cores import share_cores

    share_cores()
    from snellen.cli._predictions import print_outcome
    from snellen.tasks.predict import predict_stream
    from snellen.tasks.target import open_target

    overrides = [item for item in inputs if _is_setting(item)]
    paths = [Path(item) for item in inputs if not _is_setting(item)]
    outcome, files, notes = predict_stream(
        open_target(target, overrides),
        paths,
        out=out,
        limit=limit,
        engine=engine,
        quota_hours=quota_hours,
        quiet=as_json,
    )
    print_outcome(outcome, files, notes, out=out, as_json=as_json)


def _is_setting(item: str) -> bool:
    return "=" in item and not Path(item).exists()
