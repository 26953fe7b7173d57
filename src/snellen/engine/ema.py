"""An exponential moving average of the weights, which often generalises better than the last weights."""

from __future__ import annotations

import copy

import torch
from torch import nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """Keeps a copy of a model whose weights follow those of the model slowly.

    In the first steps the decay is `(1 + step) / (10 + step)` where that is less than `decay`, so that a short run
    does not end with the average of its beginning. Buffers, such as the statistics of batch norm, are copied.

    Source: the ramp is that of TensorFlow's `ExponentialMovingAverage(num_updates=...)`.

    Args:
        model: The model to follow; it is copied.
        decay: Weight of the past in each update, 0 to 1.

    Example:
        >>> model = nn.Linear(1, 1)
        >>> average = WeightAverage(model, decay=0.999)
        >>> average.update(1)
        >>> round(average.decay_at(1), 4), average.decay_at(100_000)
        (0.1818, 0.999)
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(requires_grad=False)
        self.model.eval()
        pairs = list(zip(self.model.parameters(), model.parameters(), strict=True))
        moving = [
            (own.detach(), live.detach()) for own, live in pairs if live.is_floating_point() and live.requires_grad
        ]
        self._own = [own for own, _ in moving]
        self._live = [live for _, live in moving]
        self._buffers = list(zip(self.model.buffers(), model.buffers(), strict=True))

    def decay_at(self, step: int) -> float:
        """The decay of the update after optimiser step `step`, counted from 1."""
        return min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the model after optimiser step `step`, counted from 1."""
        if self._own:
            torch._foreach_lerp_(self._own, self._live, 1 - self.decay_at(step))
        for own, live in self._buffers:
            own.copy_(live)
