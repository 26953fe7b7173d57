"""What a run needs, as facts for checks: memory of the device and of the host, checkpoints, time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_iter

from snellen.check.facts.machine import as_machine
from snellen.config.load import Loaded
from snellen.config.machines import MACHINES, Machine
from snellen.config.resolve import resolve
from snellen.config.schema import RunConfig
from snellen.core.facts.data import FolderAudit
from snellen.core.facts.duration import DurationFacts
from snellen.core.facts.machine import MachineFacts
from snellen.core.facts.memory import CheckpointFacts, HostMemoryFacts, MemoryChange, MemoryFacts, PhaseMemory
from snellen.core.facts.model import UnusedFacts
from snellen.core.plan import FactUnavailable, NotApplicable, Plan
from snellen.engine.recipe import PreparedRecipe
from snellen.engine.settings import TrainSettings
from snellen.estimate.advice import changes_for
from snellen.estimate.devices import Device, overhead
from snellen.estimate.duration import Duration, run_time, step_duration
from snellen.estimate.host import process_bytes, worker_bytes
from snellen.estimate.prediction import Need, Predictor
from snellen.estimate.step import Phase, Workload
from snellen.estimate.unused import unused_parameters
from snellen.tasks.base import Inference, Task
from snellen.tasks.changes import variants_of
from snellen.tasks.workloads import PrecisionOf, budget_of, device_here, device_of, workload_of_run
from snellen.trace.timeline import Category

__all__ = ["PHASES", "ImageSizes", "RunNeeds", "audits_of", "image_sizes", "run_needs"]

PHASES: tuple[Phase, ...] = ("train", "validate", "save", "predict")
"""Of a run; prediction is a process of its own."""

_SECONDS_OF_LOADING = 1.0
_MOST_LOADED = 32
_OTHER_CORES = (0.5, 2.0)
"""Cores of another machine may be twice as fast as these, or half."""
_NOISE = (0.8, 1.5)
"""Of what was timed on this machine."""
_ASSUMED = "operators reach 25 to 75% of peak arithmetic and 45 to 90% of bandwidth"


@dataclass(frozen=True, slots=True)
class ImageSizes:
    """Sizes of a run's own images, `(height, width)`.

    Args:
        largest: With most pixels.
        usual: In the middle.
        samples: Number of samples by the key of their folder.
    """

    largest: tuple[int, int]
    usual: tuple[int, int]
    samples: Mapping[str, int]


def image_sizes(audits: Sequence[FolderAudit]) -> ImageSizes | None:
    """The sizes in audited folders, `None` without a readable image."""
    images = [image for audit in audits for image in audit.images.values() if image.height and not image.problem]
    if not images:
        return None
    by_pixels = sorted((image.upright_size for image in images), key=math.prod)
    samples = {audit.key: len(audit.samples) for audit in audits}
    return ImageSizes(by_pixels[-1], by_pixels[len(by_pixels) // 2], samples)


def run_needs(task: Task, loaded: Loaded[Any], plan: Plan) -> RunNeeds:
    """What a run needs on the machine of its plan.

    Args:
        task: What is done.
        loaded: The run file as read.
        plan: Knows the machine and the images.

    Raises:
        FactUnavailable: The run file has problems.
        SnellenError: These settings have nothing to learn, or the data cannot be read.
    """
    if loaded.config is None:
        raise FactUnavailable("the run file has problems of its own")
    machine: MachineFacts = plan.fact("machine")
    target = MACHINES.get(machine.name, as_machine(machine))
    config = resolve(loaded.config, target, root=loaded.root, resolvers=task.resolvers()).config
    return RunNeeds(task, config, machine, image_sizes(audits_of(plan)))


def audits_of(plan: Plan) -> Sequence[FolderAudit]:
    """The audited folders of a run; none where they could not be read."""
    try:
        audits: Sequence[FolderAudit] = plan.fact("audit")
    except FactUnavailable:
        return ()
    return audits


class RunNeeds:
    """What one run needs on the machine that it is meant for; each answer is computed once.

    Args:
        task: What is done.
        config: Settings in which nothing is open.
        machine: Where.
        sizes: Of its images, `None` when they are not known.

    Raises:
        UsageError: The task has nothing to learn with these settings.
    """

    def __init__(self, task: Task, config: RunConfig, machine: MachineFacts, sizes: ImageSizes | None) -> None:
        self.task, self.config, self.machine, self.sizes = task, config, machine, sizes
        self._batch = config.optim.batch_size

    @cached_property
    def device(self) -> Device:
        """One device of the machine."""
        known = MACHINES.get(self.machine.name)
        return device_here(self.machine) if self.machine.here or known is None else device_of(known)

    @cached_property
    def predictor(self) -> Predictor:
        """Goes through the steps."""
        return Predictor(self.workload(self._precision), PHASES)

    def workload(self, precision: PrecisionOf, config: RunConfig | None = None) -> Workload:
        """Its step.

        Args:
            precision: Format of the heavy operations.
            config: Other settings than its own.
        """
        largest = self.sizes.largest if self.sizes is not None else None
        made = workload_of_run(self.task, config or self.config, precision, largest=largest)
        return replace(made, cuda=self.machine.accelerator == "cuda")

    @cached_property
    def memory(self) -> MemoryFacts:
        """The fact `memory`."""
        predictor, device = self.predictor, self.device
        budget, source = budget_of(self.machine)
        needs = [predictor.need(device, self._batch, phase) for phase in predictor.phases]
        worst = max(needs, key=lambda need: need.high)
        fits = budget is None or worst.high + self._ranks(worst) <= budget
        parts = sorted(worst.parts.items(), key=lambda part: -part[1])
        return MemoryFacts(
            machine=self.machine.name,
            precision=str(self.config.precision),
            batch_size=self._batch,
            phases=tuple(self._phase(need) for need in needs),
            budget=budget,
            budget_from=source,
            context=overhead(device),
            largest_batch=predictor.largest_batch(device) if budget is not None else None,
            changes=() if fits else self._changes(),
            parts=tuple((category.value, size) for category, size in parts),
            found_by=worst.how,
        )

    def _phase(self, need: Need) -> PhaseMemory:
        more = self._ranks(need)
        return PhaseMemory(need.phase, need.allocated + more, need.low + more, need.high + more, self._what(need.phase))

    def _ranks(self, need: Need) -> int:
        """With several devices, gradients are copied into the buckets in which they travel."""
        if need.phase != "train" or self.config.devices == 1:
            return 0
        return need.parts.get(Category.GRADIENTS, 0) or need.parts.get(Category.PARAMETERS, 0)

    def _what(self, phase: str) -> str:
        if phase == "save":
            return "weights and optimiser state"
        inference = self._inference("largest")
        if phase == "train" or inference is None:
            return f"batches of {self._batch} x {'x'.join(map(str, self._sample_shape))}"
        return f"the largest image, {inference.what}"

    @cached_property
    def _sample_shape(self) -> tuple[int, ...]:
        given = [item for item in tree_iter(self.predictor.workload.batch(1)) if isinstance(item, Tensor)]
        return tuple(max(given, key=lambda tensor: tensor.numel()).shape[1:]) if given else ()

    def _inference(self, which: str) -> Inference | None:
        return None if self.sizes is None else self.task.inference(self.config, getattr(self.sizes, which))

    def _changes(self) -> tuple[MemoryChange, ...]:
        variants = variants_of(self.task, self.config, lambda config: self.workload(self._precision, config))
        found = changes_for(self.predictor, self.device, self._batch, variants)
        return tuple(replace(one, settings=self._apart(one.settings)) for one in found)

    @property
    def _precision(self) -> PrecisionOf:
        name = self.config.precision
        if name == "auto":
            raise TypeError("expected resolved settings")
        return name

    def _apart(self, settings: tuple[tuple[str, Any], ...]) -> tuple[tuple[str, Any], ...]:
        """Only what differs from the run as it is."""
        now = {"optim.batch_size": self._batch, "optim.accumulate": self.config.optim.accumulate}
        return tuple((key, value) for key, value in settings if now.get(key, object()) != value)

    @cached_property
    def checkpoints(self) -> CheckpointFacts:
        """The fact `checkpoint_bytes`."""
        parts = self.predictor.timeline(1, "save")[0].at_peak()
        weights = sum(parts.get(part, 0) for part in (Category.PARAMETERS, Category.BUFFERS, Category.AVERAGE))
        return CheckpointFacts(weights + parts.get(Category.OPTIMISER, 0), weights, TrainSettings().keep_last)

    @cached_property
    def unused(self) -> UnusedFacts:
        """The fact `unused_parameters`.

        Raises:
            NotApplicable: The run trains on one device.
        """
        devices = int(self.config.devices)
        if devices == 1:
            raise NotApplicable("the run trains on one device")
        return UnusedFacts(devices, unused_parameters(self.workload("fp32")))

    @cached_property
    def host(self) -> HostMemoryFacts:
        """The fact `host_memory`."""
        machine, workers = self.machine, int(self.config.data.workers)
        devices = int(self.config.devices)
        step = (0, 0)
        if machine.accelerator != "cuda" or machine.unified:
            worst = max(self.memory.phases, key=lambda phase: phase.high)
            step = (worst.low, worst.high)
        process = process_bytes(machine.accelerator, step=step)
        batch = [item for item in tree_iter(self.predictor.workload.batch(self._batch)) if isinstance(item, Tensor)]
        pixels = math.prod(self.sizes.largest) if self.sizes is not None else math.prod(self._sample_shape[-2:])
        whole = "the machine" if machine.here else f"the main memory of {machine.name}"
        limit, source = machine.host_memory_bytes, machine.memory_limited_by or whole
        if machine.unified and not machine.here:
            limit, source = budget_of(machine)
        if machine.here and machine.host_available_bytes is not None:
            limit, source = machine.host_available_bytes, f"available now, of {source}"
        largest = f"{self.sizes.largest[0]} x {self.sizes.largest[1]}" if self.sizes is not None else "not known"
        return HostMemoryFacts(
            limit=limit,
            limit_from=source,
            process=(devices * process[0], devices * process[1]),
            worker=worker_bytes(pixels, forked=machine.start_method in ("", "fork")),
            batch=sum(item.numel() * item.element_size() for item in batch),
            saving=self.checkpoints.last,
            workers=workers * devices,
            what=f"largest image {largest}, batches of {self._batch}",
        )

    @cached_property
    def duration(self) -> DurationFacts:
        """The fact `duration`.

        Raises:
            FactUnavailable: The speed of the device is not known.
        """
        step = self._step
        if step is None:
            times = "snellen estimate --calibrate times a step"
            raise FactUnavailable(f"the speed of {self.machine.name} is not known; {times}")
        return self._duration(step, self._validation, _ASSUMED)

    def duration_as_timed(self, seconds: float, batch_size: int) -> DurationFacts:
        """The same from steps that were timed on this machine.

        Args:
            seconds: Of an optimiser step.
            batch_size: With micro-batches of so many samples; others take as long a sample.

        Raises:
            FactUnavailable: The number of samples is not known.
        """
        each = seconds * self._batch / batch_size
        predicted, (low, high) = self._step, self._validation
        slow, fast = _NOISE[1], _NOISE[0]
        step = Duration(fast * each, slow * each, predicted.bound if predicted is not None else "arithmetic")
        if predicted is not None:  # forward passes are as much faster or slower as the steps were
            low, high = low * step.low / predicted.low, high * step.high / predicted.high
        return self._duration(
            step, (low, high), f"a step of {each:.3f} s as timed here, {_NOISE[0]:g} to {_NOISE[1]:g} of it"
        )

    @cached_property
    def _step(self) -> Duration | None:
        operators = self.predictor.timeline(self._batch, "train")[0].operators
        return step_duration(operators, self.device, half=self.config.precision != "fp32")

    def _duration(self, step: Duration, validation: tuple[float, float], assumed: str) -> DurationFacts:
        (samples, _, left_out), optim = self._samples, self.config.optim
        each = self._batch * optim.accumulate * int(self.config.devices)
        epoch_steps = max(1, -(-samples // each))
        steps = min(epoch_steps * optim.epochs, optim.max_steps or epoch_steps * optim.epochs)
        evaluations = -(-steps // (epoch_steps * optim.evaluate_every))
        loading, said = self._loading(each)
        whole = run_time(
            step,
            loading=loading,
            beside=int(self.config.data.workers) > 0,
            steps=steps,
            validation=validation,
            evaluations=evaluations if self.config.data.val is not None else 0,
        )
        profile: Machine | None = MACHINES.get(self.machine.name)
        left = self.machine.seconds_left
        unread = validation == (0.0, 0.0) and self.config.data.val is not None
        return DurationFacts(
            machine=self.machine.name,
            step=whole.step,
            steps=steps,
            epochs=optim.epochs,
            validation=validation,
            hours=whole.hours,
            bound=whole.bound,
            session_hours=left / 3600 if left is not None else profile.session_hours if profile else None,
            weekly_hours=profile.weekly_hours if profile else None,
            assumptions=(assumed, *said),
            unknown=(*left_out, *(("validation, as its images were not read",) if unread else ())),
        )

    @cached_property
    def _samples(self) -> tuple[int, Callable[[int], Any], tuple[str, ...]]:
        """How many there are to learn from, what loads one of them, and what of the run is not counted."""
        recipe = self.task.build_recipe(self.config)
        if isinstance(recipe, PreparedRecipe):
            count = self.sizes.samples.get("data.train", 0) if self.sizes is not None else 0
            if not count:
                raise FactUnavailable("the training images were not read, so that their number is not known")
            return count, lambda _index: recipe.example(), ("what is computed once before the first step",)
        with torch.device("meta"):
            recipe.build_model()
        dataset = recipe.train_dataset()
        return len(dataset), dataset.__getitem__, ()

    def _loading(self, each: int) -> tuple[tuple[float, float], tuple[str, ...]]:
        """Seconds for the samples of a step, timed on some of the run's own."""
        total, load, _ = self._samples
        times: list[float] = []
        count = min(total, _MOST_LOADED)
        load(0)
        for index in range(count):
            start = time.perf_counter()
            load(index * total // count)
            times.append(time.perf_counter() - start)
            if sum(times) > _SECONDS_OF_LOADING:
                break
        sample = sum(times) / len(times)
        workers = int(self.config.data.workers)
        cores = self.machine.cpus or workers
        processes = max(1, min(workers, cores)) * (int(self.config.devices) if self.machine.cpus is None else 1)
        scale = _NOISE if self.machine.here else _OTHER_CORES
        seconds = each * sample / processes
        said = f"a sample is loaded in {1000 * sample:.0f} ms here (mean of {len(times)}), by {processes} processes"
        return (seconds * scale[0], seconds * scale[1]), (said,)

    @cached_property
    def _validation(self) -> tuple[float, float]:
        """Seconds of an evaluation; none where there is no such data, or it could not be read."""
        if self.config.data.val is None:
            return 0.0, 0.0
        count = self.sizes.samples.get("data.val", 0) if self.sizes is not None else 0
        inference = self._inference("usual")
        size = 1 if inference is not None else self._batch
        operators = self.predictor.timeline(size, "validate")[0].operators
        step = step_duration(operators, self.device, half=self.config.precision != "fp32" and inference is None)
        if not count or step is None:
            return 0.0, 0.0
        passes = count * inference.passes if inference is not None else -(-count // self._batch)
        return passes * step.low, passes * step.high
