"""What would make a run fit: changes that were gone through one by one, with what each saves and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer

from snellen.core.facts.memory import MemoryChange
from snellen.estimate.devices import Device
from snellen.estimate.eight_bit import EightBitStates
from snellen.estimate.prediction import Predictor
from snellen.estimate.step import StepFailed, Workload
from snellen.trace.fake import build_without_weights

__all__ = ["Variant", "changes_for"]

_IN_EIGHT_BITS: Mapping[type[Optimizer], tuple[str, int]] = {
    torch.optim.Adam: ("Adam8bit", 2),
    torch.optim.AdamW: ("AdamW8bit", 2),
    torch.optim.SGD: ("SGD8bit", 1),
}
"""What bitsandbytes has in place of an optimiser, and how many states that keeps of each value."""
_FIRST_BF16 = (8, 0)
"""The compute capability that computes bfloat16 first."""


@dataclass(frozen=True, slots=True)
class Variant:
    """Another way to do the same.

    Args:
        text: What to do.
        price: What it costs.
        workload: What a step does then.
        settings: Key path of a run file and value, where settings make it.
    """

    text: str
    price: str
    workload: Workload
    settings: tuple[tuple[str, Any], ...] = ()


def changes_for(
    predictor: Predictor, device: Device, batch_size: int, variants: Sequence[Variant] = ()
) -> list[MemoryChange]:
    """Changes that save memory on a device: those that make it fit first, then by what they save.

    Args:
        predictor: Of the workload as it is.
        device: Where it is to fit.
        batch_size: Samples of a micro-batch, as wanted.
        variants: What only the caller knows of, such as smaller images.
    """
    high = predictor.worst(device, batch_size).high
    found = []
    for variant, size in _variants(predictor, device, batch_size, variants):
        other = predictor if variant.workload is predictor.workload else Predictor(variant.workload, predictor.phases)
        try:
            verdict = other.verdict(device, size)
        except StepFailed:
            continue  # a change that the model does not take is no advice
        saved, need = high - verdict.need.high, verdict.need.high
        found.append(MemoryChange(variant.text, variant.price, saved, need, verdict.fits, variant.settings))
    ranks = {"yes": 0, "perhaps": 1}
    saving = [change for change in found if change.saved > 0]
    return sorted(saving, key=lambda change: (ranks.get(change.fits, 2), -change.saved))


def _variants(
    predictor: Predictor, device: Device, batch_size: int, variants: Sequence[Variant]
) -> Iterator[tuple[Variant, int]]:
    workload = predictor.workload
    if batch_size > 1:
        yield _smaller_batch(predictor, device, batch_size)
    if workload.precision == "fp32" and device.capability is not None:
        name: Literal["bf16", "fp16"] = "bf16" if device.capability >= _FIRST_BF16 else "fp16"
        price = "three digits of precision" if name == "bf16" else "it needs a loss scaler; 65504 is its largest"
        half = replace(workload, precision=name)
        yield Variant(f"precision {name}", price, half, (("precision", name),)), batch_size
    if workload.optimiser is not None and _can_recompute(workload):
        recomputed = replace(workload, build=_recomputing(workload.build))
        price = "the forward pass runs twice: about a third more time"
        yield Variant("gradient checkpointing (model.set_grad_checkpointing())", price, recomputed), batch_size
    if workload.average:
        price = "the last weights are evaluated, not their average"
        plain = replace(workload, average=False)
        yield Variant("no average of the weights", price, plain, (("optim.ema_decay", None),)), batch_size
    eight_bit = _in_eight_bits(workload) if device.capability is not None else None
    if eight_bit is not None:
        yield eight_bit, batch_size
    yield from ((variant, batch_size) for variant in variants)


def _in_eight_bits(workload: Workload) -> Variant | None:
    """The optimiser of bitsandbytes that takes the place of the one there is, `None` where it has none."""
    if workload.optimiser is None:
        return None
    now = workload.made_optimiser(build_without_weights(workload.build))
    name, states = _IN_EIGHT_BITS.get(type(now), ("", 0))
    if not states or not all(group.get("momentum", 1.0) for group in now.param_groups):
        return None
    text = f"an optimiser whose states take 8 bits (bitsandbytes.optim.{name})"
    price = "one more package; sizes by the layout of its version 0.50"
    return Variant(text, price, replace(workload, optimiser=partial(EightBitStates, states=states)))


def _smaller_batch(predictor: Predictor, device: Device, batch_size: int) -> tuple[Variant, int]:
    """The largest that fits and divides the samples of an optimiser step, so that these stay the same."""
    workload = predictor.workload
    most = min(predictor.largest_batch(device) or max(1, batch_size // 2), batch_size - 1)
    samples = batch_size * workload.accumulate
    size = next(size for size in range(most, 0, -1) if samples % size == 0)
    settings: tuple[tuple[str, Any], ...] = (("optim.batch_size", size),)
    text, price = f"batch size {size}", "a little slower"
    if workload.optimiser is not None:
        text, price = f"{text}, accumulate {samples // size}", "batch norm sees fewer samples; a little slower"
        settings = (*settings, ("optim.accumulate", samples // size))
    return Variant(text, price, workload, settings), size


def _can_recompute(workload: Workload) -> bool:
    return hasattr(build_without_weights(workload.build), "set_grad_checkpointing")


def _recomputing(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    def made() -> nn.Module:
        model = build()
        model.set_grad_checkpointing()  # type: ignore[operator]
        return model

    return made
