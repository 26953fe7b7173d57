"""Counting memory by the events of the CPU allocator."""

from __future__ import annotations

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile

__all__ = ["peak_above_start"]


def peak_above_start(run: Callable[[], object]) -> int:
    """Most bytes alive at once while something runs, beyond those that were there before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    events = profiled.profiler.kineto_results.events()
    current = peak = 0
    for _, change in sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"):
        current += change
        peak = max(peak, current)
    return peak
