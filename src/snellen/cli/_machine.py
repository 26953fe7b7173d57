"""The rows of `snellen doctor`: what is known of a machine, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from snellen.core.environment import PACKAGES
from snellen.core.facts.environment import EnvironmentFacts
from snellen.core.facts.machine import GpuFacts, MachineFacts
from snellen.core.facts.places import PlaceFacts

__all__ = ["rows"]


def rows(machine: MachineFacts, environment: EnvironmentFacts, places: Iterable[PlaceFacts]) -> list[tuple[str, str]]:
    """Name and value of each row.

    Args:
        machine: This machine.
        environment: What is installed.
        places: Folders that a run would write to.
    """
    where = f" ({', '.join(machine.surroundings)})" if machine.surroundings else ""
    found = [
        ("python", f"{environment.python}  {environment.executable}"),
        ("platform", f"{machine.system}{where}"),
        ("cores", _cores(machine)),
        ("memory", _memory(machine)),
        ("shared memory", _size(machine.shared_memory_bytes)),
        ("limits", _limits(machine)),
        *(("disk", _place(place)) for place in places if place.key == "output" or not place.writable),
        *_gpus(machine),
        ("torch", _torch(environment)),
        ("packages", ", ".join(_installed(environment))),
    ]
    if environment.variables:
        found.append(("variables", ", ".join(f"{name}={value}" for name, value in environment.variables.items())))
    if machine.seconds_left is not None:
        found.append(("job", f"ends in {machine.seconds_left / 3600:.1f} hours"))
    found += [("unknown", note) for note in environment.notes]
    return found


def _installed(environment: EnvironmentFacts) -> list[str]:
    versions = ((name, environment.packages.get(name.replace(".", "-"))) for name in PACKAGES if name != "torch")
    return [f"{name} {version}" for name, version in versions if version is not None]


def _cores(machine: MachineFacts) -> str:
    quota = f", by a quota; libraries see {machine.seen_cpus}" if machine.seen_cpus != machine.cpus else ""
    return f"{machine.cpus} of {machine.host_cpus}{quota}"


def _memory(machine: MachineFacts) -> str:
    text = f"{_size(machine.host_memory_bytes)}, {_size(machine.host_available_bytes)} available"
    if machine.memory_limited_by:
        text += f"; limited by {machine.memory_limited_by}, the machine has {_size(machine.host_total_bytes)}"
    return f"{text}; shared with the GPU" if machine.unified else text


def _limits(machine: MachineFacts) -> str:
    limits = machine.limits
    parts = [
        f"{limits.open_files or 'any number of'} open files",
        f"{limits.processes or 'any number of'} processes",
        f"{_size(limits.address_space)} of addresses" if limits.address_space else "",
        f"files up to {_size(limits.file_size)}" if limits.file_size else "",
        f"{_size(limits.locked_memory)} locked" if limits.locked_memory else "",
        f"start method {machine.start_method}",
    ]
    return ", ".join(part for part in parts if part)


def _place(place: PlaceFacts) -> str:
    if not place.answers:
        return f"{place.key} {place.path}: {place.problem}"
    kind = f"{place.kind} at {place.mount}" if place.kind else "unknown file system"
    far = ", over the network" if place.network else ", in main memory" if place.in_memory else ""
    writable = "" if place.writable else f", cannot be written to: {place.problem}"
    quota = f", {_size(place.quota_bytes)} by your quota" if place.quota_bytes is not None else ""
    return f"{_size(place.free_bytes)} free{quota} in {place.nearest} ({kind}{far}){writable}"


def _gpus(machine: MachineFacts) -> Iterator[tuple[str, str]]:
    if not machine.gpus:
        yield "gpu", "Apple GPU" if machine.accelerator == "mps" else "; ".join(machine.notes) or "none"
        return
    cuda = f", runs CUDA up to {machine.driver_cuda[0]}.{machine.driver_cuda[1]}" if machine.driver_cuda else ""
    yield "driver", f"{machine.driver}{cuda}"
    for gpu in machine.gpus:
        yield "gpu", _gpu(gpu)


def _gpu(gpu: GpuFacts) -> str:
    parts = [f"{gpu.index}: {gpu.name}"]
    if gpu.capability is not None:
        parts.append(f"compute capability {gpu.capability[0]}.{gpu.capability[1]}")
        parts.append("bfloat16" if gpu.capability >= (8, 0) else "no bfloat16")
    if gpu.memory_bytes is None:
        parts.append("memory not stated")
    else:
        parts.append(f"{_size(gpu.memory_bytes)}, {_size(gpu.free_bytes)} free")
    if gpu.mig:
        parts.append(f"cut into {len(gpu.instances)} instances of {', '.join(map(_size, gpu.instances))}")
    if gpu.processes:
        parts.append(f"{len(gpu.processes)} processes")
    return ", ".join(parts) + ("" if gpu.visible else "; hidden by CUDA_VISIBLE_DEVICES")


def _torch(environment: EnvironmentFacts) -> str:
    if environment.torch_problem:
        return environment.torch_problem
    version = environment.packages.get("torch", "not installed")
    held = [f"{major}.{minor}" for major, minor in environment.torch_architectures]
    built = "without CUDA" if environment.torch_build == "cpu" else "unknown build"
    if environment.torch_cuda is not None:
        built = f"for CUDA {environment.torch_cuda[0]}.{environment.torch_cuda[1]}"
    later = " and later ones" if environment.torch_runs_later else ""
    return f"{version} {built}" + (f", code for GPUs {', '.join(held)}{later}" if held else "")


def _size(count: int | None) -> str:
    if count is None:
        return "unknown"
    return f"{count / 2**30:.1f} GiB" if count >= 2**29 else f"{count / 2**20:.0f} MiB"
