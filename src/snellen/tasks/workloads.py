"""The step of a run file or of a model alone, and the devices behind machine names, as estimates take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map

from snellen.check.facts.machine import this_machine
from snellen.config.machines import MACHINES, Machine
from snellen.config.schema import RunConfig
from snellen.core.facts.machine import MachineFacts
from snellen.core.file_kinds import nearest
from snellen.engine.optimiser import build_optimiser
from snellen.engine.recipe import PreparedRecipe
from snellen.engine.settings import Optimiser, TrainSettings
from snellen.errors import UsageError
from snellen.estimate.calibration import processor_speed
from snellen.estimate.devices import Device
from snellen.estimate.eight_bit import EIGHT_BIT_LAYOUT, EightBitStates
from snellen.estimate.step import Workload
from snellen.models.backbones.named import NamedModel
from snellen.tasks.base import Task
from snellen.trace.fake import build_without_weights

__all__ = [
    "PrecisionName",
    "PrecisionOf",
    "budget_of",
    "device_here",
    "device_of",
    "devices_of",
    "precision_on",
    "workload_of_model",
    "workload_of_run",
]

PrecisionName = Literal["auto", "fp32", "fp16", "bf16"]
PrecisionOf = Literal["fp32", "fp16", "bf16"]

_SYSTEM = 6 * 2**30
"""Of unified memory, for the system: an assumption; Ubuntu with a desktop uses 2 to 4 GiB after its start."""
_SAME_SIZE = 0.06
"""Memory of a GPU may differ so much from the published figure by driver and error correction."""


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
    """The device of a machine by its published figures; the CPU is the one of this machine."""
    if machine.accelerator == "cpu":
        return device_here(this_machine())
    speeds = {"fp32": machine.fp32_tflops, "half": machine.half_tflops}
    return Device(
        machine.name,
        _less_system(machine),
        {name: speed for name, speed in speeds.items() if speed},
        machine.bandwidth_gbs * 1e9 if machine.bandwidth_gbs else None,
        machine.capability,
        machine.unified,
    )


def _less_system(machine: Machine) -> int | None:
    if machine.memory_gib is None:
        return None
    return int(machine.memory_gib * 2**30) - (_SYSTEM if machine.unified else 0)


def device_here(facts: MachineFacts) -> Device:
    """The device of this machine: memory that is free now, speed measured for a CPU, published for a known GPU."""
    budget = budget_of(facts)[0]
    if facts.accelerator == "cpu":
        teraflops, bandwidth = processor_speed()
        return Device(facts.name, budget, {"fp32": teraflops}, bandwidth * 1e9)
    like = next((machine for machine in MACHINES.values() if _same_gpu(machine, facts)), None)
    if like is None:
        return Device(facts.name, budget, capability=facts.capability, unified=facts.unified)
    return replace(device_of(like), name=facts.name, memory_bytes=budget)


def _same_gpu(machine: Machine, facts: MachineFacts) -> bool:
    if machine.capability is None or machine.capability != facts.capability or machine.memory_gib is None:
        return False
    return facts.memory_bytes is not None and abs(facts.memory_bytes / 2**30 / machine.memory_gib - 1) < _SAME_SIZE


def budget_of(facts: MachineFacts) -> tuple[int | None, str]:
    """Bytes of one device that a run may have, and what says so.

    Example:
        >>> budget_of(MachineFacts("t4", here=False, accelerator="cuda", devices=1, bf16=False, memory_bytes=2**34))
        (17179869184, 'the memory of t4')
    """
    if not facts.here:
        machine = MACHINES.get(facts.name)
        if machine is not None and machine.unified:
            less = f"less {_SYSTEM / 2**30:.0f} GiB for the system"
            return _less_system(machine), f"the memory of {facts.name}, which host and device share, {less}"
        return facts.memory_bytes, f"the memory of {facts.name}"
    if facts.unified or facts.accelerator != "cuda":
        available = facts.host_available_bytes if facts.host_available_bytes is not None else facts.memory_bytes
        return available, "main memory that is available now"
    free = [gpu.free_bytes for gpu in facts.gpus if gpu.visible and gpu.free_bytes is not None]
    return (min(free), "what is free on the GPU now") if free else (facts.memory_bytes, "the memory of the GPU")


def precision_on(wanted: PrecisionName, machine: Machine) -> PrecisionOf:
    """What `auto` means on a machine: bf16 where the hardware has it, else fp16 on CUDA, else fp32."""
    if wanted != "auto":
        return wanted
    return "bf16" if machine.bf16 else "fp16" if machine.accelerator == "cuda" else "fp32"


def workload_of_model(
    named: NamedModel, shape: Sequence[int], *, optimiser: Optimiser | None, precision: PrecisionOf
) -> Workload:
    """A training step of a model alone; its loss is the mean of its outputs.

    Args:
        named: The model.
        shape: Of one sample.
        optimiser: `adamw`, `adam`, `sgd`, `adamw-8bit`, or `None` for inference only.
        precision: Format of the heavy operations.
    """

    def batch(count: int) -> Any:
        if named.takes_list:
            return ([torch.rand(tuple(shape)) for _ in range(count)],)
        return torch.rand(count, *shape)

    settings = None if optimiser is None or named.takes_list else TrainSettings(optimiser=optimiser, weight_decay=0)
    made = Workload(build=named.build, batch=batch, precision=precision)
    return made if settings is None else _trained(made, settings)


def workload_of_run(
    task: Task, config: RunConfig, precision: PrecisionOf, *, largest: tuple[int, int] | None = None
) -> Workload:
    """The step of a run: its model, its loss, its optimiser, on samples of the size that its data set gives.

    Args:
        task: What is done.
        config: Settings in which nothing is open.
        precision: Format of the heavy operations.
        largest: Height and width of the largest image, for validation and prediction; as in training without it.

    Raises:
        UsageError: These settings have nothing to learn, or the data cannot be read.
    """
    recipe = task.build_recipe(_without_weights(config))
    build_without_weights(recipe.build_model)  # it settles the size of the samples
    sample = recipe.example() if isinstance(recipe, PreparedRecipe) else recipe.train_dataset()[0]
    optim = config.optim

    def batch(count: int) -> Any:
        made = tree_map(lambda item: torch.zeros_like(item) if isinstance(item, Tensor) else item, sample)
        return recipe.collate([made] * count)

    def loss(model: nn.Module, given: Any) -> Tensor:
        result: Tensor = recipe.training_step(model, given).loss
        return result

    made = Workload(
        build=recipe.build_model,
        batch=batch,
        loss=loss,
        outputs=recipe.evaluation_step,
        groups=recipe.parameter_groups,
        batch_size=optim.batch_size,
        accumulate=optim.accumulate,
        precision=precision,
        clip=optim.clip_norm is not None,
        average=optim.ema_decay is not None,
    )
    settings = TrainSettings(optimiser=optim.optimiser, lr=optim.lr, weight_decay=optim.weight_decay)
    made = _trained(made, settings)
    inference = task.inference(config, largest) if largest is not None else None
    if inference is None:
        # What it makes of the outputs is not known to be tensors: the forward pass of training, without gradients.
        return replace(made, outputs=loss)
    return replace(
        made,
        outputs=inference.call,
        validation=lambda _count: inference.make(),
        prediction=inference.make,
        one_by_one=True,
        full_outputs=inference.full,
    )


_AT_RANDOM: Mapping[str, Any] = {"weights": None, "spynet": None, "pretrained": False, "compile": False}
"""Keys of a model section: nothing is fetched or read, and nothing is compiled to be gone through once."""


def _without_weights(config: RunConfig) -> RunConfig:
    """The same with weights at random: sizes do not depend on them, and nothing is fetched."""
    known = type(config.model).model_fields
    changes = {name: value for name, value in _AT_RANDOM.items() if name in known}
    return config.model_copy(update={"model": config.model.model_copy(update=changes)})


def _trained(workload: Workload, settings: TrainSettings) -> Workload:
    """The same with the engine's optimiser; of one in eight bits, whose library need not be here, only the memory."""

    def made(given: list[Any]) -> Optimizer:
        return build_optimiser(settings, given if isinstance(given[0], dict) else [{"params": given}])

    if settings.optimiser == "adamw-8bit":
        return replace(workload, optimiser=EightBitStates, running=made, assumed=(EIGHT_BIT_LAYOUT,))
    return replace(workload, optimiser=made)
