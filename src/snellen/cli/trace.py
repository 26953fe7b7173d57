"""`snellen trace`: what happens inside a model, module by module."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snellen.cli._models import parse_shape, reporting, wide_console
from snellen.cli._output import print_json

if TYPE_CHECKING:
    from snellen.models.backbones.named import NamedModel
    from snellen.trace.table import Traced

__all__ = ["register"]

_EXAMPLES = """\b
Examples:
  snellen trace resnet50
  snellen trace dinov2_vits14 --input 1x3x518x518
  snellen trace timm:convnext_tiny --input 8x3x224x224 --depth 2
  snellen trace torchvision:segmentation.deeplabv3_resnet50 --input 2x3x256x256 --json
  snellen trace my_package.models:build --input 1x3x64x64
  snellen trace net.py:Net --input 4x3x32x32

\b
Exit code 0: the model takes the input; 1: it does not, and the last module entered is named; 2: no such model."""

_DEFAULT = (3, 224, 224)
_ONE_VALUE = "Expected more than 1 value per channel when training"


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command(epilog=_EXAMPLES)(trace)


def trace(
    model: Annotated[str, typer.Argument(help="A model by name, or module:callable.")],
    *,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="SHAPE", help="Shape of an input, as 1x3x224x224; repeatable."),
    ] = None,
    depth: Annotated[int, typer.Option(min=0, help="Show modules down to this depth; 0 for all.")] = 2,
    evaluate: Annotated[
        bool, typer.Option("--eval", help="In evaluation mode; nothing is kept for a backward.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show shape, dtype, parameters, activation memory and operations of every module; no weights, no GPU."""
    from snellen.models.backbones.named import named_model
    from snellen.trace.fake import build_without_weights
    from snellen.trace.table import trace as traced_through

    named = reporting(named_model(model))
    shapes: list[Any] = [parse_shape(text) for text in inputs or ()] or [_default_shape(named)]
    if named.takes_list:
        shapes = [[shape[1:] for shape in shapes for _ in range(shape[0])]]
    built = build_without_weights(named.build)
    train = not (evaluate or named.takes_list)
    traced = traced_through(built, shapes, train=train)
    remark = ""
    if not inputs and train and _ONE_VALUE in traced.problem and traced.failed_in is not None:
        # Nobody asked for one image: what trains has more.
        remark = (
            f"{traced.failed_in.name} normalises over the batch and has one value for each channel of one image, which "
            f"training refuses: two images were sent instead; --eval takes one"
        )
        traced = traced_through(built, [(2, *shapes[0][1:])], train=train)
    if as_json:
        print_json({"model": named.name, "remark": remark, **asdict(traced)})
    else:
        _print(named.name, traced, depth, remark)
    if traced.problem:
        raise typer.Exit(1)


def _default_shape(named: NamedModel) -> tuple[int, ...]:
    return (1, *(named.input_size or _DEFAULT))


def _print(name: str, traced: Traced, depth: int, remark: str) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("module", "kind", "input", "output", "dtype"):
        table.add_column(heading, overflow="fold")
    for heading in ("parameters", "activations", "GFLOP"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in traced.rows:
        if depth and row.depth > depth:
            continue
        sizes = (f"{row.parameters:,}", f"{row.activation_bytes / 2**20:,.1f} MiB", f"{row.flops / 1e9:,.2f}")
        table.add_row("  " * row.depth + (row.name.rpartition(".")[2] or name), row.kind, _shown(row.inputs),
                      _shown(row.outputs), row.dtype, *sizes)  # fmt: skip
    console = wide_console()
    console.print(table)
    if traced.problem:
        where = traced.failed_in
        place = f" in {where.name or name} ({where.kind}), given {_shown(where.inputs)}" if where is not None else ""
        console.print(f"\nstopped{place}: {traced.problem}", markup=False)
    if remark:
        console.print(f"\nnote: {remark}", markup=False)
    console.print(
        f"\n{traced.parameters:,} parameters ({traced.parameter_bytes / 2**20:,.1f} MiB), "
        f"{traced.activation_bytes / 2**20:,.1f} MiB kept for the backward pass, {traced.flops / 1e9:,.2f} GFLOP",
        markup=False,
    )
    console.print(f"next: snellen estimate {name} --input ... shows on which GPU a training step fits", markup=False)


def _shown(shapes: tuple[tuple[int, ...], ...]) -> str:
    shown = ["x".join(map(str, shape)) or "scalar" for shape in shapes[:3]]
    return ", ".join(shown) + (f" and {len(shapes) - 3} more" if len(shapes) > 3 else "")
