"""When a step must not be done: the good state is saved, the batch is kept, and the run ends with a reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from snellen.core.run_folder import RunFolder
from snellen.core.step import Action, Verdict
from snellen.engine.buffers import BufferKeeper
from snellen.engine.capture import Place, blame, save_capture
from snellen.engine.culprit import Culprit
from snellen.engine.devices import gather
from snellen.engine.inspection import Reading
from snellen.engine.recipe import Batch
from snellen.engine.session import MicroBatches, Session
from snellen.errors import NonFiniteError, RunFolderError, TrainingStopped

__all__ = ["Fault", "find_fault", "reason_of", "stop_before_step"]

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Fault:
    """What broke a step, the same on every rank.

    Args:
        culprit: The first tensor that is not finite; `None` when the step was finite when it was repeated.
        files: Of the batch that it was found in.
        capture: Where that batch is kept.
    """

    culprit: Culprit | None
    files: tuple[str, ...]
    capture: str

    @property
    def files_told(self) -> str:
        """The files in one line."""
        more = f" and {len(self.files) - _SHOWN} more" if len(self.files) > _SHOWN else ""
        return f"files of the batch: {', '.join(self.files[:_SHOWN])}{more}"

    @property
    def facts(self) -> dict[str, Any]:
        """For `events.jsonl`."""
        return {"files": list(self.files[:_SHOWN]), "culprit": str(self.culprit), "capture": self.capture}


def find_fault(session: Session, batches: MicroBatches) -> Fault:
    """Repeat the step to find out what broke it, and keep the batch. All ranks call this together."""
    batch, place, culprit = _find(session, batches)
    culprits = gather(session.fabric, culprit)
    guilty = next((rank for rank, found in enumerate(culprits) if found is not None), 0)
    written = None
    if session.fabric.global_rank == guilty:
        written = _capture(session, batch, place, culprit)
    capture, files = gather(session.fabric, (written, list(batch["files"])))[guilty]
    return Fault(culprits[guilty], tuple(files), str(capture))


def stop_before_step(
    session: Session,
    reading: Reading,
    batches: MicroBatches,
    lr: float,
    verdict: Verdict | None,
    fault: Fault | None = None,
) -> TrainingStopped:
    """Save the state before the step, find out what broke it, keep the batch, and say so.

    The weights are those before the step, because the optimiser has not run; buffers are brought back to what they
    were. Weights that are themselves not finite are not saved over good ones. All ranks call this together.

    Args:
        session: The run.
        reading: The step's numbers.
        batches: Of the step.
        lr: Of the step.
        verdict: Of those who watch.
        fault: What broke it, where that is known already.

    Returns:
        What to raise: `NonFiniteError` when loss or gradients are not finite, else `TrainingStopped`.
    """
    session.buffers.bring_back()
    session.optimiser.zero_grad(set_to_none=True)
    sound = all(bool(torch.isfinite(one).all()) for one in session.parameters)
    if sound:
        session.save()
    session.log(reading, lr, session.position.step + 1)
    fault = fault or find_fault(session, batches)
    step = session.position.step
    lines = [f"stopped {reason_of(session, reading, verdict)}"]
    lines.append(f"first not finite: {fault.culprit}" if fault.culprit else _nothing_found(reading))
    lines.append(fault.files_told)
    state = "the state before this step is saved" if sound else "the weights were not finite before it: not saved"
    lines.append(f"{state}; {fault.capture}")
    tries = session.position.recoveries
    lines.append(f"the run had gone on {tries} times before, as optim.recoveries allows" if tries else "")
    message = "\n".join(line for line in lines if line)
    slug = verdict.finding.slug if verdict else "nan-loss"
    session.events(slug, lines[0], step=step, **fault.facts)
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
    folder = RunFolder(session.job.folder).captures
    try:
        path: Path = save_capture(folder, session.trained.module, batch, place, culprit=culprit, facts=facts)
    except RunFolderError as error:
        return f"the batch could not be kept: {error.message}"
    return f"the batch is kept in {path}; snellen.engine.capture.replay(recipe, {str(path)!r}) runs it again"


def reason_of(session: Session, reading: Reading, verdict: Verdict | None) -> str:
    """Where the run was, the step's numbers, and what was thought of them."""
    position = session.position
    numbers = f"loss {reading.loss:.6g}, gradient norm {reading.gradient_norm:.6g}"
    where = f"before optimiser step {position.step + 1} (epoch {position.epoch + 1}): {numbers}"
    if verdict is None:
        return where
    asked = "" if verdict.action is Action.STOP else f" (asked to {verdict.action}, which this engine cannot do)"
    return f"{where}; {verdict.finding.message}{asked}"


def _nothing_found(reading: Reading) -> str:
    return "" if reading.finite else "when the step was repeated, everything was finite: it depends on chance or timing"
