"""When a step must not be done: the good state is saved, the batch is kept, and the run ends with a reason."""

from __future__ import annotations

from pathlib import Path

from snellen.core.step import Action, Verdict
from snellen.engine.buffers import BufferKeeper
from snellen.engine.capture import Place, blame, save_capture
from snellen.engine.culprit import Culprit
from snellen.engine.devices import gather
from snellen.engine.inspection import Reading
from snellen.engine.recipe import Batch
from snellen.engine.session import MicroBatches, Session
from snellen.errors import NonFiniteError, RunFolderError, TrainingStopped

__all__ = ["stop_before_step"]

_SHOWN = 8


def stop_before_step(
    session: Session, reading: Reading, batches: MicroBatches, lr: float, verdict: Verdict | None
) -> TrainingStopped:
    """Save the state before the step, find out what broke it, keep the batch, and say so.

    The weights are those before the step, because the optimiser has not run; buffers are brought back to what they
    were. All ranks call this together.

    Returns:
        What to raise: `NonFiniteError` when loss or gradients are not finite, else `TrainingStopped`.
    """
    session.buffers.bring_back()
    session.optimiser.zero_grad(set_to_none=True)
    session.save()
    session.log(reading, lr, session.position.step + 1)
    batch, place, culprit = _find(session, batches)
    culprits = gather(session.fabric, culprit)
    guilty = next((rank for rank, found in enumerate(culprits) if found is not None), 0)
    written = None
    if session.fabric.global_rank == guilty:
        written = _capture(session, batch, place, culprit)
    capture, files = gather(session.fabric, (written, list(batch["files"])))[guilty]
    step = session.position.step
    lines = [_reason(reading, verdict, step, session.position.epoch)]
    lines.append(f"first not finite: {culprits[guilty]}" if culprits[guilty] else _nothing_found(reading))
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    lines.append(f"files of the batch: {', '.join(files[:_SHOWN])}{more}")
    lines.append(f"the state before this step is saved; {capture}")
    message = "\n".join(line for line in lines if line)
    slug = verdict.finding.slug if verdict else "nan-loss"
    session.events(slug, lines[0], step=step, files=files[:_SHOWN], culprit=str(culprits[guilty]), capture=capture)
    kind = TrainingStopped if reading.finite else NonFiniteError
    return kind(message, hint=f"mend the cause, then: snellen resume {session.job.folder}", slug=slug)


def _find(session: Session, batches: MicroBatches) -> tuple[Batch, Place, Culprit | None]:
    """The micro-batch of this rank that goes wrong when it is repeated, the first when none does.

    They are repeated in order, and the buffers are left as they were before the one that is returned.
    """
    buffers = BufferKeeper(session.trained.module)
    rank = session.fabric.global_rank
    for number, (batch, _) in enumerate(batches):
        place = Place(session.settings.seed, session.position.step, rank, number)
        culprit = blame(session.fabric, session.recipe, session.trained.module, batch, place)
        if culprit is not None:
            buffers.bring_back()
            return batch, place, culprit
        buffers.keep()
    session.buffers.bring_back()
    return batches[0][0], Place(session.settings.seed, session.position.step, rank, 0), None


def _capture(session: Session, batch: Batch, place: Place, culprit: Culprit | None) -> str:
    facts = {"precision": session.precision.name, "scaler": session.trained.precision.state_dict()}
    folder = session.job.folder / "captures"
    try:
        path: Path = save_capture(folder, session.trained.module, batch, place, culprit=culprit, facts=facts)
    except RunFolderError as error:
        return f"the batch could not be kept: {error.message}"
    return f"the batch is kept in {path}; snellen.engine.capture.replay(recipe, {str(path)!r}) runs it again"


def _reason(reading: Reading, verdict: Verdict | None, step: int, epoch: int) -> str:
    numbers = f"loss {reading.loss:.6g}, gradient norm {reading.gradient_norm:.6g}"
    where = f"before optimiser step {step + 1} (epoch {epoch + 1}): {numbers}"
    if verdict is None:
        return f"stopped {where}"
    asked = "" if verdict.action is Action.STOP else f" (asked to {verdict.action}, which this engine cannot do)"
    return f"stopped {where}; {verdict.finding.message}{asked}"


def _nothing_found(reading: Reading) -> str:
    return "" if reading.finite else "when the step was repeated, everything was finite: it depends on chance or timing"
