"""Machines that a run may be meant for: what a check or an estimate needs to know of them.

Sources. Peak arithmetic (dense; half precision with tensor cores and accumulation in float32 where there are any) and
bandwidth are those of the makers' data sheets:

T4        https://www.nvidia.com/en-us/data-center/tesla-t4/
P100      https://www.nvidia.com/en-us/data-center/tesla-p100/ (PCIe, 16 GB)
L4        https://www.nvidia.com/en-us/data-center/l4/
A10G      https://aws.amazon.com/ec2/instance-types/g5/ and the data sheet of the A10
RTX 3090  NVIDIA Ampere GA102 GPU Architecture, white paper, table 9
RTX 4090  NVIDIA Ada GPU Architecture, white paper, appendix A
A100      https://www.nvidia.com/en-us/data-center/a100/
H100, H200  https://www.nvidia.com/en-us/data-center/h100/ and .../h200/ (SXM; half of the figures with sparsity)
DGX Spark https://www.nvidia.com/en-us/products/workstations/dgx-spark/ (half: an eighth of sparse FP4)

Memory is what the driver reports as total, which is less than the round number on the box; for unified memory what the
maker states. Quotas: https://www.kaggle.com/docs/notebooks (30 hours of GPU a week, 12 hours a session, 20 GB of
disk that stays); https://research.google.com/colaboratory/faq.html (at most 12 hours, less when demand is high).

Main memory: that of Kaggle from the technical specifications of the same page (29 gigabytes beside a GPU). Colab
promises none; its machines without the option for more show 12.7 GiB: https://github.com/googlecolab/colabtools/issues/2480.
Where a GPU is rented or built in, main memory is what the owner chose, so that nothing is said of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

__all__ = ["MACHINES", "Machine"]


@dataclass(frozen=True, slots=True)
class Machine:
    """What a run can count on.

    Args:
        name: As in `machine:` of a run file.
        accelerator: The kind of device that trains.
        devices: How many of them.
        memory_gib: Memory of one device (of the whole machine for a CPU), GiB; `None` when unknown.
        bf16: Whether it computes bfloat16 in hardware.
        cpus: Processor cores, `None` when unknown.
        capability: CUDA compute capability, `None` without CUDA.
        fp32_tflops: Peak arithmetic in float32, 10^12 operations a second, `None` when unknown.
        half_tflops: The same in float16, `None` when unknown.
        bandwidth_gbs: Of the device's memory, 10^9 bytes a second, `None` when unknown.
        unified: Whether host and device share one memory.
        weekly_hours: Hours that a user gets in a week, `None` where nobody counts.
        session_hours: Hours after which a session is ended, `None` where nobody does.
        host_gib: Main memory, GiB; `None` when unknown, or when it is that of the device.
    """

    name: str
    accelerator: Literal["cuda", "mps", "cpu"]
    devices: int
    memory_gib: float | None
    bf16: bool
    cpus: int | None = None
    capability: tuple[int, int] | None = None
    fp32_tflops: float | None = None
    half_tflops: float | None = None
    bandwidth_gbs: float | None = None
    unified: bool = False
    weekly_hours: float | None = None
    session_hours: float | None = None
    host_gib: float | None = None


@dataclass(frozen=True, slots=True)
class _Gpu:
    """A model of GPU."""

    memory_gib: float
    capability: tuple[int, int]
    fp32_tflops: float
    half_tflops: float
    bandwidth_gbs: float
    unified: bool = False


_T4 = _Gpu(14.6, (7, 5), 8.1, 65.0, 320.0)
_P100 = _Gpu(15.9, (6, 0), 9.3, 18.7, 732.0)
_L4 = _Gpu(22.0, (8, 9), 30.3, 121.0, 300.0)
_A10G = _Gpu(22.0, (8, 6), 31.2, 70.0, 600.0)
_RTX3090 = _Gpu(23.6, (8, 6), 35.6, 71.0, 936.0)
_RTX4090 = _Gpu(23.6, (8, 9), 82.6, 165.2, 1008.0)
_A100_40 = _Gpu(39.4, (8, 0), 19.5, 312.0, 1555.0)
_A100_80 = _Gpu(79.1, (8, 0), 19.5, 312.0, 2039.0)
_H100 = _Gpu(79.1, (9, 0), 67.0, 989.0, 3350.0)
_H200 = _Gpu(139.8, (9, 0), 67.0, 989.0, 4800.0)
_GB10 = _Gpu(119.2, (12, 1), 31.0, 125.0, 273.0, unified=True)

_FIRST_BF16 = (8, 0)
_KAGGLE = 29e9 / 2**30
_COLAB = 12.7
"""Main memory in GiB."""


def _cuda(
    name: str,
    gpu: _Gpu,
    *,
    devices: int = 1,
    cpus: int | None = None,
    weekly_hours: float | None = None,
    session_hours: float | None = None,
    host_gib: float | None = None,
) -> Machine:
    return Machine(
        name,
        "cuda",
        devices,
        gpu.memory_gib,
        bf16=gpu.capability >= _FIRST_BF16,
        cpus=cpus,
        capability=gpu.capability,
        fp32_tflops=gpu.fp32_tflops,
        half_tflops=gpu.half_tflops,
        bandwidth_gbs=gpu.bandwidth_gbs,
        unified=gpu.unified,
        weekly_hours=weekly_hours,
        session_hours=session_hours,
        host_gib=host_gib,
    )


MACHINES: Final[Mapping[str, Machine]] = MappingProxyType(
    {
        machine.name: machine
        for machine in (
            _cuda("kaggle-t4", _T4, cpus=4, weekly_hours=30, session_hours=12, host_gib=_KAGGLE),
            _cuda("kaggle-t4x2", _T4, devices=2, cpus=4, weekly_hours=30, session_hours=12, host_gib=_KAGGLE),
            _cuda("kaggle-p100", _P100, cpus=4, weekly_hours=30, session_hours=12, host_gib=_KAGGLE),
            _cuda("colab-t4", _T4, cpus=2, session_hours=12, host_gib=_COLAB),
            _cuda("l4", _L4),
            _cuda("a10g", _A10G),
            _cuda("rtx3090", _RTX3090),
            _cuda("rtx4090", _RTX4090),
            _cuda("a100-40", _A100_40),
            _cuda("a100-80", _A100_80),
            _cuda("h100", _H100),
            _cuda("h200", _H200),
            _cuda("dgx-spark", _GB10, cpus=20),
            Machine("mps", "mps", 1, None, bf16=False, unified=True),
            Machine("cpu", "cpu", 1, None, bf16=False),
        )
    }
)
"""Known machines by name."""
