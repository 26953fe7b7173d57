"""The states of an optimiser in eight bits, laid out as bitsandbytes does, without the library and its kernels.

From `bitsandbytes/optim/optimizer.py` (`init_state` of `Optimizer2State` and `Optimizer1State`, version
0.50): a state is one byte a value and one float32, its largest, for each block of 256 values; tensors with
fewer than 4,096 values keep float32. Two tables of 256 float32 values that tell what a byte means are there once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["EIGHT_BIT_LAYOUT", "EightBitStates"]

_LEAST: Final = 4096
_BLOCK: Final = 256
_TABLE: Final = 256
_WRITTEN_OUT: Final = {1: 2, 2: 5}
"""Tensors that the kernels of the CPU make on the way, by the number of states (`backends/cpu/ops.py`)."""

EIGHT_BIT_LAYOUT: Final = (
    f"states of the optimiser: a byte a value and a float32 for each {_BLOCK}; tensors of fewer than {_LEAST:,} values "
    f"in float32 (the layout of bitsandbytes 0.50, init_state in optim/optimizer.py)"
)
"""For people: what is assumed, and where it is from."""


class EightBitStates(Optimizer):
    """Takes and holds the memory that `bitsandbytes.optim.AdamW8bit` would; the weights stay as they are.

    Args:
        parameters: As any optimiser takes them.
        states: Numbers that are remembered of each value: 2 as `AdamW8bit`, 1 as `SGD8bit`.
        fused: Whether the update makes nothing on the way, as the kernels of CUDA; those of the CPU write states out.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(64, 64))
        >>> weight.grad = torch.zeros_like(weight)
        >>> optimiser = EightBitStates([weight])
        >>> optimiser.step()
        >>> sum(one.nbytes for one in optimiser.state[weight].values())  # 2 * (4096 + 16 * 4) + 2 * 256 * 4
        10368
    """

    def __init__(self, parameters: Iterable[Any], *, states: int = 2, fused: bool = True) -> None:
        super().__init__(parameters, {})
        self.fused = fused
        self._states = range(1, states + 1)
        self._tables: dict[str, Tensor] = {}

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # nothing is computed, so that nothing is asked for again
        """Make the states of those that have a gradient, and what an update would make on the way."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if not self.state[parameter]:
                    self._begin(parameter)
                if not self.fused:
                    self._update(parameter)

    def _begin(self, parameter: Tensor) -> None:
        state, small = self.state[parameter], parameter.numel() < _LEAST
        for number in self._states:
            state[f"state{number}"] = torch.zeros_like(parameter, dtype=torch.float32 if small else torch.uint8)
            if not small:
                name, blocks = f"qmap{number}", -(-parameter.numel() // _BLOCK)
                if name not in self._tables:
                    self._tables[name] = torch.zeros(_TABLE, device=parameter.device)
                state[name] = self._tables[name]
                state[f"absmax{number}"] = torch.zeros(blocks, device=parameter.device)

    def _update(self, parameter: Tensor) -> None:
        """On a CPU: states and gradient written out, and for two states the root and the quotient, all in float32."""
        held = [torch.empty_like(parameter, dtype=torch.float32) for _ in range(_WRITTEN_OUT[len(self._states)])]
        del held
