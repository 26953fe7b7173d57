"""Short timed runs on this machine: how fast its processor is, and how long a real step takes."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from snellen.estimate.step import Workload
from snellen.trace.fake import settle_lazy
from snellen.trace.measured import held_bytes, peak_above_start

__all__ = ["Calibration", "processor_speed", "timed_step"]

_SIDE = 384
"""Small enough for one turn on a processor that others use, too: a few milliseconds."""
_COPIED = 64 << 20
_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Calibration:
    """Real steps that were timed.

    Args:
        seconds: Median of an optimiser step.
        computing: Of that, what a processor shared with other programs gave to it; all of it on a GPU.
        steps: How many were timed.
        allocated: Bytes of tensors at the peak of a step: `torch.cuda.max_memory_allocated()`, on a CPU the same by the
            events of its allocator.
        reserved: `torch.cuda.max_memory_reserved()`; `None` without CUDA.
    """

    seconds: float
    computing: float
    steps: int
    allocated: int
    reserved: int | None = None


@functools.cache
def processor_speed() -> tuple[float, float]:
    """Of this processor with the threads that torch has: 10^12 float32 operations and 10^9 bytes a second.

    A product of two matrices and a copy, less than half a second each; the best of what was seen.
    Timed once in a process.
    """
    one, source = torch.rand(_SIDE, _SIDE), torch.empty(_COPIED // 4)
    target = torch.empty_like(source)
    product = _best(lambda: torch.mm(one, one))
    copy = _best(lambda: target.copy_(source))
    return 2 * _SIDE**3 / product / 1e12, 2 * _COPIED / copy / 1e9


def _best(what: Callable[[], Any], *, seconds: float = 0.4) -> float:
    times: list[float] = []
    what()
    while sum(times) < seconds or len(times) < 3:
        start = time.perf_counter()
        what()
        times.append(time.perf_counter() - start)
    return min(times)


def timed_step(workload: Workload, device: str, *, seconds: float = 10.0, most: int = 10) -> Calibration:
    """Take real optimiser steps with random numbers: one for warming up, one for its memory, the others timed.

    Args:
        workload: What a step does, with its batch size.
        device: `cpu` or `cuda`.
        seconds: No step is begun after that, once one was timed.
        most: Steps that are timed.

    Raises:
        ValueError: The workload trains nothing.
    """
    torch.manual_seed(0)
    model = workload.build().to(device).train()
    settle_lazy(model, lambda: workload.loss(model, _batch(workload, device)))
    optimiser = workload.made_optimiser(model, running=True)

    def step() -> None:
        _step(workload, model, optimiser, device)

    step()
    allocated, reserved = _memory(step, model, optimiser, device)
    times: list[float] = []
    shares: list[float] = []
    while not times or (sum(times) < seconds and len(times) < most):
        start, used = time.perf_counter(), time.process_time()
        step()
        times.append(time.perf_counter() - start)
        shares.append((time.process_time() - used) / torch.get_num_threads() / times[-1])
    median = statistics.median(times)
    computing = median * min(1.0, statistics.median(shares)) if device == "cpu" else median
    return Calibration(median, computing, len(times), allocated, reserved)


def _memory(
    step: Callable[[], None], model: nn.Module, optimiser: torch.optim.Optimizer, device: str
) -> tuple[int, int | None]:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    state = [item for item in tree_leaves(list(optimiser.state.values())) if isinstance(item, Tensor)]
    return held_bytes((*model.parameters(), *model.buffers(), *state)) + peak_above_start(step), None


def _step(workload: Workload, model: nn.Module, optimiser: torch.optim.Optimizer, device: str) -> None:
    half = _DTYPES.get(workload.precision)
    for _ in range(workload.accumulate):
        with torch.autocast(device, dtype=half or torch.bfloat16, enabled=half is not None):
            loss = workload.loss(model, _batch(workload, device))
        (loss / workload.accumulate).backward()  # type: ignore[no-untyped-call]
        del loss
    if workload.clip:
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()
    if device == "cuda":
        torch.cuda.synchronize()


def _batch(workload: Workload, device: str) -> Any:
    """Numbers where a batch was made without any: memory that was never written may hold NaN, which is slow."""

    def filled(item: Any) -> Any:
        if not isinstance(item, Tensor):
            return item
        made = torch.rand_like if item.is_floating_point() else torch.zeros_like
        return made(item, device=device)

    return tree_map(filled, workload.batch(workload.batch_size))
