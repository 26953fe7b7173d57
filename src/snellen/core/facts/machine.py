"""The machine that a run is meant for."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GpuFacts", "GpuProcess", "Limits", "MachineFacts"]


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that computes on a GPU.

    Args:
        pid: Its number on the host; a container may number it otherwise.
        name: Its program.
        memory_bytes: What it holds there, `None` when the driver does not say.
    """

    pid: int
    name: str
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """An NVIDIA GPU as its driver describes it.

    Args:
        index: Its number for `nvidia-smi`.
        name: `Tesla T4`.
        uuid: `GPU-...`.
        capability: Compute capability, `None` when neither the driver nor the name tells.
        memory_bytes: All of its memory; `None` where it shares that of the host and the driver does not say.
        free_bytes: What nobody uses now.
        mig: Whether it is cut into instances.
        instances: Memory of each instance.
        visible: Whether `CUDA_VISIBLE_DEVICES` leaves it to programs.
        processes: Who computes on it.
    """

    index: int
    name: str
    uuid: str = ""
    capability: tuple[int, int] | None = None
    memory_bytes: int | None = None
    free_bytes: int | None = None
    mig: bool = False
    instances: tuple[int, ...] = ()
    visible: bool = True
    processes: tuple[GpuProcess, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What the system lets one process have (`ulimit`); `None` without a limit or where it is unknown.

    Args:
        open_files: Files that may be open at once.
        most_open_files: What the process may raise that to by itself.
        processes: Processes and threads of the user.
        address_space: Bytes of virtual memory.
        locked_memory: Bytes that may be kept from being swapped.
        file_size: Bytes of one file.
    """

    open_files: int | None = None
    most_open_files: int | None = None
    processes: int | None = None
    address_space: int | None = None
    locked_memory: int | None = None
    file_size: int | None = None


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """The machine that a run is meant for.

    Args:
        name: As in `machine:`, or this machine's own.
        here: Whether it is this machine; then the numbers are measured.
        accelerator: `cuda`, `mps` or `cpu`.
        devices: Number of accelerators that programs see, 1 for a CPU.
        bf16: Whether it computes bfloat16 in hardware.
        memory_bytes: Memory of one device (for a CPU what the process may use, for unified memory what is available),
            `None` when unknown.
        cpus: Cores that the process may use, `None` when unknown.
        shared_memory_bytes: Size of `/dev/shm`, `None` when there is none or it is unknown.
        disk_free_bytes: Free space where the run writes, `None` when unknown.
        notes: What could not be found out, and why.
        capability: CUDA compute capability of the weakest device, `None` without CUDA or when unknown.
        gpus: Every NVIDIA GPU here, those that `CUDA_VISIBLE_DEVICES` hides included.
        driver: Version of the NVIDIA driver, `""` without one.
        driver_cuda: The newest CUDA that the driver runs.
        unified: Whether host and devices share one memory.
        host_memory_bytes: Main memory that the process may use: the machine's, or the tightest limit around it.
        host_available_bytes: How much of that is not in use.
        host_total_bytes: The machine's own, whatever the limits.
        memory_limited_by: The control group that limits it, `""` when nothing does.
        host_cpus: Cores of the machine, whatever the limits.
        seen_cpus: Cores that libraries count when they start their threads: a quota of time does not show there.
        shared_memory_free_bytes: What of `/dev/shm` is free.
        limits: What the system lets one process have.
        start_method: How Python starts processes: `fork`, `spawn` or `forkserver`.
        system: `Linux x86_64`.
        surroundings: `kaggle`, `colab`, `slurm`, `wsl`, `container`, `jetson` ..., as far as they are recognised.
        seconds_left: Until the job is ended from outside, `None` when nothing says so.
    """

    name: str
    here: bool
    accelerator: str
    devices: int
    bf16: bool
    memory_bytes: int | None = None
    cpus: int | None = None
    shared_memory_bytes: int | None = None
    disk_free_bytes: int | None = None
    notes: tuple[str, ...] = ()
    capability: tuple[int, int] | None = None
    gpus: tuple[GpuFacts, ...] = ()
    driver: str = ""
    driver_cuda: tuple[int, int] | None = None
    unified: bool = False
    host_memory_bytes: int | None = None
    host_available_bytes: int | None = None
    host_total_bytes: int | None = None
    memory_limited_by: str = ""
    host_cpus: int | None = None
    seen_cpus: int | None = None
    shared_memory_free_bytes: int | None = None
    limits: Limits = Limits()
    start_method: str = ""
    system: str = ""
    surroundings: tuple[str, ...] = ()
    seconds_left: int | None = None
