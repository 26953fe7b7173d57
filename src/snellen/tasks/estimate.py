"""The table of `snellen estimate`: every machine, whether a batch fits there, and how long a step takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from snellen.check import plan_of
from snellen.check.facts.machine import as_machine, this_machine
from snellen.config.load import load, read_task
from snellen.config.machines import Machine
from snellen.config.schema import RunConfig
from snellen.core.facts.memory import MemoryChange
from snellen.core.plan import FactUnavailable, Plan
from snellen.errors import UsageError
from snellen.estimate.advice import changes_for
from snellen.estimate.calibration import timed_step
from snellen.estimate.duration import Duration, step_duration
from snellen.estimate.prediction import Need, Predictor, Verdict
from snellen.estimate.step import Phase, Workload
from snellen.tasks.catalogue import get
from snellen.tasks.need_facts import need_facts
from snellen.tasks.needs import PHASES, RunNeeds
from snellen.tasks.workloads import PrecisionName, PrecisionOf, device_here, device_of, precision_on

__all__ = ["Calibrated", "Line", "OpenedRun", "calibrated", "estimate_lines", "open_run"]

_ALONE = 0.8
"""A step that gets less of the processor shares it with others."""
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True, slots=True)
class Line:
    """One machine of the table.

    Args:
        machine: Its name.
        precision: The format that the step would run in there.
        verdict: Whether the wanted batch size fits.
        needs: Of every phase at the wanted batch size.
        batches: Whether other batch sizes fit, as `Verdict`, with the wanted one among them.
        largest_batch: The largest that surely fits, `None` when the memory of the machine is not known.
        step: Seconds of a training step at the wanted batch size, `None` when its speed is not known.
        memory: Bytes that a run may have there, `None` when that is not known.
        changes: What would make it fit, when it does not surely.
        assumed: What the prediction takes for granted, for people.
    """

    machine: str
    precision: str
    verdict: Verdict
    needs: Sequence[Need]
    batches: Mapping[int, Verdict]
    largest_batch: int | None
    step: Duration | None
    memory: int | None = None
    changes: Sequence[MemoryChange] = field(default=())
    assumed: Sequence[str] = ()


def estimate_lines(
    make: Callable[[PrecisionOf], Workload],
    machines: Sequence[Machine],
    *,
    batch_size: int,
    precision: PrecisionName,
    phases: Sequence[Phase],
) -> list[Line]:
    """The table.

    Args:
        make: The workload in a precision.
        machines: Where.
        batch_size: Samples of a micro-batch.
        precision: As the run states it.
        phases: What the run consists of.
    """
    predictors: dict[tuple[str, bool], Predictor] = {}
    lines = []
    for machine in machines:
        name, device = precision_on(precision, machine), device_of(machine)
        key = name, device.capability is not None
        if key not in predictors:
            predictors[key] = Predictor(replace(make(name), cuda=key[1]), phases)
        predictor = predictors[key]
        verdict = predictor.verdict(device, batch_size)
        needs = [predictor.need(device, batch_size, phase) for phase in predictor.phases]
        batches = {size: predictor.verdict(device, size) for size in sorted({*_BATCHES, batch_size})}
        largest = predictor.largest_batch(device) if device.memory_bytes is not None else None
        operators = predictor.timeline(batch_size, predictor.phases[0])[0].operators
        step = step_duration(operators, device, half=name != "fp32")
        changes = changes_for(predictor, device, batch_size) if verdict.fits in ("no", "perhaps") else []
        found = (machine.name, name, verdict, needs, batches, largest, step, device.memory_bytes, changes)
        lines.append(Line(*found, predictor.workload.assumed))
    return lines


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """A run file, as an estimate takes it.

    Args:
        needs: What it needs on the machine that it names.
        plan: Where that was asked.
        wanted_precision: As the run file states it.
    """

    needs: RunNeeds
    plan: Plan
    wanted_precision: str

    @property
    def config(self) -> RunConfig:
        """Settings in which nothing is open."""
        return self.needs.config

    @property
    def phases(self) -> Sequence[Phase]:
        """What the run consists of."""
        return PHASES

    def workload(self, precision: PrecisionOf) -> Workload:
        """Its step in a precision."""
        return self.needs.workload(precision)

    def times(self, timed: Calibrated | None = None) -> list[str]:
        """How long it takes there, and whether that is allowed.

        Args:
            timed: Steps that were timed here, which count where the run is meant for this machine.
        """
        try:
            if timed is None or not self.needs.machine.here:
                duration = self.plan.fact("duration")
            else:
                duration = self.needs.duration_as_timed(timed.seconds, timed.batch_size)
        except FactUnavailable as missing:
            return [f"time: {missing}"]
        lines = [duration.sentence(), *(f"  assumed: {one}" for one in duration.assumptions)]
        lines += [f"  not counted: {one}" for one in duration.unknown]
        for hours, what in ((duration.session_hours, "a session"), (duration.weekly_hours, "a week")):
            if hours is not None:
                lines.append(f"  {what} on {duration.machine} has {hours:g} hours")
        return lines


def open_run(path: Path, overrides: Sequence[str] = ()) -> OpenedRun:
    """Open a run file, or the run file of a run's folder.

    Args:
        path: Where it is.
        overrides: Settings that win over it, such as `"optim.batch_size=8"`.

    Raises:
        UsageError: It does not exist, or these settings have nothing to learn.
        ConfigError: The settings have problems; all are listed.
    """
    run_file = path / "run.yaml" if path.is_dir() else path
    if not run_file.is_file():
        raise UsageError(f"there is no run file at {run_file}", hint="give a run file, the folder of a run, or a model")
    task = get(read_task(run_file))
    loaded = load(run_file, task.schema(), overrides=overrides)
    config = loaded.require()
    plan = plan_of(loaded, task.schema(), facts=need_facts(task, loaded))
    try:
        needs: RunNeeds = plan.fact("needs")
    except FactUnavailable as missing:
        raise UsageError(f"{run_file}: {missing}", hint=f"snellen check {run_file}") from missing
    return OpenedRun(needs, plan, str(config.precision))


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A step on this machine: predicted and timed.

    Args:
        batch_size: Samples of a micro-batch.
        precision: Format of the heavy operations.
        seconds: Median of the steps that were timed.
        computing: Of that, what a processor shared with other programs gave to it.
        steps: How many.
        predicted: Least and most seconds, `None` when the speed of the device is not known.
        allocated: Bytes of tensors at the peak of such a step, as the allocator counted them.
        predicted_allocated: The same as predicted.
    """

    batch_size: int
    precision: str
    seconds: float
    computing: float
    steps: int
    predicted: tuple[float, float] | None
    allocated: int
    predicted_allocated: int

    def sentence(self) -> str:
        """For people."""
        said = f"predicted {self.predicted[0]:.3f} to {self.predicted[1]:.3f}" if self.predicted else "not predicted"
        memory = f"peak {self.allocated / 2**20:.0f} MiB, predicted {self.predicted_allocated / 2**20:.0f}"
        shared = f", {self.computing:.3f} of it computing beside other programs" if self._shared else ""
        what = f"batch {self.batch_size}, {self.precision}, median of {self.steps}{shared}"
        return f"timed here: {self.seconds:.3f} s a step ({what}), {said}; {memory}"

    @property
    def _shared(self) -> bool:
        return self.computing < _ALONE * self.seconds

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def calibrated(make: Callable[[PrecisionOf], Workload], *, batch_size: int, precision: PrecisionName) -> Calibrated:
    """Take some real steps on this machine, with a batch that surely fits.

    Args:
        make: The workload in a precision.
        batch_size: As wanted; halved until half of the memory that is free is enough.
        precision: As the run states it.

    Raises:
        UsageError: Nothing is trained, or not even one sample fits here.
    """
    facts = this_machine()
    name = precision_on(precision, as_machine(facts))
    workload = replace(make(name), cuda=facts.accelerator == "cuda")
    if workload.optimiser is None:
        raise UsageError("only training is calibrated", hint="leave --inference out")
    device, kind = device_here(facts), "cuda" if torch.cuda.is_available() else "cpu"
    predictor = Predictor(workload, ("train",))
    half = replace(device, memory_bytes=device.memory_bytes // 2 if device.memory_bytes is not None else None)
    while batch_size > 1 and predictor.verdict(half, batch_size).fits not in ("yes", "unknown"):
        batch_size //= 2
    timeline = predictor.timeline(batch_size, "train")[0]
    expected = step_duration(timeline.operators, device, half=name != "fp32")
    timed = timed_step(replace(workload, batch_size=batch_size), kind)
    predicted = (expected.low, expected.high) if expected is not None else None
    memory = timed.allocated, timeline.peak
    return Calibrated(batch_size, name, timed.seconds, timed.computing, timed.steps, predicted, *memory)
