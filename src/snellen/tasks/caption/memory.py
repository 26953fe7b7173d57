"""What a model holds while it is there, and whether it is gone afterwards: measured, not believed."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import weakref
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import Tensor, nn

__all__ = ["Held", "Memory", "StageMemory", "measured", "released"]

_SMALL = 1_000_000
"""Bytes of tensors that libraries keep for themselves: tables of positions, constants."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory at one moment, in bytes.

    Args:
        tensors: Of all tensors that Python reaches, storage shared by several counted once.
        resident: Of the process.
        device: That torch has given out on the GPU; 0 without one.
    """

    tensors: int
    resident: int
    device: int


@dataclass(frozen=True, slots=True)
class StageMemory:
    """One model's stay.

    Args:
        name: Of the model.
        before: Before it was loaded.
        during: When its work was done.
        after: After it was dropped.
        alive: Weights of it that are still there.
    """

    name: str
    before: Memory
    during: Memory
    after: Memory
    alive: int

    @property
    def sentence(self) -> str:
        """For people."""
        held, left = self.during.tensors - self.before.tensors, self.after.tensors - self.before.tensors
        gpu = f", on the GPU {_mb(self.during.device)}, now {_mb(self.after.device)}"
        where = gpu if self.during.device else ""
        gone = "all of it is gone" if not self.alive and left < _SMALL else f"{_mb(max(0, left))} of it are left"
        return f"{self.name}: {_mb(held)} of tensors{where}, {gone}; process {_mb(self.after.resident)}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        moments = {"before": self.before, "during": self.during, "after": self.after}
        return {
            "name": self.name,
            "alive": self.alive,
            **{
                name: {"tensors": one.tensors, "resident": one.resident, "device": one.device}
                for name, one in moments.items()
            },
        }


class Held:
    """Remembers a network's weights without keeping them.

    Args:
        network: The network.

    Example:
        >>> network = nn.Linear(2, 1)
        >>> held = Held(network)
        >>> held.alive
        2
        >>> del network
        >>> held.alive
        0
    """

    def __init__(self, network: nn.Module) -> None:
        self._weights = [weakref.ref(parameter) for parameter in network.parameters()]

    @property
    def alive(self) -> int:
        """Weights that are still there."""
        return sum(one() is not None for one in self._weights)


def measured(device: str) -> Memory:
    """Memory now.

    Args:
        device: Where models compute.
    """
    storages: dict[int, int] = {}
    for one in gc.get_objects():
        # By its type: `isinstance` would wake modules that load themselves when they are looked at.
        if issubclass(type(one), Tensor) and one.device.type != "meta":
            storage = one.untyped_storage()
            # A fake tensor, which another part of the process may keep, has no memory: it refuses the pointer.
            with contextlib.suppress(RuntimeError):
                storages[storage.data_ptr()] = storage.nbytes()
    given = torch.cuda.memory_allocated(device) if device.startswith("cuda") else 0
    return Memory(sum(storages.values()), psutil.Process().memory_info().rss, given)


def released(device: str) -> Memory:
    """Memory after everything that nobody holds is given back.

    Args:
        device: Where models compute.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        # The C library keeps what was freed for later; what comes next is another model, of other sizes.
        ctypes.CDLL(None).malloc_trim(0)
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    return measured(device)


def _mb(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
