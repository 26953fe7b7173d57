"""Takes back what a forward pass changes outside of the parameters."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["BufferKeeper"]


class BufferKeeper:
    """Remembers a module's buffers, such as the statistics of batch norm, which a forward pass on a NaN ruins.

    Args:
        module: On its device.
    """

    def __init__(self, module: nn.Module) -> None:
        self._buffers = list(module.buffers())
        self._kept = [buffer.clone() for buffer in self._buffers]

    @torch.no_grad()
    def keep(self) -> None:
        """Remember the buffers as they are."""
        for buffer, kept in zip(self._buffers, self._kept, strict=True):
            kept.copy_(buffer)

    @torch.no_grad()
    def bring_back(self) -> None:
        """Set the buffers to what was kept last."""
        for buffer, kept in zip(self._buffers, self._kept, strict=True):
            buffer.copy_(kept)
