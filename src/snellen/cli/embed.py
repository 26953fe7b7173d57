"""`snellen embed`: images into vectors, without a run file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from snellen.errors import WeightsError

__all__ = ["register"]

_OPTIONS = {"model.weights=FILE": "--weights FILE", "model.pretrained=false": "--no-pretrained"}
"""Settings that a hint may name, as this command takes them."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("embed", epilog="Example:  snellen embed photos/ -o features --backbone dinov2_vits14")(embed)


def embed(  # noqa: PLR0913, PLR0917 - one parameter for each option
    inputs: Annotated[
        list[Path], typer.Argument(metavar="IN...", help="Images, folders, patterns, lists, Parquet, tar shards.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the features.")],
    backbone: Annotated[
        str, typer.Option(help="dinov2_vits14, clip_vitb32, a timm name, hog, runs/NAME ...")
    ] = "dinov2_vits14",
    weights: Annotated[Path | None, typer.Option(help="Weights from a local file.")] = None,
    pretrained: Annotated[bool, typer.Option(help="Fetch the published weights.")] = True,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps; auto takes an accelerator.")] = "auto",
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that decode.")] = None,
    cache: Annotated[str, typer.Option(metavar="auto|off|FOLDER", help="Vectors known by content.")] = "auto",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first images.")] = None,
    engine: Annotated[str, typer.Option(metavar="local|ray", help="This process, or a Ray cluster.")] = "local",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Embed any number of images into Parquet files. What cannot be read is listed; a second call goes on."""
    from snellen.cli._cores import share_cores

    share_cores()
    from snellen.cli._predictions import print_outcome
    from snellen.tasks.predict import predict_stream
    from snellen.tasks.target import target_of

    settings = {
        "task": "embed",
        "model": {
            "backbone": backbone,
            "weights": None if weights is None else str(weights),
            "pretrained": pretrained,
        },
        "device": device,
        "data": {"workers": "auto" if workers is None else workers},
        "cache": False if cache == "off" else cache,
    }
    try:
        outcome, files, notes = predict_stream(
            target_of(settings), inputs, out=out, limit=limit, engine=engine, quiet=as_json
        )
    except WeightsError as error:
        raise _with_options(error) from error
    print_outcome(outcome, files, notes, out=out, as_json=as_json)


def _with_options(error: WeightsError) -> WeightsError:
    hint = error.hint
    for setting, option in _OPTIONS.items():
        hint = hint and hint.replace(setting, option)
    return WeightsError(error.message, hint=hint, slug=error.slug)
