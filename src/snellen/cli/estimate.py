"""`snellen estimate`: on which GPU it fits, at which batch size, and how long a step takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snellen.cli._models import parse_shape, reporting, wide_console
from snellen.cli._output import print_json
from snellen.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from snellen.estimate.prediction import Need, Verdict
    from snellen.estimate.step import Phase, Workload
    from snellen.tasks.estimate import Calibrated, Line

__all__ = ["register"]

_EXAMPLES = """\b
Examples:
  snellen estimate run.yaml                               the run, on all known machines
  snellen estimate run.yaml --machine kaggle-t4 --batch-size 16
  snellen estimate run.yaml model.name=resnet50 data.image_size=224   settings that win over the run file
  snellen estimate timm:vit_base_patch14_dinov2 --input 3x518x518 --precision bf16
  snellen estimate resnet50 --optimiser sgd --batch-size 64 --json
  snellen estimate net.py:Net --input 3x32x32 --inference
  snellen estimate resnet18 --batch-size 4 --calibrate    times real steps here beside what was predicted

\b
Nothing is loaded onto a GPU: the step is gone through on tensors without numbers, and PyTorch's allocator is played
through on paper. Exit code 0: it fits on all machines asked for; 1: not on all of them; 2: unusable input."""

_MIB = 2**20
_GIB = 2**30
_ALLOCATIONS_SHOWN = 5
_STYLES = {"yes": "green", "no": "red", "perhaps": "yellow"}
_WORDS = {"yes": "fits", "no": "does not fit", "perhaps": "may fit"}


class Precision(StrEnum):
    """Formats of the heavy operations."""

    AUTO = "auto"
    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"


class Optimiser(StrEnum):
    """Optimisers of a model that comes without a run."""

    ADAMW = "adamw"
    ADAM = "adam"
    SGD = "sgd"
    ADAMW_8BIT = "adamw-8bit"


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command(epilog=_EXAMPLES)(estimate)


def estimate(  # noqa: PLR0913 - the options of a command
    target: Annotated[str, typer.Argument(help="A run file, the folder of a run, or a model by name.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings that win over the run file.")
    ] = None,
    *,
    sample: Annotated[str | None, typer.Option("--input", metavar="SHAPE", help="One sample, as 3x224x224.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Samples of a micro-batch.")] = None,
    machine: Annotated[list[str] | None, typer.Option(help="Only this machine; repeatable.")] = None,
    precision: Annotated[Precision | None, typer.Option(help="Instead of the run's own.")] = None,
    optimiser: Annotated[Optimiser, typer.Option(help="For a model without a run.")] = Optimiser.ADAMW,
    inference: Annotated[bool, typer.Option("--inference", help="A model without a run: prediction only.")] = False,
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Also take some real steps on this machine.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Predict memory and time of a run without a GPU: the table machine by batch size, and what would fit."""
    from snellen.tasks.estimate import calibrated, estimate_lines
    from snellen.tasks.workloads import devices_of

    machines = devices_of(machine or ())
    if _is_run(target):
        given = _run(target, overrides or ())
    else:
        given = _model(target, overrides or (), sample, None if inference else optimiser)
    batch = batch_size or given.batch_size
    wanted: Any = (precision or Precision(given.precision)).value
    lines = estimate_lines(given.make, machines, batch_size=batch, precision=wanted, phases=given.phases)
    timed = calibrated(given.make, batch_size=batch, precision=wanted) if calibrate else None
    times = given.times(timed)
    if as_json:
        calibration = timed.to_dict() if timed else None
        data = {**_as_data(target, batch, lines), "hours": times, "calibration": calibration}
        print_json(data)
    else:
        _print(target, batch, lines, times)
        if timed is not None:
            typer.echo(timed.sentence())
    if any(line.verdict.fits == "no" for line in lines):
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Given:
    """What is estimated.

    Args:
        make: The workload in a precision.
        batch_size: Its own.
        precision: Its own.
        phases: What it consists of.
        times: Sentences on the hours of a run, given what was timed here.
    """

    make: Callable[[Any], Workload]
    batch_size: int
    precision: str
    phases: Sequence[Phase]
    times: Callable[[Calibrated | None], Sequence[str]] = field(default=lambda _timed: ())


def _is_run(target: str) -> bool:
    return target.endswith((".yaml", ".yml")) or Path(target).is_dir()


def _run(target: str, overrides: Sequence[str]) -> _Given:
    from snellen.tasks.estimate import open_run

    needs = open_run(Path(target), overrides)
    optim = needs.config.optim
    return _Given(needs.workload, optim.batch_size, needs.wanted_precision, needs.phases, needs.times)


def _model(target: str, overrides: Sequence[str], sample: str | None, optimiser: Optimiser | None) -> _Given:
    from snellen.estimate.prediction import TRAINING
    from snellen.models.backbones.named import named_model
    from snellen.tasks.workloads import workload_of_model

    if overrides:
        raise UsageError(
            f"{target} is a model, which has no setting {overrides[0]!r}",
            hint="give a run file, or the options of a model: --input, --batch-size, --precision, --optimiser",
        )
    named = reporting(named_model(target))
    shape = parse_shape(sample) if sample else named.input_size or (3, 224, 224)
    if sample and len(shape) > 4 and shape[0] == 1:
        raise UsageError(f"{sample} has a batch", hint="give the shape of one sample, as 3x224x224")

    def make(precision: Any) -> Workload:
        return workload_of_model(named, shape, optimiser=optimiser.value if optimiser else None, precision=precision)

    return _Given(make, 8, "auto", TRAINING)


def _as_data(target: str, batch_size: int, lines: Sequence[Line]) -> dict[str, Any]:
    return {"target": target, "batch_size": batch_size, "machines": [_line_data(line) for line in lines]}


def _line_data(line: Line) -> dict[str, Any]:
    need = line.verdict.need
    return {
        "machine": line.machine,
        "precision": line.precision,
        "fits": line.verdict.fits,
        "phase": need.phase,
        "phases": [
            {"phase": one.phase, "allocated_bytes": one.allocated, "low_bytes": one.low, "high_bytes": one.high}
            for one in line.needs
        ],
        "batches": {str(size): verdict.fits for size, verdict in line.batches.items()},
        "allocated_bytes": need.allocated,
        "low_bytes": need.low,
        "high_bytes": need.high,
        "parts": {category.value: size for category, size in need.parts.items()},
        "largest_batch": line.largest_batch,
        "step_seconds": [line.step.low, line.step.high] if line.step else None,
        "found_by": need.how,
        "changes": [asdict(change) for change in line.changes],
        "assumed": list(line.assumed),
    }


def _print(target: str, batch_size: int, lines: Sequence[Line], times: Sequence[str]) -> None:
    from rich.table import Table

    console = wide_console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("machine", "precision", f"batch {batch_size}"):
        table.add_column(heading)
    for heading in ("needs, GiB", "of", "largest batch", "ms a step", *map(str, lines[0].batches)):
        table.add_column(heading, justify="right")
    for line in lines:
        need = line.verdict.need
        step = f"{1000 * line.step.low:.0f} - {1000 * line.step.high:.0f}" if line.step else "not known"
        needs = f"{need.low / _GIB:.1f} - {need.high / _GIB:.1f}"
        largest = str(line.largest_batch) if line.largest_batch is not None else "not known"
        style = _STYLES.get(line.verdict.fits, "")
        fits = _WORDS.get(line.verdict.fits, line.verdict.fits)
        batches = [_cell(verdict) for verdict in line.batches.values()]
        table.add_row(line.machine, line.precision, f"[{style}]{fits}[/]" if style else fits, needs,
                      f"{line.memory / _GIB:.1f}" if line.memory else "?", largest, step, *batches)  # fmt: skip
    console.print(table)
    console.print("columns of numbers: GiB that are enough for that batch size; ! may fit, - does not", markup=False)
    _print_phases(console, lines[0])
    _print_parts(console, lines[0].verdict.need)
    for sentence in (*lines[0].assumed, *times):
        console.print(sentence, markup=False)
    for line in lines:
        if line.changes:
            console.print(f"\nwhat would make it fit on {line.machine}:", markup=False)
        for change in line.changes:
            left = f"then {change.high / _GIB:.1f} GiB, {_WORDS.get(change.fits, change.fits)}"
            console.print(f"  {change.text}: {change.saved / _GIB:.1f} GiB less, {left}; {change.price}", markup=False)
    name = target if _is_run(target) else "run.yaml"
    console.print(f"next: snellen check {name} looks at everything else before the run", markup=False)


def _cell(verdict: Verdict) -> str:
    size = f"{verdict.need.high / _GIB:.1f}"
    text = {"no": "-", "perhaps": f"{size}!"}.get(verdict.fits, size)
    style = _STYLES.get(verdict.fits, "")
    return f"[{style}]{text}[/]" if style else text


def _print_phases(console: Any, line: Line) -> None:
    shown = (f"{need.phase} {need.low / _GIB:.1f} - {need.high / _GIB:.1f}" for need in line.needs)
    console.print(f"\nphases on {line.machine}, GiB: {', '.join(shown)}", markup=False)


def _print_parts(console: Any, need: Need) -> None:
    parts = sorted(need.parts.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{category.value} {size / _MIB:,.0f}" for category, size in parts if size >= _MIB // 10)
    console.print(f"\nat the peak of `{need.phase}`, MiB: {shown}", markup=False)
    for block in need.largest[:_ALLOCATIONS_SHOWN]:
        place = block.module or "outside modules"
        shape = "x".join(map(str, block.shape))
        console.print(
            f"  {block.size / _MIB:8,.1f}  {shape} {block.dtype}  {block.category.value}, {place}", markup=False
        )
    if need.how == "numbers":
        console.print("its shapes depend on values: one real step on the CPU was run to find this", markup=False)
