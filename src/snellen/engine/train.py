"""Training: the loop, as the algorithm reads."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import distributed
from torch.nn.utils import clip_grads_with_norm_

from snellen.core.files import writing
from snellen.core.lock import FolderLock
from snellen.core.run_folder import RunFolder
from snellen.core.step import Action, StepObserver
from snellen.engine.capture import Place
from snellen.engine.devices import launch, moved
from snellen.engine.events import Listener
from snellen.engine.fabric import Fabric
from snellen.engine.inspection import Reading, StepSum, ask, gradient_norm
from snellen.engine.optimiser import hold_frozen
from snellen.engine.recipe import Recipe, StepOutput
from snellen.engine.recovery import Outcome, recover
from snellen.engine.seeding import keep_random_state
from snellen.engine.session import Job, MicroBatches, Session
from snellen.engine.settings import TrainSettings
from snellen.engine.signals import StopRequest
from snellen.engine.stopping import stop_before_step
from snellen.errors import ContractError

__all__ = ["TrainResult", "train"]


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What came out of a run.

    Args:
        best: Best headline metric, `None` when nothing was evaluated.
        best_step: Optimiser steps after which it was reached.
        metrics: Of the last evaluation.
        steps: Optimiser steps done.
        epochs: Epochs done.
        seconds: Time spent, over all resumes.
        seconds_by_phase: Of the steps since the last resume: data, forward, backward, optimiser.
        stopped_early: Whether patience ran out.
    """

    best: float | None
    best_step: int
    metrics: Mapping[str, float]
    steps: int
    epochs: int
    seconds: float
    seconds_by_phase: Mapping[str, float]
    stopped_early: bool


def train(
    recipe: Recipe,
    settings: TrainSettings,
    folder: RunFolder | str | Path,
    *,
    observers: Sequence[StepObserver] = (),
    resume: bool = False,
    on_event: Listener | None = None,
) -> TrainResult:
    """Train, evaluate, and leave everything in a folder; Ctrl-C, SIGTERM and kill -9 lose nothing.

    Args:
        recipe: The task.
        settings: How.
        folder: An open run's folder, or a path, which is made and locked.
        observers: Asked for a verdict before each optimiser step.
        resume: Go on from the newest whole checkpoint; with none, from the beginning.
        on_event: Told of resumes, torn checkpoints, skipped steps, stops.

    Raises:
        NonFiniteError: A loss or a gradient is NaN or Inf; the optimiser has not taken it in.
        TrainingStopped: An observer stopped the run.
        Interrupted: Ctrl-C or SIGTERM; the state is saved.
        RunFolderError: The folder is in use, cannot be written, or holds a run that is not to be resumed.
        SnellenError: Of the recipe's data and model.
    """
    if not isinstance(folder, RunFolder):
        with _locked(Path(folder)) as opened:
            return train(recipe, settings, opened, observers=observers, resume=resume, on_event=on_event)
    job = Job(recipe, settings, folder.path, resume, on_event)
    with keep_random_state():
        return launch(settings, _train, job, tuple(observers))


def _train(fabric: Fabric, job: Job, observers: tuple[StepObserver, ...]) -> TrainResult:
    with StopRequest() as stop, Session(fabric, job, stop) as session:
        while not session.finished:
            for batches in session.steps():  # fetch
                if _step(session, batches, observers) is Outcome.WENT_BACK:
                    break
            else:
                session.end_epoch()
        position = session.position
        return TrainResult(
            best=position.best,
            best_step=position.best_step,
            metrics=position.metrics,
            steps=position.step,
            epochs=position.epoch,
            seconds=position.seconds,
            seconds_by_phase=session.timer.totals(),
            stopped_early=session.patience_lost and position.epoch < job.settings.epochs,
        )


def _step(session: Session, batches: MicroBatches, observers: tuple[StepObserver, ...]) -> Outcome:
    lr = session.begin_step()
    sums = _forward_and_backward(session, batches)
    session.timer.enter("optimiser")
    hold_frozen(session.trained.optimiser, session.position.step, steps=session.total_steps)
    session.trained.precision.unscale_gradients(session.trained.optimiser)
    norm = gradient_norm(session.parameters)
    reading = sums.read(session.fabric, norm, stop=session.stop.requested, save=session.save_due)
    outcome = _guard(session, reading, batches, lr, observers)
    if outcome is Outcome.WENT_BACK:
        return outcome
    if outcome is not Outcome.LEFT_OUT:
        if session.clip_norm is not None:
            clip_grads_with_norm_(session.parameters, session.clip_norm, norm)
        session.optimiser.step()  # of an overflowed fp16 step, this only lowers the loss scale
    session.optimiser.zero_grad(set_to_none=True)
    if outcome is Outcome.GOOD and session.trained.average is not None:
        session.trained.average.update(session.position.step + 1)
    session.end_step(reading, batches, lr)  # log, show, save
    return outcome


def _forward_and_backward(session: Session, batches: MicroBatches) -> StepSum:
    fabric, sums = session.fabric, StepSum()
    for number, (batch, weight) in enumerate(batches):
        session.timer.enter("forward")
        Place(session.settings.seed, session.position.step, fabric.global_rank, number).seed_generators()
        with fabric.no_backward_sync(session.model, enabled=number < len(batches) - 1):
            output = session.recipe.training_step(session.model, moved(batch, fabric.device))
            _check(output)
            session.timer.enter("backward")
            fabric.backward(output.loss * weight)
        sums.add(output, weight)
    return sums


def _guard(
    session: Session, reading: Reading, batches: MicroBatches, lr: float, observers: tuple[StepObserver, ...]
) -> Outcome:
    """Let good steps pass, overflowed fp16 steps be skipped, recover from others, and end the run where it must."""
    position, settings = session.position, session.settings
    if session.precision.name == "fp16" and reading.overflowed and position.overflows < settings.max_overflows:
        position.overflows += 1
        session.events("loss-scale", f"step {position.step + 1} overflowed in fp16 and is skipped", step=position.step)
        session.buffers.bring_back()
        return Outcome.OVERFLOWED
    verdict = ask(observers, session.describe(reading, batches, lr)) if observers else None
    if not reading.finite and settings.recoveries:
        return recover(session, reading, batches, lr, verdict)
    if not reading.finite or (verdict is not None and verdict.action is not Action.CONTINUE):
        raise stop_before_step(session, reading, batches, lr, verdict)
    if verdict is not None:
        fix = verdict.finding.fix
        session.events(
            verdict.finding.slug, verdict.finding.message, step=position.step, **({"fix": fix.text} if fix else {})
        )
    position.overflows, session.last_good = 0, position.step
    return Outcome.GOOD


def _check(output: StepOutput) -> None:
    if output.loss.ndim != 0 or not output.loss.requires_grad:
        raise ContractError(
            f"training_step returned a loss of shape {tuple(output.loss.shape)}, requires_grad "
            f"{output.loss.requires_grad}; expected a scalar that depends on trainable parameters"
        )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[RunFolder]:
    """A run's folder at a path, made if missing and locked, for callers that have none open."""
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(path / "lock.json")
    # Processes that torchrun started share the folder; the first of them holds the lock.
    follower = distributed.is_torchelastic_launched() and os.environ.get("RANK", "0") != "0"
    if not follower:
        lock.acquire()
    try:
        yield RunFolder(path)
    finally:
        lock.release()
