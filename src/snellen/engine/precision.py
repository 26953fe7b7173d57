"""Which number format the forward pass runs in, resolved in one named step and reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

from snellen.engine.fabric import MixedPrecision, Precision
from snellen.engine.settings import PrecisionName

__all__ = ["ResolvedPrecision", "resolve_precision"]


@dataclass(frozen=True, slots=True)
class ResolvedPrecision:
    """The format of the heavy operations, and why; weights, outputs and losses are float32 in any case.

    Args:
        name: The format.
        reason: One clause for people.
        device: `cpu`, `cuda` or `mps`.
    """

    name: Literal["fp32", "fp16", "bf16"]
    reason: str
    device: str

    def plugin(self) -> Precision:
        """A new Fabric plugin; fp16 comes with a loss scaler."""
        if self.name == "fp32":
            return Precision()
        if self.name == "bf16":
            return _KeepInputs("bf16-mixed", self.device)
        return _KeepInputs("16-mixed", self.device, torch.amp.GradScaler(self.device))


class _KeepInputs(MixedPrecision):
    """Mixed precision that leaves the inputs in fp32.

    Fabric rounds every float input of the model to the half format, also coordinates, time steps and flow fields that
    need more; autocast itself rounds what an operation takes in half anyway.
    """

    def convert_input(self, data: Any) -> Any:
        return data


def resolve_precision(wanted: PrecisionName, device: str) -> ResolvedPrecision:
    """Choose the format for a kind of device.

    `auto` is bf16 on CUDA hardware that computes in it, fp16 with loss scaling on other CUDA hardware, and fp32
    elsewhere.

    Args:
        wanted: What the settings ask for.
        device: `cpu`, `cuda` or `mps`.

    Example:
        >>> resolve_precision("auto", "cpu").name
        'fp32'
    """
    if wanted != "auto":
        return ResolvedPrecision(wanted, "as set", device)
    if device != "cuda":
        return ResolvedPrecision("fp32", f"auto: mixed precision gains little on {device}", device)
    name = torch.cuda.get_device_name()
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return ResolvedPrecision("bf16", f"auto: {name} computes in bfloat16", device)
    return ResolvedPrecision("fp16", f"auto: {name} has no bfloat16; the loss is scaled", device)
