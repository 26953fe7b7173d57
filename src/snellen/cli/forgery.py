"""`snellen forgery`: what only the forgery task needs, before and after a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from snellen.errors import UsageError

__all__ = ["register"]

_HELP = "Copy-move forgeries: make training data, validate a submission."


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help=_HELP, epilog="Example:  snellen forgery synthesise photos/ -o data")
    group.command("synthesise", epilog="Example:  snellen forgery synthesise photos/ -o data/train --count 2000")(
        synthesise
    )
    group.command("validate", epilog="Example:  snellen forgery validate submission.csv --images test/")(validate)
    app.add_typer(group, name="forgery")


def synthesise(
    photos: Annotated[Path, typer.Argument(help="Folder of authentic photos.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for forged/, masks/ and authentic/.")],
    count: Annotated[int, typer.Option(min=1, help="Images to make.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same images.")] = 0,
    authentic: Annotated[float, typer.Option(min=0, max=1, help="Share of images without a copy.")] = 0.2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make forgeries with known masks from authentic photos; a second call goes on where the first one ended."""
    from functools import partial

    from snellen.cli._output import print_json
    from snellen.data.synthesis.copy_move import synthesise_folder
    from snellen.report.progress import track

    report = synthesise_folder(
        photos,
        out,
        count=count,
        seed=seed,
        authentic_fraction=authentic,
        track=partial(track, description="synthesise"),
    )
    if as_json:
        unusable = [{"photo": photo, "reason": reason} for photo, reason in report.unusable]
        made = {"forged": report.forged, "authentic": report.authentic, "kept": report.kept}
        print_json({"out": out, **made, "unusable": unusable})
        return
    typer.echo(f"{report.forged} forged and {report.authentic} authentic images in {out}, {report.kept} made before")
    for photo, reason in report.unusable:
        typer.echo(f"not used: {photo}: {reason}", err=True)
    typer.echo(f"next: set data.train to {out} in a run file, then  snellen check RUN.yaml")


def validate(
    submission: Annotated[Path, typer.Argument(help="The CSV file.")],
    images: Annotated[Path | None, typer.Option(help="Folder of the images that it must cover.")] = None,
    order: Annotated[str, typer.Option(help="Numbering of pixels: columns or rows.")] = "columns",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a submission file: every problem, with its line."""
    from snellen.cli._output import print_json
    from snellen.data.listing import find_images
    from snellen.tasks.forgery.submission import image_sizes, validate_submission

    if order not in ("columns", "rows"):
        raise UsageError(f"--order is {order!r}, expected columns or rows")
    sizes = image_sizes(find_images([images], recursive=True).files) if images else None
    problems = validate_submission(submission, images=sizes, order="columns" if order == "columns" else "rows")
    unread = sorted(name for name, size in (sizes or {}).items() if size is None)
    if as_json:
        print_json({"problems": [str(problem) for problem in problems], "images_not_read": unread})
    else:
        for problem in problems:
            typer.echo(str(problem))
        if unread:
            few = ", ".join(unread[:5]) + (", ..." if len(unread) > 5 else "")
            typer.echo(f"note: of {len(unread)} images the size cannot be read, so their ranges are not checked: {few}")
        typer.echo(f"{submission}: {len(problems)} problems" if problems else f"{submission}: no problems")
        if problems:
            typer.echo("next: mend these, then the same command again")
        elif images is None:
            typer.echo(f"next: snellen forgery validate {submission} --images FOLDER  also checks ids and ranges")
    if problems:
        raise typer.Exit(1)
