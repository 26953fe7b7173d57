"""Going on after a step that was not finite: a bounded number of times, and written down each time.

Nothing of such a step reaches the weights, so the step before it is the last good state. What follows depends on what
broke it:

- a batch that holds NaN or Inf itself is left out, and nothing else changes;
- otherwise the step is left out, the learning rate falls to a third for the rest of the run, and gradients are clipped
  to the norm 1 where they were not;
- where that was done and the next step is not finite either, or where the weights themselves are not, the weights are
  what is broken: the run goes back to the newest checkpoint whose weights have been through a finite step, or to its
  very beginning when it is younger than its first checkpoint, again with a third of the learning rate.

Each is a line of the kind `recovery` in `metrics.jsonl`, which stays when the steps after a checkpoint are done again,
and an event with what was found.
"""

from __future__ import annotations

from enum import Enum, auto

from snellen.core.step import Verdict
from snellen.engine.devices import on_rank_zero
from snellen.engine.inspection import Reading
from snellen.engine.session import MicroBatches, Session
from snellen.engine.stopping import Fault, find_fault, reason_of, stop_before_step
from snellen.engine.store import Stored

__all__ = ["SLOWER", "Outcome", "recover"]

SLOWER = 1 / 3
"""The mild end of what is advised against a learning rate that is too high: a third to a tenth."""


class Outcome(Enum):
    """What became of a step."""

    GOOD = auto()
    """The optimiser may take it."""
    OVERFLOWED = auto()
    """The loss scaler leaves it out and looks for a smaller scale."""
    LEFT_OUT = auto()
    """It is counted, and nothing was learned from it."""
    WENT_BACK = auto()
    """The run is at an earlier step now."""


def recover(session: Session, reading: Reading, batches: MicroBatches, lr: float, verdict: Verdict | None) -> Outcome:
    """Go on after a step that is not finite. All ranks call this together.

    Raises:
        NonFiniteError: The settings allow no more of it, or there is no good state to go back to.
    """
    session.buffers.bring_back()
    session.optimiser.zero_grad(set_to_none=True)
    fault = find_fault(session, batches)
    stage = None if fault.culprit is None else fault.culprit.stage
    left = session.position.recoveries < session.settings.recoveries
    ruined = stage != "batch" and (stage == "weights" or session.in_vain)
    stored = _good_checkpoint(session) if left and ruined else None
    lost = ruined and stored is None and session.ever_saved
    if not left or lost:
        raise stop_before_step(session, reading, batches, lr, verdict, fault)
    _settle_scaler(session)
    why = f"not finite {reason_of(session, reading, verdict)}"
    session.recovered(slower=1.0 if stage == "batch" else SLOWER)
    if ruined:
        action = "goes back to the very beginning" if stored is None else f"goes back to step {stored.step}"
    else:
        action = "leaves the batch out" if stage == "batch" else "leaves the step out"
    _tell(session, reading, lr, why, action, fault)
    if not ruined:
        return Outcome.LEFT_OUT
    session.go_back(stored)
    if reading.stop:
        raise session.interruption()
    return Outcome.WENT_BACK


def _good_checkpoint(session: Session) -> Stored | None:
    """The newest checkpoint whose weights have been through a finite step."""

    def found() -> Stored | None:
        return next((one for one in session.store.whole("last", []) if one.step <= session.last_good), None)

    return on_rank_zero(session.fabric, found)


def _settle_scaler(session: Session) -> None:
    """Let the loss scaler forget that the gradients of this step were unscaled; it would refuse the next ones."""
    scaler = getattr(session.trained.precision, "scaler", None)
    if scaler is not None:
        scaler.update()


def _tell(session: Session, reading: Reading, lr: float, why: str, action: str, fault: Fault) -> None:
    position, most = session.position, session.settings.recoveries
    found = f"first not finite: {fault.culprit}" if fault.culprit else "finite when it was repeated"
    rate = f", from here on with {position.slowed:.3g} of the learning rate" if position.slowed < 1 else ""
    text = f"{why}; {found}; {fault.files_told}; {action}{rate} (recovery {position.recoveries} of {most})"
    session.events("nan-loss", text, step=position.step, action=action, slowed=position.slowed, **fault.facts)
    if session.tracker is not None:
        session.tracker.log(
            "recovery",
            epoch=position.epoch,
            step=position.step + 1,
            number=position.recoveries,
            loss=reading.loss,
            gradient_norm=reading.gradient_norm,
            lr=lr,
            slowed=position.slowed,
            action=action,
            culprit=None if fault.culprit is None else str(fault.culprit),
            files=list(fault.files),
        )
