"""What a prediction has to know of a device, as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Device", "overhead"]

_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator.

    Args:
        name: For people.
        memory_bytes: What the driver reports as total, `None` when unknown.
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
    """Least and most bytes that are in use beside PyTorch's own allocator: the CUDA context and the libraries' kernels.

    The context takes 250 to 600 MiB by driver and card (nvidia-smi shows it when a process has done nothing but ask for
    a device), cuBLAS a workspace of 8 MiB, from capability 9.0 on of 32 MiB:
    https://docs.pytorch.org/docs/stable/notes/cuda.html#cublas-workspaces. Nothing of this exists on a CPU.
    """
    if device.capability is None:
        return 0, 0
    workspace = 32 * _MIB if device.capability >= (9, 0) else 8 * _MIB
    return 250 * _MIB + workspace, 600 * _MIB + workspace
