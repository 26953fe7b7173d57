"""Memory of something that really runs on the CPU, counted by the events of PyTorch's allocator."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor
from torch.profiler import ProfilerActivity, profile

__all__ = ["held_bytes", "peak_above_start"]

_LOG_LEVEL = "KINETO_LOG_LEVEL"


def peak_above_start(run: Callable[[], object]) -> int:
    """Most bytes alive at once on the CPU while something runs, beyond those that were there before.

    Args:
        run: What is run, once.

    Example:
        >>> import torch
        >>> peak_above_start(lambda: torch.zeros(1024).neg())
        8192
    """
    with _silent_profiler(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    events = profiled.profiler.kineto_results.events()
    current = peak = 0
    for _, change in sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"):
        current += change
        peak = max(peak, current)
    return peak


@contextmanager
def _silent_profiler() -> Iterator[None]:
    """Else it tells of its start on stderr, and that there is no GPU."""
    before = os.environ.get(_LOG_LEVEL)
    os.environ[_LOG_LEVEL] = before or "9"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_LOG_LEVEL, None)


def held_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages behind tensors, each counted once.

    Args:
        tensors: Some of which may share a storage.

    Example:
        >>> import torch
        >>> whole = torch.zeros(4)
        >>> held_bytes([whole, whole[1:]])
        16
    """
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())
