"""What the NVIDIA driver says of its GPUs, by `nvidia-smi`; no library is loaded and no GPU is woken for work."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from snellen.core.facts.machine import GpuFacts, GpuProcess
from snellen.core.known.gpus import capability_of

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["Driver", "read_driver", "visible"]

_SECONDS = 10
_LARGEST = 8 << 20
_LIBRARY = re.compile(r"NVML|Driver/library version mismatch|couldn't communicate with the NVIDIA driver|No devices")


@dataclass(frozen=True, slots=True)
class Driver:
    """The driver and its GPUs.

    Args:
        version: `550.54.15`; `""` when no driver answers.
        cuda: The newest CUDA that it runs.
        gpus: Every GPU.
        problem: Why there is nothing, or less than there should be.
    """

    version: str = ""
    cuda: tuple[int, int] | None = None
    gpus: tuple[GpuFacts, ...] = ()
    problem: str = ""


def read_driver(variables: Mapping[str, str] | None = None, *, seconds: float = _SECONDS) -> Driver:
    """Ask the driver.

    Args:
        variables: Environment variables; `CUDA_VISIBLE_DEVICES` decides which GPUs programs see.
        seconds: A driver that takes longer hangs.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return Driver(problem="no NVIDIA driver answers: there is no nvidia-smi")
    try:
        told, more = _start(program, "-q", "-x"), _start(program, "--query-gpu=index,compute_cap", "--format=csv")
    except OSError as error:
        return Driver(problem=f"nvidia-smi cannot be started: {error.strerror}")
    text, problem = _finish(told, seconds)
    # The second was started together with the first; after one that hangs it is not waited for again.
    capabilities, _ = _finish(more, 0.1 if problem else seconds)
    if problem:
        return Driver(problem=problem)
    if "<!ENTITY" in text or not text.lstrip().startswith("<"):
        return Driver(problem="nvidia-smi answers something else than its report")
    try:
        from xml.etree.ElementTree import fromstring  # noqa: PLC0415 - only where there is a driver

        root = fromstring(text)  # noqa: S314 - the driver's own program, without entities
    except (ValueError, SyntaxError) as error:
        return Driver(problem=f"the report of nvidia-smi cannot be read: {error}")
    gpus = tuple(_gpus(root, _capabilities(capabilities)))
    seen = visible(gpus, (variables or {}).get("CUDA_VISIBLE_DEVICES"))
    gpus = tuple(replace(gpu, visible=gpu.index in seen) for gpu in gpus)
    return Driver(_word(root, "driver_version"), _version(_word(root, "cuda_version")), gpus)


def visible(gpus: tuple[GpuFacts, ...], variable: str | None) -> tuple[int, ...]:
    """Numbers of the GPUs that programs see, in their order.

    Args:
        gpus: All of them.
        variable: `CUDA_VISIBLE_DEVICES`, `None` when it is not set; CUDA stops at the first name that it does not know.

    Example:
        >>> both = (GpuFacts(0, "T4", "GPU-aa"), GpuFacts(1, "T4", "GPU-bb"))
        >>> visible(both, "1"), visible(both, ""), visible(both, "GPU-b,7,0"), visible(both, None)
        ((1,), (), (1,), (0, 1))
    """
    if variable is None:
        return tuple(gpu.index for gpu in gpus)
    found: list[int] = []
    for name in (part.strip() for part in variable.split(",")):
        match = next((gpu.index for gpu in gpus if _means(name, gpu)), None)
        if match is None:
            break
        found.append(match)
    return tuple(found)


def _means(name: str, gpu: GpuFacts) -> bool:
    if name.isdigit():
        return int(name) == gpu.index
    if name.startswith("MIG-"):
        return gpu.mig
    return name.startswith("GPU-") and gpu.uuid.startswith(name)


def _start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def _finish(process: subprocess.Popen[str], seconds: float) -> tuple[str, str]:
    """What a program printed, and what is wrong with it."""
    try:
        text, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        if process.stdout is not None:
            process.stdout.close()
        # Not waited for without an end: one that hangs in the kernel cannot be killed.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
        return "", f"nvidia-smi did not answer within {seconds:g} seconds: the driver hangs"
    text = text[:_LARGEST]
    if process.returncode == 0:
        return text, ""
    line = next((line.strip() for line in text.splitlines() if _LIBRARY.search(line)), "")
    return "", line or f"nvidia-smi ended with {process.returncode}"


def _gpus(root: Element, capabilities: Mapping[int, tuple[int, int]]) -> Iterator[GpuFacts]:
    for index, gpu in enumerate(root.findall("gpu")):
        name = _word(gpu, "product_name")
        memory, free = _bytes(_word(gpu, "fb_memory_usage/total")), _bytes(_word(gpu, "fb_memory_usage/free"))
        instances = [_bytes(_word(one, "fb_memory_usage/total")) for one in gpu.findall("mig_devices/mig_device")]
        yield GpuFacts(
            index=index,
            name=name,
            uuid=_word(gpu, "uuid"),
            capability=capabilities.get(index) or capability_of(name),
            memory_bytes=memory,
            free_bytes=free,
            mig=_word(gpu, "mig_mode/current_mig") == "Enabled",
            instances=tuple(size for size in instances if size),
            processes=tuple(_processes(gpu)),
        )


def _processes(gpu: Element) -> Iterator[GpuProcess]:
    for one in gpu.findall("processes/process_info"):
        pid = _word(one, "pid")
        # Type G draws the screen; it is no rival for memory worth a word.
        if pid.isdigit() and "C" in _word(one, "type"):
            yield GpuProcess(int(pid), _word(one, "process_name"), _bytes(_word(one, "used_memory")))


def _capabilities(text: str) -> dict[int, tuple[int, int]]:
    """Old drivers do not know the question: their answer has no such line."""
    lines = re.findall(r"^(\d+), (\d+)\.(\d+)$", text, re.MULTILINE)
    return {int(index): (int(major), int(minor)) for index, major, minor in lines}


def _word(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _bytes(text: str) -> int | None:
    found = re.fullmatch(r"(\d+) MiB", text)
    return int(found[1]) << 20 if found else None


def _version(text: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None
