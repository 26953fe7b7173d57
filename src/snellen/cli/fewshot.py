"""`snellen fewshot`: what only few-shot recognition needs, before a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]

_HELP = "Few-shot recognition: cut boxes out, write the table of classes."
_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help=_HELP, epilog="Example:  snellen fewshot crop data/cells -o crops")
    group.command("crop", epilog="Example:  snellen fewshot crop data/cells -o crops")(crop)
    group.command("truth", epilog="Example:  snellen fewshot truth run.yaml -o truth.csv")(truth)
    app.add_typer(group, name="fewshot")


def crop(
    folder: Annotated[Path, typer.Argument(help="Pictures with boxes: Pascal VOC, YOLO or COCO.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for a folder of each class.")],
    margin: Annotated[float, typer.Option(min=0, max=2, help="Added on each side, as a share of the box.")] = 0.1,
    smallest: Annotated[int, typer.Option(min=1, help="Boxes with a shorter side are left out.")] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Cut boxes out of pictures into a folder for each class."""
    from snellen.cli._output import print_json, say
    from snellen.data.cropping import crop_boxes
    from snellen.data.layouts import read_layout
    from snellen.errors import DataError

    listing = read_layout(folder, key="FOLDER")
    if not any(sample.boxes for sample in listing.samples):
        raise DataError(
            f"{folder} holds no boxes: it was read as {listing.layout} ({listing.why})",
            hint="expected annotations in the form of Pascal VOC, YOLO or COCO",
        )
    report = crop_boxes(listing.samples, out, classes=listing.classes, margin=margin, smallest=smallest)
    if as_json:
        print_json({"counts": dict(report.counts), "problems": report.problems})
        return
    counts = ", ".join(f"{count} {label}" for label, count in report.counts.most_common())
    say(f"{report.counts.total()} boxes cut into {out}: {counts}")
    for problem in report.problems[:_SHOWN]:
        say(f"left out: {problem}", err=True)
    if len(report.problems) > _SHOWN:
        say(f"and {len(report.problems) - _SHOWN} more left out", err=True)
    say(f"next: set data.test to {out} and data.episodes in a run file, then  snellen evaluate RUN.yaml --split test")


def truth(
    run: Annotated[Path, typer.Argument(metavar="RUN.yaml", help="A few-shot run file.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The table to write.")],
    split: Annotated[str, typer.Option(help="Which of data.val and data.test.")] = "test",
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Settings that win.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write the table of images and their classes, to be edited and named in data.truth."""
    from snellen.cli._output import print_json, say
    from snellen.errors import UsageError
    from snellen.tasks.fewshot.config import FewShotRun
    from snellen.tasks.fewshot.data import read_queries
    from snellen.tasks.fewshot.evaluate import source_of
    from snellen.tasks.fewshot.truth import write_truth
    from snellen.tasks.target import open_target

    config = open_target(run, overrides or []).config
    if not isinstance(config, FewShotRun):
        raise UsageError(f"{run} is a run of the task {config.task}, expected fewshot")
    queries = read_queries(source_of(config, split))
    empty = write_truth(out.absolute(), queries)
    if as_json:
        print_json({"table": out, "images": len(queries), "without_a_class": empty})
        return
    say(f"{len(queries)} images in {out}, {empty} of them without a class")
    say(f"next: fill in the column label, then  snellen evaluate {run} data.truth={out.absolute()} --split {split}")
