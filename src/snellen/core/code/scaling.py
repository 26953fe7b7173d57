"""Mixed precision in a source file: under which dtype a value is computed, and who scales the loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from snellen.core.code.training import constant_name
from snellen.core.source import CallSite, SourceFile, Span

__all__ = ["SCALERS", "Autocast", "autocasts", "dtype_of"]

SCALERS = frozenset(
    {"torch.cuda.amp.GradScaler", "torch.amp.GradScaler", "torch.cuda.amp.grad_scaler.GradScaler"}
    | {"torch.amp.grad_scaler.GradScaler", "torch.GradScaler", "torch.cpu.amp.GradScaler"}
)
"""Constructors of PyTorch's own loss scaler."""
_CUDA = frozenset({"torch.cuda.amp.autocast", "torch.cuda.amp.autocast_mode.autocast"})
_ANY = frozenset({"torch.autocast", "torch.amp.autocast", "torch.amp.autocast_mode.autocast"})
_CPU = frozenset({"torch.cpu.amp.autocast"})
_HALF = frozenset({"torch.float16", "torch.half"})


@dataclass(frozen=True, slots=True)
class Autocast:
    """A stretch that runs in mixed precision.

    Args:
        call: `torch.autocast(...)`.
        span: What runs under it: the `with` statement or the decorated function.
        dtype: `float16`, `bfloat16`, or `None` when the text does not settle it.
    """

    call: CallSite
    span: Span
    dtype: str | None


def dtype_of(file: SourceFile, call: CallSite) -> str | None:
    """The dtype that an autocast computes in, when the text settles it.

    On CUDA it is float16 unless another one is asked for, on the CPU bfloat16.
    """
    if call.name not in _CUDA | _ANY | _CPU:
        return None
    enabled = call.argument(99, "enabled") or (call.argument(0, "enabled") if call.name not in _ANY else None)
    if enabled is not None and enabled.value is False:
        return None
    # The old function of CUDA takes the dtype second, the general one after the device.
    given = call.argument(1, "dtype")
    if given is not None:
        named = constant_name(file, given)
        return "bfloat16" if named == "torch.bfloat16" else "float16" if named in _HALF else None
    if call.name in _CUDA:
        return "float16"
    if call.name in _CPU:
        return "bfloat16"
    device = call.argument(0, "device_type")
    kind = device.value if device is not None else None
    return "float16" if isinstance(kind, str) and kind.startswith("cuda") else "bfloat16" if kind == "cpu" else None


def autocasts(file: SourceFile) -> Iterator[Autocast]:
    """Every stretch under autocast, in the order of the text; also under an object that was made before."""
    known = _CUDA | _ANY | _CPU
    for block in file.withs:
        for call in block.calls:
            if call.name in known:
                yield Autocast(call, block.span, dtype_of(file, call))
        for item in block.items:
            made = [a.call for a in file.assignments if a.target == item and a.call is not None]
            if len(made) == 1 and made[0].name in known:
                yield Autocast(made[0], block.span, dtype_of(file, made[0]))
    for function in file.functions:
        for name in function.decorators:
            above = next((c for c in file.calls if c.name == name and _decorates(c, function.span)), None)
            if name in known and above is not None:
                yield Autocast(above, function.span, dtype_of(file, above))


def _decorates(call: CallSite, span: Span) -> bool:
    """Whether a call stands right above a function, where its decorators are."""
    return 0 < span.start_line - call.span.start_line <= 3 and call.span.start_column == span.start_column + 1
