"""Everything that a training run holds while it runs, put together once, and what is done with it between steps.

The algorithm is in `snellen.engine.train`; here is what it takes for granted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from snellen.core.run_folder import RunFolder
from snellen.core.step import Step
from snellen.engine.buffers import BufferKeeper
from snellen.engine.caching import RunCache
from snellen.engine.checkpoint import Trained, restore, save_best, save_last
from snellen.engine.devices import on_rank_zero, peak_memory
from snellen.engine.ema import WeightAverage
from snellen.engine.evaluate import Evaluation
from snellen.engine.events import EventLog, Listener
from snellen.engine.fabric import Fabric
from snellen.engine.inspection import Reading
from snellen.engine.loading import BatchLoader
from snellen.engine.optimiser import build_optimiser, set_learning_rate
from snellen.engine.position import Position
from snellen.engine.precision import ResolvedPrecision, resolve_precision
from snellen.engine.progress import TrainingProgress
from snellen.engine.recipe import Batch, IllustratedRecipe, Recipe
from snellen.engine.sampling import SamplePlan
from snellen.engine.schedule import learning_rate_factor
from snellen.engine.seeding import Purpose, seed_all
from snellen.engine.settings import TrainSettings
from snellen.engine.signals import StopRequest
from snellen.engine.store import CheckpointStore, Stored
from snellen.engine.timing import PhaseTimer
from snellen.engine.tracking import Tracker
from snellen.errors import ContractError, Interrupted, RunFolderError

__all__ = ["Job", "MicroBatches", "Session"]

_CLIP_NORM = 1.0

MicroBatches = list[tuple[Batch, float]]
"""Batches of one optimiser step and the weights of their losses."""


@dataclass(frozen=True, slots=True)
class Job:
    """What was asked for.

    Args:
        recipe: The task.
        settings: How.
        folder: Where; it exists.
        resume: Go on from the newest checkpoint.
        listener: Told of events.
    """

    recipe: Recipe
    settings: TrainSettings
    folder: Path
    resume: bool = False
    listener: Listener | None = None


class Session:
    """A run while it runs; a context manager that closes what it opened.

    Args:
        fabric: Launched.
        job: What was asked for.
        stop: Set by Ctrl-C.

    Raises:
        RunFolderError: There is a run in the folder that is not to be resumed, or it cannot be.
        SnellenError: Of the recipe's model and data.
    """

    def __init__(self, fabric: Fabric, job: Job, stop: StopRequest) -> None:
        self.fabric, self.job, self.stop = fabric, job, stop
        self.recipe, self.settings = job.recipe, job.settings
        first = fabric.is_global_zero
        self.events = EventLog(job.folder, job.listener, active=first)
        self.store = CheckpointStore(job.folder / "checkpoints", keep=job.settings.keep_last)
        self.precision = self._resolved_precision()
        self.trained = self._build()
        for remark in getattr(self.recipe, "remarks", ()):
            self.events("remark", remark)
        self.evaluation = Evaluation.of(fabric, self.recipe, self.settings, "val")
        self.cache = self._share()
        self.buffers = BufferKeeper(self.trained.module)
        self.position = self._start()
        self.timer = PhaseTimer(fabric.device)
        self.progress = TrainingProgress(
            steps=self.total_steps, epochs=self.settings.epochs, first_step=self.position.step, silent=not first
        )
        self.tracker = self._tracker() if first else None
        self.last_good = self.position.step - 1
        """Steps before the newest one that was finite: weights of that step, or of an earlier one, are good."""
        self._gone_back = False
        self._saved = self._counted = self._logged = time.monotonic()
        self._samples = 0
        self._waiting = True

    def _build(self) -> Trained:
        seed_all(self.settings.seed, Purpose.MODEL)
        module = self.recipe.build_model()
        module.train()
        self._dataset = dataset = self.recipe.train_dataset()
        fabric, settings = self.fabric, self.settings
        self.plan = SamplePlan(len(dataset), settings.batch_size, settings.accumulate, fabric.world_size, settings.seed)
        self.loader = BatchLoader(
            self.recipe,
            dataset,
            seed=settings.seed,
            purpose=Purpose.TRAINING_SAMPLE,
            workers=settings.workers,
            pin=fabric.device.type == "cuda",
        )
        optimiser = build_optimiser(settings, self.recipe.parameter_groups(module))
        self.model, self.optimiser = fabric.setup(module, optimiser)
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        average = None if settings.ema_decay is None else WeightAverage(module, settings.ema_decay)
        return Trained(module, optimiser, average, fabric.strategy.precision)

    def _share(self) -> RunCache | None:
        datasets = {"train": self._dataset, "val": self.evaluation.dataset if self.evaluation else None}
        cache = RunCache.of(self.fabric, self.settings.cache, datasets, folder=self.job.folder)
        if cache is not None:
            self.events("cache", cache.story, bytes=cache.arena.capacity)
        return cache

    def _resolved_precision(self) -> ResolvedPrecision:
        precision = resolve_precision(self.settings.precision, self.fabric.device.type)
        self.events("precision", f"computes in {precision.name} ({precision.reason})", precision=precision.name)
        return precision

    def _start(self) -> Position:
        stored = on_rank_zero(self.fabric, lambda: self.store.newest("last"))
        if stored is None:
            if self.job.resume:
                self.events("resume", "no checkpoint was written yet; starts from the beginning", step=0)
            return Position()
        if not self.job.resume:
            raise RunFolderError(
                f"{self.job.folder} already holds the checkpoints of a run",
                hint=f"go on with it: snellen resume {self.job.folder}; or train into another folder",
            )
        for problem in stored.torn:
            self.events("torn-checkpoint", f"passed over {problem}; uses {stored.path.name}", used=str(stored.path))
        position = restore(stored, self.trained, self.plan)
        self.events("resume", f"continues after step {position.step}", step=position.step)
        return position

    def _tracker(self) -> Tracker:
        folder = RunFolder(self.job.folder)
        return Tracker(
            folder,
            tensorboard=self.settings.tensorboard,
            report=lambda sentence: self.events("tracker-failed", sentence),
            first_step=self.position.step,
            evaluated=self.position.step_in_epoch == 0,
            recoveries=self.position.recoveries,
        )

    def __enter__(self) -> Self:
        if self.cache is not None and self.settings.cache is not None and self.settings.cache.ahead:
            workers = self.settings.workers
            self.cache.fill(self.fabric, self.events, workers=workers, stopped=lambda: self.stop.requested)
        self.progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.__exit__(kind, error, trace)
        self.loader.close()
        if self.evaluation is not None:
            self.evaluation.close()
        if self.cache is not None:
            self.cache.close()
        if self.tracker is not None:
            self.tracker.close()

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return min(self.plan.steps * self.settings.epochs, self.settings.max_steps or sys.maxsize)

    @property
    def patience_lost(self) -> bool:
        """Whether enough evaluations were no better."""
        return self.settings.patience is not None and self.position.worse >= self.settings.patience

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.position.epoch >= self.settings.epochs or self._steps_done or self.patience_lost

    @property
    def _steps_done(self) -> bool:
        # The epoch in which the last step falls is still to be ended.
        return self.position.step >= self.total_steps and self.position.step_in_epoch == 0

    def steps(self) -> Iterator[MicroBatches]:
        """The batches of each optimiser step that is left of this epoch; loading is timed as `data`."""
        position, rank = self.position, self.fabric.global_rank
        left = self.plan.epoch(position.epoch, rank=rank, start=position.step_in_epoch)
        left = left[: self.total_steps - position.step]
        order = [batch.indices for step in left for batch in step]
        batches = self.loader.batches(position.epoch, order)
        for step in left:
            self.timer.enter("data")
            yield [(next(batches), micro_batch.weight) for micro_batch in step]

    def begin_step(self) -> float:
        """Set the learning rate and remember what the forward pass may ruin; returns the learning rate."""
        self.buffers.keep()
        factor = learning_rate_factor(self.settings, self.position.step, steps=self.total_steps)
        return set_learning_rate(self.trained.optimiser, factor * self.position.slowed)

    @property
    def clip_norm(self) -> float | None:
        """The L2 norm that gradients are scaled down to; after a recovery at most 1."""
        clip = self.settings.clip_norm
        return clip if self.position.slowed == 1.0 else min(clip or _CLIP_NORM, _CLIP_NORM)

    @property
    def in_vain(self) -> bool:
        """Whether leaving a step out has not helped before: the run went back, or no step since has been finite."""
        return self._gone_back or (self.position.recoveries > 0 and self.last_good < self.position.step - 1)

    @property
    def ever_saved(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return on_rank_zero(self.fabric, lambda: self.store.newest("last") is not None)

    def recovered(self, *, slower: float) -> None:
        """Count a recovery and lower the learning rate for the rest of the run."""
        self.position.recoveries += 1
        self.position.slowed *= slower

    def go_back(self, stored: Stored | None) -> None:
        """Return to a checkpoint, or to the very beginning, and save that: a kill must not undo what was counted.

        Args:
            stored: The checkpoint, the same on every rank; `None` for the weights that training began with.
        """
        former = self.position
        self.position = self._begun_anew() if stored is None else restore(stored, self.trained, self.plan)
        for name in ("recoveries", "slowed", "seconds"):
            setattr(self.position, name, getattr(former, name))
        self.last_good, self._gone_back = self.position.step - 1, True
        if self.tracker is not None:
            self.tracker.close()
            self.tracker = self._tracker()
        self.save()

    def _begun_anew(self) -> Position:
        """The weights that training began with follow from the seed."""
        seed_all(self.settings.seed, Purpose.MODEL)
        start = self.recipe.build_model().state_dict()
        self.trained.module.load_state_dict(start)
        if self.trained.average is not None:
            self.trained.average.model.load_state_dict(start)
        self.trained.optimiser.state.clear()
        return Position()

    def describe(self, reading: Reading, batches: MicroBatches, lr: float) -> Step:
        """The facts that observers are shown."""
        scale = self.trained.precision.state_dict().get("scale")
        return Step(
            epoch=self.position.epoch,
            step=self.position.step,
            loss=reading.loss,
            gradient_norm=reading.gradient_norm,
            lr=lr,
            precision=self.precision.name,
            loss_scale=scale,
            files=[name for batch, _ in batches for name in batch["files"]],
            logs=reading.logs,
            seconds=self.timer.last,
            memory_bytes=peak_memory(self.fabric.device),
            evaluation=self.position.metrics,
            about=getattr(self.recipe, "about", {}),
            cache={} if self.cache is None else self.cache.totals(),
        )

    def end_step(self, reading: Reading, batches: MicroBatches, lr: float) -> None:
        """Count the step, write it down, show it, save it when that is due, and end the run when it was asked to.

        A step that was not finite is written down whether its turn has come or not.
        """
        position = self.position
        self.timer.end_step()
        position.step += 1
        position.step_in_epoch += 1
        self._samples += sum(len(batch["files"]) for batch, _ in batches) * self.fabric.world_size
        due = position.step % self.settings.log_every == 0 or position.step == self.total_steps
        if due or not reading.finite:
            self.log(reading, lr, position.step)
        if self.progress.due:
            self.progress.show(epoch=position.epoch, step=position.step, loss=reading.loss, seconds=self.timer.last)
        every = self.settings.checkpoint_every
        if reading.stop:
            self.save()
            raise self.interruption()
        if reading.save or (every is not None and position.step % every == 0):
            self.save()

    def end_epoch(self) -> None:
        """Evaluate when it is time, keep the best, go on to the next epoch, and save."""
        position, settings = self.position, self.settings
        last = position.step >= self.total_steps
        if self.evaluation is not None and (last or (position.epoch + 1) % settings.evaluate_every == 0):
            self._evaluate(self.evaluation)
        position.epoch += 1
        position.step_in_epoch = 0
        self.save()
        if self.patience_lost and not last:
            worse = position.worse
            self.events(
                "early-stop", f"stops: {worse} evaluations in a row were no better than step {position.best_step}"
            )

    def save(self) -> None:
        """Write the newest checkpoint."""
        now = time.monotonic()
        self.position.seconds += now - self._counted
        self._counted = self._saved = now
        on_rank_zero(self.fabric, lambda: save_last(self.store, self.trained, self.position, self.plan))

    @property
    def save_due(self) -> bool:
        """Whether enough time has passed since the last checkpoint."""
        limit = self.settings.checkpoint_seconds
        return limit is not None and time.monotonic() - self._saved >= limit

    def interruption(self) -> Interrupted:
        """What ends a run that was asked to stop; the state is saved."""
        self.events(
            "interrupted", f"stopped after step {self.position.step}; the state is saved", step=self.position.step
        )
        return Interrupted(
            f"stopped after step {self.position.step} of {self.total_steps}; the state is saved",
            hint=f"snellen resume {self.job.folder}",
        )

    def _evaluate(self, evaluation: Evaluation) -> None:
        position, headline = self.position, self.recipe.headline
        try:
            metrics = evaluation.run(self.trained.evaluated, interrupted=lambda: self.stop.requested)
        except Interrupted:
            self.save()
            raise self.interruption() from None
        if headline not in metrics:
            raise ContractError(f"the metrics have no {headline!r}, the recipe's headline; they are {sorted(metrics)}")
        position.metrics = metrics
        best = position.take(metrics[headline], self.recipe.mode)
        self.progress.headline(headline, metrics[headline], best=best)
        if self.tracker is not None:
            self.tracker.log("val", epoch=position.epoch, step=position.step, metrics=metrics)
            if isinstance(self.recipe, IllustratedRecipe):
                self.tracker.show(self.recipe.pictures(), step=position.step)
        if best:
            on_rank_zero(self.fabric, lambda: save_best(self.store, self.trained, position))

    def log(self, reading: Reading, lr: float, step: int) -> None:
        """Write down the numbers of a step, counted from 1, and the times of the steps since the last line."""
        if self.tracker is None:
            return
        now = time.monotonic()
        rate = self._samples / max(now - self._logged, 1e-9)
        self._logged, self._samples = now, 0
        seconds: Mapping[str, float] = {name: round(value, 6) for name, value in self.timer.lap().items()}
        self.tracker.log(
            "train",
            epoch=self.position.epoch,
            step=step,
            loss=reading.loss,
            lr=lr,
            gradient_norm=reading.gradient_norm,
            logs=dict(reading.logs),
            seconds=seconds,
            samples_per_second=round(rate, 3),
            memory_bytes=peak_memory(self.fabric.device),
            **({} if self.cache is None else {"cache": self.cache.figures()}),
        )
