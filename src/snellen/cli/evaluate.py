"""`snellen evaluate`: metrics on a split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["register"]

_WORST = 5
_MOST_CLASSES = 20
_SPLITS = ("train", "val", "test")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate", epilog="Example:  snellen evaluate runs/demo --split test --gallery errors")(evaluate)


def evaluate(
    target: Annotated[Path, typer.Argument(metavar="DIR|RUN.yaml", help="A trained run's folder, or a run file.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Settings that win.")] = None,
    split: Annotated[str, typer.Option(help="Which of data.train, data.val and data.test.")] = "val",
    gallery: Annotated[Path | None, typer.Option(help="Folder for pictures of the worst errors.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first images.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Metrics on a split, with 95% bootstrap intervals, and the images to look at."""
    from snellen.cli._cores import share_cores

    share_cores()
    from snellen.cli._output import print_json
    from snellen.core.file_kinds import nearest
    from snellen.errors import UsageError
    from snellen.tasks.target import open_target

    if split not in _SPLITS:
        close = nearest(split, _SPLITS)
        raise UsageError(
            f"--split is {split!r}, expected {', '.join(_SPLITS[:-1])} or {_SPLITS[-1]}",
            hint=f"did you mean {close}?" if close else None,
        )
    opened = open_target(target, overrides or [])
    evaluation = opened.task.evaluate(
        opened.config, checkpoints=opened.checkpoints, split=split, limit=limit, gallery=gallery
    )
    if as_json:
        print_json(
            {
                "metrics": evaluation.metrics,
                "rows": evaluation.rows,
                "notes": evaluation.notes,
                "tables": evaluation.tables,
            }
        )
        return
    _print_figures(evaluation.metrics)
    worst = sorted((row for row in evaluation.rows if "f1" in row), key=lambda row: float(row["f1"]))[:_WORST]
    for row in worst:
        typer.echo(f"  look at {row['image']}: F1 {row['f1']:.3f}, score {row['score']:.3f}")
    _print_classes(evaluation.tables.get("classes", ()))
    for note in evaluation.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"next: snellen predict {target} IMAGES -o predictions")


def _print_figures(metrics: Mapping[str, float]) -> None:
    """One line for each figure; those of single classes, `HEAD/CLASS/FIGURE`, only of heads with few classes."""
    from snellen.cli._output import figure
    from snellen.explain.lines import harmless

    names = [name for name in metrics if not name.endswith(("_low", "_high"))]
    classes: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        head, _, rest = name.partition("/")
        if "/" in rest:
            classes[head].add(rest.rpartition("/")[0])
    for name in names:
        head, _, rest = name.partition("/")
        if "/" not in rest or len(classes[head]) <= _MOST_CLASSES:
            typer.echo(f"{harmless(name):24} {figure(metrics, name)}")
    for head, found in classes.items():
        if len(found) > _MOST_CLASSES:
            typer.echo(f"  and figures of each of the {len(found)} classes of {head}: --json holds all")


def _print_classes(classes: Sequence[Mapping[str, Any]]) -> None:
    """Precision, recall and F1 of the classes, those with the worst F1 first."""
    from snellen.explain.lines import harmless

    worst = sorted(classes, key=lambda row: -1.0 if row["f1"] is None else float(row["f1"]))
    for row in worst[:_MOST_CLASSES]:
        figures = ", ".join(f"{name} {_share(row[name])}" for name in ("precision", "recall", "f1"))
        typer.echo(f"  {harmless(str(row['class'])):24} {row['images']:6} images, {figures}")
    if len(worst) > _MOST_CLASSES:
        typer.echo(f"  and {len(worst) - _MOST_CLASSES} classes with a higher F1: --json holds all")


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
