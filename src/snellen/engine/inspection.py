"""The numbers of a step, read once and agreed on by all ranks, before the optimiser may use them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from snellen.core.step import Action, Step, StepObserver, Verdict
from snellen.engine.fabric import Fabric
from snellen.engine.recipe import StepOutput

__all__ = ["Reading", "StepSum", "ask", "gradient_norm"]

_SEVERITY = (Action.CONTINUE, Action.SKIP, Action.ROLLBACK, Action.STOP)


@dataclass(frozen=True, slots=True)
class Reading:
    """Numbers of a step, the same on every rank.

    Args:
        loss: Mean over the samples of all micro-batches and ranks.
        gradient_norm: L2, before clipping, without the loss scale.
        logs: Of the task, averaged likewise.
        stop: Whether any rank was asked to stop.
        save: Whether any rank finds a checkpoint due.
    """

    loss: float
    gradient_norm: float
    logs: Mapping[str, float]
    stop: bool
    save: bool

    @property
    def finite(self) -> bool:
        """Whether the optimiser may step."""
        return math.isfinite(self.loss) and math.isfinite(self.gradient_norm)

    @property
    def overflowed(self) -> bool:
        """Whether only the gradients are beyond their number format."""
        return math.isfinite(self.loss) and not math.isfinite(self.gradient_norm)


@dataclass(slots=True)
class StepSum:
    """Weighted sums over the micro-batches of a step; nothing here waits for the device."""

    loss: Tensor | float = 0.0
    logs: dict[str, Tensor | float] = field(default_factory=dict)

    def add(self, output: StepOutput, weight: float) -> None:
        """Take in one micro-batch."""
        self.loss = self.loss + output.loss.detach() * weight
        for name, value in output.logs.items():
            number = value.detach() if isinstance(value, Tensor) else value
            self.logs[name] = self.logs.get(name, 0.0) + number * weight

    def read(self, fabric: Fabric, norm: Tensor, *, stop: bool, save: bool) -> Reading:
        """Reduce over ranks and bring the numbers to the host, at the price of one wait for the device.

        Args:
            fabric: Launched.
            norm: Scalar; equal on all ranks, whose gradients are the same.
            stop: This rank was asked to stop.
            save: This rank finds a checkpoint due.
        """
        values = [self.loss, float(stop), float(save), *self.logs.values()]
        if fabric.world_size == 1 and fabric.device.type == "cpu":
            numbers = [float(value) for value in values]
        else:
            vector = torch.stack([_scalar(value, fabric.device) for value in values])
            if fabric.world_size > 1:
                vector = fabric.all_reduce(vector, reduce_op="mean")  # type: ignore[assignment]
            *numbers, total = torch.cat([vector, _scalar(norm, fabric.device).reshape(1)]).tolist()
            norm = torch.tensor(total)
        logs = dict(zip(self.logs, numbers[3:], strict=True))
        return Reading(numbers[0], float(norm), logs, numbers[1] > 0, numbers[2] > 0)


def gradient_norm(parameters: Sequence[Tensor]) -> Tensor:
    """L2 norm over all gradients, a scalar; 0 when there is none."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return torch.nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())


def ask(observers: Sequence[StepObserver], step: Step) -> Verdict | None:
    """The gravest verdict of all observers, the first of equals; `None` when nobody says anything."""
    verdicts = [verdict for observer in observers for verdict in observer.observe(step)]
    return max(verdicts, key=lambda verdict: _SEVERITY.index(verdict.action), default=None)


def _scalar(value: Tensor | float, device: torch.device) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float32, device=device).detach().reshape(())
