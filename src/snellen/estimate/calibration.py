"""Short timed runs on this machine: how fast its processor is, and how long a real step takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from snellen.estimate.step import Workload

__all__ = ["Calibration", "processor_speed", "timed_step"]

_SIDE = 768
_COPIED = 64 << 20
_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Calibration:
    """Real steps that were timed.

    Args:
        seconds: Median of an optimiser step.
        steps: How many were timed.
        allocated: `torch.cuda.max_memory_allocated()`; `None` without CUDA.
        reserved: `torch.cuda.max_memory_reserved()`; `None` without CUDA.
    """

    seconds: float
    steps: int
    allocated: int | None = None
    reserved: int | None = None


def processor_speed() -> tuple[float, float]:
    """Of this processor with the threads that torch has: 10^12 float32 operations and 10^9 bytes a second.

    A product of two matrices and a copy, about a fifth of a second each; the best of what was seen.
    """
    one, source = torch.rand(_SIDE, _SIDE), torch.empty(_COPIED // 4)
    target = torch.empty_like(source)
    product = _best(lambda: torch.mm(one, one))
    copy = _best(lambda: target.copy_(source))
    return 2 * _SIDE**3 / product / 1e12, 2 * _COPIED / copy / 1e9


def _best(what: Callable[[], Any], *, seconds: float = 0.2) -> float:
    times: list[float] = []
    what()
    while sum(times) < seconds or len(times) < 3:
        start = time.perf_counter()
        what()
        times.append(time.perf_counter() - start)
    return min(times)


def timed_step(workload: Workload, device: str, *, seconds: float = 10.0, most: int = 10) -> Calibration:
    """Take real optimiser steps with random numbers, the first of them untimed.

    Args:
        workload: What a step does, with its batch size.
        device: `cpu` or `cuda`.
        seconds: No step is begun after that, once one was timed.
        most: Steps that are timed.

    Raises:
        ValueError: The workload trains nothing.
    """
    if workload.optimiser is None:
        raise ValueError("the workload has no optimiser, expected one that trains")
    torch.manual_seed(0)
    model = workload.build().to(device).train()
    optimiser = workload.optimiser([parameter for parameter in model.parameters() if parameter.requires_grad])
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    _step(workload, model, optimiser, device)
    times: list[float] = []
    while not times or (sum(times) < seconds and len(times) < most):
        start = time.perf_counter()
        _step(workload, model, optimiser, device)
        times.append(time.perf_counter() - start)
    allocated = torch.cuda.max_memory_allocated() if device == "cuda" else None
    reserved = torch.cuda.max_memory_reserved() if device == "cuda" else None
    return Calibration(statistics.median(times), len(times), allocated, reserved)


def _step(workload: Workload, model: nn.Module, optimiser: torch.optim.Optimizer, device: str) -> None:
    half = _DTYPES.get(workload.precision)
    for _ in range(workload.accumulate):
        batch = tree_map(lambda item: _filled(item, device), workload.batch(workload.batch_size))
        with torch.autocast(device, dtype=half or torch.bfloat16, enabled=half is not None):
            loss = workload.loss(model, batch)
        (loss / workload.accumulate).backward()  # type: ignore[no-untyped-call]
    if workload.clip:
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()
    if device == "cuda":
        torch.cuda.synchronize()


def _filled(item: Any, device: str) -> Any:
    """Numbers where a batch was made without any: memory that was never written may hold NaN, which is slow."""
    if not isinstance(item, Tensor):
        return item
    return torch.rand_like(item, device=device) if item.is_floating_point() else torch.zeros_like(item, device=device)
