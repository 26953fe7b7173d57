"""Main memory that a run takes beside the device: its process, its loader processes, batches that wait, saving.

Private memory as `/proc/PID/smaps_rollup` shows it, Python 3.11 and torch 2.13 for CPUs on Linux: a process that has
imported torch, timm and OpenCV holds 415 MiB; a forked loader process 80 MiB of its own after six batches, one that was
started anew (`spawn`) 485 MiB, as it imports everything again. A process that uses CUDA holds more, by driver and
libraries: the upper bound leaves room for it and is no measurement.
"""

from __future__ import annotations

from typing import Final

__all__ = ["process_bytes", "worker_bytes"]

_MIB: Final = 1 << 20
_PROCESS: Final = {"cpu": (400 * _MIB, 900 * _MIB), "cuda": (500 * _MIB, 3500 * _MIB)}
_FORKED: Final = (60 * _MIB, 400 * _MIB)
_STARTED: Final = (400 * _MIB, 800 * _MIB)
_OPEN: Final = (3, 27)
"""Bytes of a pixel while its image is opened: three as decoded; at most a copy beside that, and two as float."""


def process_bytes(accelerator: str, *, step: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    """Least and most that the training process takes.

    Args:
        accelerator: `cuda`, or another: the step itself then lies in main memory.
        step: What it needs there.
    """
    low, high = _PROCESS["cuda" if accelerator == "cuda" else "cpu"]
    return low + step[0], high + step[1]


def worker_bytes(largest_pixels: int, *, forked: bool) -> tuple[int, int]:
    """Least and most that one loader process takes for itself.

    Args:
        largest_pixels: Pixels of the largest image that it opens.
        forked: Whether it shares what its parent had loaded.

    Example:
        >>> worker_bytes(0, forked=True)[0] // 2**20
        60
    """
    low, high = _FORKED if forked else _STARTED
    return low + _OPEN[0] * largest_pixels, high + _OPEN[1] * largest_pixels
