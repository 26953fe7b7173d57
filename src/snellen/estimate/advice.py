"""What would make a run fit: changes that were gone through one by one, with what each saves and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from torch import nn

from snellen.estimate.devices import Device
from snellen.estimate.prediction import Predictor
from snellen.estimate.step import StepFailed, Workload
from snellen.trace.fake import build_without_weights
from snellen.trace.timeline import Category

__all__ = ["Change", "changes_for"]

_STATES_IN_8_BITS = 4
"""Bytes of a float32 state over those of one in eight bits."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change that was gone through.

    Args:
        text: What to do.
        price: What it costs.
        saved: Bytes less at the upper end; negative when it needs more.
        high: The upper end of what is needed then, in bytes.
        fits: As `Verdict.fits`.
    """

    text: str
    price: str
    saved: int
    high: int
    fits: str


def changes_for(predictor: Predictor, device: Device, batch_size: int) -> list[Change]:
    """Changes that save memory on a device, the one that saves most first.

    Args:
        predictor: Of the workload as it is.
        device: Where it is to fit.
        batch_size: Samples of a micro-batch, as wanted.
    """
    high = predictor.worst(device, batch_size).high
    found = []
    for text, price, other, size in _variants(predictor, device, batch_size):
        try:
            verdict = other.verdict(device, size)
        except StepFailed:
            continue  # a change that the model does not take is no advice
        found.append(Change(text, price, high - verdict.need.high, verdict.need.high, verdict.fits))
    state = predictor.worst(device, batch_size).parts.get(Category.OPTIMISER, 0)
    if state:
        saved = state - state // _STATES_IN_8_BITS
        fits = "yes" if device.memory_bytes is not None and high - saved <= device.memory_bytes else "no"
        text = "an optimiser whose states take 8 bits (bitsandbytes.optim.AdamW8bit)"
        found.append(Change(text, "one more package, CUDA only", saved, high - saved, fits))
    return sorted((change for change in found if change.saved > 0), key=lambda change: -change.saved)


def _variants(predictor: Predictor, device: Device, batch_size: int) -> Iterator[tuple[str, str, Predictor, int]]:
    workload = predictor.workload
    if batch_size > 1:
        smaller = predictor.largest_batch(device) or max(1, batch_size // 2)
        smaller = min(smaller, batch_size - 1)
        steps = -(-batch_size * workload.accumulate // smaller)
        more = f", accumulate {steps}" if workload.optimiser is not None else ""
        price = "batch norm sees fewer samples; a little slower"
        yield f"batch size {smaller}{more}", price, predictor, smaller
    if workload.precision == "fp32":
        half = replace(workload, precision="bf16")
        yield "precision bf16, or fp16 with a loss scaler", "three digits of precision", Predictor(half), batch_size
    if workload.optimiser is not None and _can_recompute(workload):
        recomputed = replace(workload, build=_recomputing(workload.build))
        price = "the forward pass runs twice: about a third more time"
        yield "gradient checkpointing (model.set_grad_checkpointing())", price, Predictor(recomputed), batch_size


def _can_recompute(workload: Workload) -> bool:
    return hasattr(build_without_weights(workload.build), "set_grad_checkpointing")


def _recomputing(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    def made() -> nn.Module:
        model = build()
        model.set_grad_checkpointing()  # type: ignore[operator]
        return model

    return made
