"""What a run or a model needs, device by device: the workload of a run file, and the devices behind machine names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map

from snellen.check.facts.machine import this_machine
from snellen.config.machines import MACHINES, Machine
from snellen.core.file_kinds import nearest
from snellen.errors import UsageError
from snellen.estimate.advice import Change, changes_for
from snellen.estimate.devices import Device
from snellen.estimate.duration import Duration, step_duration
from snellen.estimate.prediction import Predictor, Verdict
from snellen.estimate.step import Workload
from snellen.models.backbones.named import NamedModel
from snellen.tasks.target import Target

__all__ = ["Line", "device_of", "devices_of", "estimate_lines", "workload_of_model", "workload_of_run"]

PrecisionName = Literal["auto", "fp32", "fp16", "bf16"]
_DEFAULT = (3, 224, 224)


@dataclass(frozen=True, slots=True)
class Line:
    """One machine of the table.

    Args:
        machine: Its name.
        precision: The format that the step would run in there.
        verdict: Whether the wanted batch size fits.
        largest_batch: The largest that surely fits, `None` when the memory of the machine is not known.
        step: Seconds of a training step at the wanted batch size, `None` when its speed is not known.
        changes: What would make it fit, when it does not surely.
    """

    machine: str
    precision: str
    verdict: Verdict
    largest_batch: int | None
    step: Duration | None
    changes: Sequence[Change] = ()


def devices_of(names: Sequence[str]) -> list[Machine]:
    """Machines by name; all known ones with an accelerator when none is named.

    Raises:
        UsageError: A name that is not known; the nearest is told.
    """
    for name in names:
        if name not in MACHINES:
            close = nearest(name, MACHINES)
            hint = f"did you mean {close}? " if close else ""
            raise UsageError(f"no machine is called {name!r}", hint=f"{hint}known: {', '.join(MACHINES)}")
    return [MACHINES[name] for name in names] or [m for m in MACHINES.values() if m.accelerator == "cuda"]


def device_of(machine: Machine) -> Device:
    """The device of a machine, as plain numbers; a CPU has what this process may use."""
    memory = int(machine.memory_gib * 2**30) if machine.memory_gib is not None else None
    if machine.accelerator == "cpu":
        memory = this_machine().memory_bytes
    speeds = {"fp32": machine.fp32_tflops, "half": machine.half_tflops}
    return Device(
        machine.name,
        memory,
        {name: speed for name, speed in speeds.items() if speed},
        machine.bandwidth_gbs * 1e9 if machine.bandwidth_gbs else None,
        machine.capability,
        machine.unified,
    )


def precision_on(wanted: PrecisionName, machine: Machine) -> Literal["fp32", "fp16", "bf16"]:
    """What `auto` means on a machine: bf16 where the hardware has it, else fp16 on CUDA, else fp32."""
    if wanted != "auto":
        return wanted
    return "bf16" if machine.bf16 else "fp16" if machine.accelerator == "cuda" else "fp32"


def workload_of_model(
    named: NamedModel, shape: Sequence[int], *, optimiser: str | None, precision: Literal["fp32", "fp16", "bf16"]
) -> Workload:
    """A training step of a model alone; its loss is the mean of its outputs.

    Args:
        named: The model.
        shape: Of one sample.
        optimiser: `adamw`, `adam`, `sgd`, or `None` for inference only.
        precision: Format of the heavy operations.
    """

    def batch(count: int) -> Any:
        if named.takes_list:
            return ([torch.rand(tuple(shape)) for _ in range(count)],)
        return torch.rand(count, *shape)

    trained = None if optimiser is None or named.takes_list else _maker(optimiser)
    return Workload(build=named.build, batch=batch, optimiser=trained, precision=precision)


def workload_of_run(target: Target, precision: Literal["fp32", "fp16", "bf16"]) -> Workload:
    """The step of a run: its model, its loss, its optimiser, on samples of the size that its data set gives.

    Raises:
        UsageError: These settings have nothing to learn, or the data cannot be read.
    """
    recipe = target.task.build_recipe(target.config)
    sample = recipe.train_dataset()[0]
    optim = target.config.optim

    def batch(count: int) -> Any:
        made = tree_map(lambda item: torch.empty_like(item) if isinstance(item, Tensor) else item, sample)
        return recipe.collate([made] * count)

    def loss(model: nn.Module, given: Any) -> Tensor:
        result: Tensor = recipe.training_step(model, given).loss
        return result

    return Workload(
        build=recipe.build_model,
        batch=batch,
        loss=loss,
        outputs=recipe.evaluation_step,
        optimiser=_maker(str(getattr(optim, "optimiser", "adamw"))),
        accumulate=optim.accumulate,
        precision=precision,
        clip=optim.clip_norm is not None,
        average=getattr(optim, "ema_decay", None) is not None,
    )


def _maker(name: str) -> Callable[[list[nn.Parameter]], Optimizer]:
    """An optimiser in the form that CUDA gets, which works on all tensors at once."""
    if name == "sgd":
        return lambda parameters: torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, foreach=True)
    kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
    return lambda parameters: kind(parameters, lr=1e-3, foreach=True)


def estimate_lines(
    make: Callable[[Literal["fp32", "fp16", "bf16"]], Workload],
    machines: Sequence[Machine],
    *,
    batch_size: int,
    precision: PrecisionName,
) -> list[Line]:
    """The table: every machine with its precision, whether the batch size fits, the largest that does, and the time.

    Args:
        make: The workload in a precision.
        machines: Where.
        batch_size: Samples of a micro-batch.
        precision: As the run states it.
    """
    predictors: dict[str, Predictor] = {}
    lines = []
    for machine in machines:
        name, device = precision_on(precision, machine), device_of(machine)
        predictor = predictors.setdefault(name, Predictor(make(name)))
        verdict = predictor.verdict(device, batch_size)
        largest = predictor.largest_batch(device) if device.memory_bytes is not None else None
        operators = predictor.timeline(batch_size, predictor.phases[0])[0].operators
        step = step_duration(operators, device, half=name != "fp32")
        changes = changes_for(predictor, device, batch_size) if verdict.fits in ("no", "perhaps") else []
        lines.append(Line(machine.name, name, verdict, largest, step, changes))
    return lines
