"""The machine: this one as it is, or the one that a run is meant for. Never fatal, and torch only where asked for."""

from __future__ import annotations

import multiprocessing
import os
import platform
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snellen.check.facts.places import in_time
from snellen.config.machines import MACHINES, Machine
from snellen.core.control_groups import available_memory, control_groups
from snellen.core.environment import memory_total, seen_cpus
from snellen.core.facts.machine import GpuFacts, Limits, MachineFacts
from snellen.core.known.gpus import is_unified
from snellen.core.nvidia import Driver, read_driver
from snellen.core.plan import Plan

__all__ = ["as_machine", "machine_facts", "provide_machine", "provide_precision", "this_machine"]

_BF16_CAPABILITY = (8, 0)
_DISKS = {"kaggle": 20 * 10**9}
"""What hosted notebooks keep of a session: https://www.kaggle.com/docs/notebooks."""
_SECONDS = 3.0
"""A disk that takes longer is told as one that does not answer by the fact `places`."""
_SHARED = Path("/dev/shm")  # noqa: S108 - asked for its size only


def provide_machine(plan: Plan) -> MachineFacts:
    """The fact `machine`."""
    name = plan.settings.get("machine", "auto")
    output = plan.settings.get("output", "runs")
    folder = plan.root / (output if isinstance(output, str) else "runs")
    return machine_facts(name if isinstance(name, str) else "auto", output=folder)


def machine_facts(name: str = "auto", *, output: Path | None = None) -> MachineFacts:
    """Facts about a machine by name; `auto`, and names that are not known, mean this one.

    Example:
        >>> machine_facts("kaggle-t4").bf16
        False
    """
    machine = MACHINES.get(name)
    if machine is None:
        return this_machine(output=output)
    memory = int(machine.memory_gib * 2**30) if machine.memory_gib is not None else None
    host = next((place for place in ("kaggle", "colab") if name.startswith(place)), "")
    main = int(machine.host_gib * 2**30) if machine.host_gib is not None else memory if machine.unified else None
    return MachineFacts(
        name,
        False,
        machine.accelerator,
        machine.devices,
        machine.bf16,
        memory_bytes=memory,
        cpus=machine.cpus,
        disk_free_bytes=_DISKS.get(host),
        capability=machine.capability,
        unified=machine.unified,
        host_memory_bytes=main,
        surroundings=(host,) if host else (),
    )


def this_machine(*, output: Path | None = None, root: Path = Path("/")) -> MachineFacts:
    """This machine as the operating system and the NVIDIA driver describe it.

    Args:
        output: The folder that a run writes to.
        root: Where `proc`, `sys` and `etc` lie.
    """
    driver = read_driver(os.environ)
    groups = control_groups(root)
    seen = [gpu for gpu in driver.gpus if gpu.visible]
    notes = _notes(driver, seen)
    total = memory_total()
    host = min((size for size in (total, groups.memory_bytes) if size is not None), default=None)
    available = available_memory(root, groups)
    surroundings = _surroundings(root)
    unified = "jetson" in surroundings or any(is_unified(gpu.name) for gpu in seen)
    apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    capabilities = [gpu.capability for gpu in seen if gpu.capability is not None]
    name = seen[0].name if seen else f"{platform.machine()} {platform.system()}".strip()
    shared = _usage(_SHARED) if _SHARED.is_dir() else None
    return MachineFacts(
        name=str(name),
        here=True,
        accelerator="cuda" if seen else "mps" if apple else "cpu",
        devices=len(seen) or 1,
        bf16=bool(seen) and len(capabilities) == len(seen) and min(capabilities) >= _BF16_CAPABILITY,
        memory_bytes=(available or host) if unified and seen else _device_memory(seen) if seen else host,
        cpus=seen_cpus() if groups.cpus is None else min(seen_cpus(), max(1, int(groups.cpus))),
        shared_memory_bytes=shared.total if shared else None,
        disk_free_bytes=_free(output) if output is not None else None,
        notes=tuple(notes),
        capability=min(capabilities, default=None),
        gpus=driver.gpus,
        driver=driver.version,
        driver_cuda=driver.cuda,
        unified=unified or apple,
        host_memory_bytes=host,
        host_available_bytes=available,
        host_total_bytes=total,
        memory_limited_by=groups.memory_from if total is None or (groups.memory_bytes or total) < total else "",
        host_cpus=os.cpu_count(),
        seen_cpus=seen_cpus(),
        shared_memory_free_bytes=shared.free if shared else None,
        limits=_limits(),
        start_method=multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0],
        system=f"{platform.system()} {platform.machine()}",
        surroundings=surroundings,
        seconds_left=_seconds_left(os.environ),
    )


def as_machine(facts: MachineFacts) -> Machine:
    """The same as the settings' resolver takes it."""
    memory = facts.memory_bytes / 2**30 if facts.memory_bytes else None
    kind: Any = facts.accelerator
    return Machine(
        facts.name,
        kind,
        facts.devices,
        memory,
        bf16=facts.bf16,
        cpus=facts.cpus,
        capability=facts.capability,
        unified=facts.unified,
    )


def provide_precision(plan: Plan) -> str:
    """The fact `precision`: what `auto` becomes on the machine that is meant."""
    given = plan.settings.get("precision", "auto")
    if given in {"fp32", "fp16", "bf16"}:
        return str(given)
    machine: MachineFacts = plan.fact("machine")
    if machine.accelerator != "cuda":
        return "fp32"
    return "bf16" if machine.bf16 else "fp16"


def _notes(driver: Driver, seen: list[GpuFacts]) -> list[str]:
    if driver.problem:
        return [f"{driver.problem}; so this counts as a machine without NVIDIA GPU"]
    if not driver.gpus:
        return ["the NVIDIA driver answers and has no GPU"]
    if not seen:
        return [f"CUDA_VISIBLE_DEVICES hides all {len(driver.gpus)} GPUs, so this counts as a machine without any"]
    return [f"the compute capability of {gpu.name} is not known" for gpu in seen if gpu.capability is None]


def _device_memory(seen: list[GpuFacts]) -> int | None:
    """Of the smallest one; of a GPU that is cut into instances a process gets one."""
    sizes = [min(gpu.instances) if gpu.mig and gpu.instances else gpu.memory_bytes for gpu in seen]
    return min((size for size in sizes if size), default=None)


def _surroundings(root: Path) -> tuple[str, ...]:
    """Hosted notebooks, clusters and boards that are recognised, by what they set or leave on the disk."""
    signs = {
        "kaggle": "KAGGLE_KERNEL_RUN_TYPE" in os.environ,
        "colab": "COLAB_RELEASE_TAG" in os.environ or "COLAB_GPU" in os.environ,
        "slurm": "SLURM_JOB_ID" in os.environ,
        "kubernetes": "KUBERNETES_SERVICE_HOST" in os.environ,
        "wsl": "microsoft" in _text(root / "proc/version").lower(),
        "jetson": (root / "etc/nv_tegra_release").exists() or "Jetson" in _text(root / "proc/device-tree/model"),
        "container": (root / ".dockerenv").exists() or (root / "run/.containerenv").exists(),
    }
    return tuple(name for name, there in signs.items() if there)


def _seconds_left(variables: Mapping[str, str]) -> int | None:
    ends = variables.get("SLURM_JOB_END_TIME", "")
    return max(0, int(ends) - int(time.time())) if ends.isdigit() else None


def _limits() -> Limits:
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ImportError:
        return Limits()

    def soft(name: str, place: int = 0) -> int | None:
        kind = getattr(resource, name, None)
        value = resource.getrlimit(kind)[place] if kind is not None else resource.RLIM_INFINITY
        return None if value == resource.RLIM_INFINITY else value

    return Limits(
        soft("RLIMIT_NOFILE"),
        soft("RLIMIT_NOFILE", 1),
        soft("RLIMIT_NPROC"),
        soft("RLIMIT_AS"),
        soft("RLIMIT_MEMLOCK"),
        soft("RLIMIT_FSIZE"),
    )


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(4096)
    except OSError:
        return ""


def _usage(folder: Path) -> Any:
    try:
        return shutil.disk_usage(folder)
    except OSError:
        return None


def _free(folder: Path) -> int | None:
    """Free bytes of the file system that a folder lies, or will lie, in; `None` when it does not answer."""

    def ask() -> int:
        place = folder.absolute()
        while not place.exists() and place != place.parent:
            place = place.parent
        return shutil.disk_usage(place).free

    return in_time(ask, _SECONDS)
