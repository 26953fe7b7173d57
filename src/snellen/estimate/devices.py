"""What a prediction has to know of a device, as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Device", "overhead"]

_MIB: Final = 1 << 20

_CONTEXT: Final = {6: (150, 500), 7: (100, 450), 8: (150, 550), 9: (250, 650), 10: (250, 750), 12: (200, 750)}
"""Least and most MiB of a CUDA context by the first digit of the compute capability, kernels loaded when first used."""
_ANY_CONTEXT: Final = (100, 750)


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator.

    Args:
        name: For people.
        memory_bytes: What a run may have of it, `None` when unknown.
        teraflops: Peak of dense arithmetic by precision, `fp32` and `half`, in 10^12 operations a second.
        bandwidth: Of its memory, bytes a second.
        capability: CUDA compute capability, `None` elsewhere.
        unified: Whether its memory is that of the host, so that what the system uses is missing from it.
    """

    name: str
    memory_bytes: int | None
    teraflops: Mapping[str, float] = field(default_factory=dict)
    bandwidth: float | None = None
    capability: tuple[int, int] | None = None
    unified: bool = False


def overhead(device: Device) -> tuple[int, int]:
    """Least and most bytes that are in use beside tensors: the CUDA context, and the workspace of cuBLAS.

    Since CUDA 11.7 kernels are loaded when they are first used, and the context grows with what a run does: PyTorch's
    developers tell of 300 to 400 MiB (https://github.com/pytorch/pytorch/issues/107667 and /109888), torch-preflight
    measured 105 MiB on a T4 before and 135 after the first calls of cuBLAS and cuDNN (its `vram/costmodel.py`, version
    0.5), and larger chips have larger ones. The bounds hold these figures with room on both sides; they are no
    measurements of ours. cuBLAS has a workspace of 8 MiB, from capability 9.0 on of 32 MiB:
    https://docs.pytorch.org/docs/stable/notes/cuda.html#cublas-workspaces. Nothing of this exists on a CPU.

    Example:
        >>> overhead(Device("cpu", None))
        (0, 0)
    """
    if device.capability is None:
        return 0, 0
    least, most = _CONTEXT.get(device.capability[0], _ANY_CONTEXT)
    workspace = 32 * _MIB if device.capability >= (9, 0) else 8 * _MIB
    return least * _MIB + workspace, most * _MIB + workspace
