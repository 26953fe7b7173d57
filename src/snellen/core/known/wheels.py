"""Which builds of PyTorch go with which torchvision, Triton, CUDA and NVIDIA driver, and what a log says is installed.

Sources: the compatibility table of torchvision's README, the requirements of the published wheels, PyTorch's page of
previous versions and its release matrix, and the table of drivers in the release notes of the CUDA Toolkit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from snellen.core.log import Log

__all__ = ["Build", "architectures", "driver_for", "install", "stated", "torch_for", "torchvision_for", "triton_for"]

Release = tuple[int, int, int]

_VERSION = re.compile(
    r"(?P<major>\d{1,4})\.(?P<minor>\d{1,4})(?:\.(?P<patch>\d{1,6}))?(?P<rest>[\w.]{0,40})(?:\+(?P<local>[\w.]{1,60}))?"
)
_CUDA_TAG = re.compile(r"cu(\d{2,3})")
_STATED = (
    r"(?<![\w/.-]){name}(?: version)?(?:\s{{0,4}}[:=]{{1,2}}\s{{0,4}}|\s{{1,40}}|-)v?"
    r"(?P<version>\d{{1,4}}\.\d{{1,4}}(?:\.\d{{1,6}})?(?:\.?[a-z]{{1,4}}\d{{0,10}})?(?:\+[\w.]{{1,60}})?)"
)
_NAMES = {"torch": "(?:py)?torch"}
_WISHES = re.compile(
    r"\brequires? |^Collecting|Could not find a version|No matching distribution|which is incompatible", re.IGNORECASE
)
_COMMAND = re.compile(r"\b(?:pip3?|conda|mamba|uv) (?:pip )?install\b", re.IGNORECASE)
_CONFLICT = re.compile(
    r"(?P<owner>[\w.-]{1,60}) (?P<version>\d[\w.+]{1,60}) requires [^\s,]{1,80}, but you have "
    r"(?P<name>[\w.-]{1,60}) (?P<has>\d[\w.+]{1,60}) which is incompatible"
)
"""How pip says that what is installed does not fit together."""

_VISION: Final[dict[Release, str]] = {
    (1, 0, 0): "0.2.2",
    (1, 0, 1): "0.2.2",
    (1, 1, 0): "0.3.0",
    (1, 2, 0): "0.4.0",
    (1, 3, 0): "0.4.1",
    (1, 3, 1): "0.4.2",
    (1, 7, 0): "0.8.1",
    (1, 7, 1): "0.8.2",
    (1, 10, 0): "0.11.1",
    (1, 10, 1): "0.11.2",
    (1, 10, 2): "0.11.3",
    (2, 0, 0): "0.15.1",
    (2, 0, 1): "0.15.2",
}
"""torchvision of the releases that break the row: from 1.4 on 1.x.z goes with 0.(x+1).z, 2.x.z with 0.(x+15).z."""

_TRITON: Final[dict[Release, str]] = {
    (2, 0, 0): "2.0.0",
    (2, 1, 0): "2.1.0",
    (2, 2, 0): "2.2.0",
    (2, 3, 0): "2.3.0",
    (2, 3, 1): "2.3.1",
    (2, 4, 0): "3.0.0",
    (2, 5, 0): "3.1.0",
    (2, 6, 0): "3.2.0",
    (2, 7, 0): "3.3.0",
    (2, 7, 1): "3.3.1",
    (2, 8, 0): "3.4.0",
    (2, 9, 0): "3.5.0",
    (2, 9, 1): "3.5.1",
    (2, 10, 0): "3.6.0",
    (2, 12, 0): "3.7.0",
    (2, 13, 0): "3.7.1",
}
"""The Triton that the Linux wheels of PyTorch require, from each release on."""

_DRIVERS: Final[tuple[tuple[tuple[int, int], str], ...]] = (
    ((13, 0), "580"),
    ((12, 0), "525.60.13"),
    ((11, 0), "450.80.02"),
    ((10, 2), "440.33"),
    ((10, 1), "418.39"),
    ((10, 0), "410.48"),
    ((9, 2), "396.26"),
    ((9, 1), "390.46"),
    ((9, 0), "384.81"),
    ((8, 0), "375.26"),
)
"""Oldest Linux driver for each CUDA, newest first; from 11 on one for the whole major version."""


_MAXWELL_TO_HOPPER: Final = "50 60 70 75 80 86 90"
_ARCHITECTURES: Final[tuple[tuple[Release, str, str, str], ...]] = (
    ((2, 12, 0), "x86_64", "cu126", _MAXWELL_TO_HOPPER),
    ((2, 12, 0), "x86_64", "cu130 cu132", "75 80 86 90 100 120+"),
    ((2, 12, 0), "aarch64", "cu126", "80 90"),
    ((2, 12, 0), "aarch64", "cu130 cu132", "80 90 100 110 120+"),
    ((2, 11, 0), "x86_64", "cu126", _MAXWELL_TO_HOPPER),
    ((2, 11, 0), "x86_64", "cu128 cu130", "75 80 86 90 100 120"),
    ((2, 11, 0), "aarch64", "cu126", "80 90"),
    ((2, 11, 0), "aarch64", "cu128", "80 90 100 120"),
    ((2, 11, 0), "aarch64", "cu130", "80 90 100 110 120+"),
    ((2, 8, 0), "x86_64", "cu126", _MAXWELL_TO_HOPPER),
    ((2, 8, 0), "x86_64", "cu128", "70 75 80 86 90 100 120"),
    ((2, 8, 0), "x86_64", "cu129", "70 75 80 86 90 100 120+"),
    ((2, 8, 0), "x86_64", "cu130", "75 80 86 90 100 120+"),
    ((2, 7, 0), "x86_64", "cu118", "37 50 60 70 75 80 86 90"),
    ((2, 7, 0), "x86_64", "cu126", _MAXWELL_TO_HOPPER),
    ((2, 7, 0), "x86_64", "cu128", "75 80 86 90 100 120+"),
    ((2, 0, 0), "x86_64", "cu117", "37 50 60 70 75 80 86"),
    ((2, 0, 0), "x86_64", "cu118", "37 50 60 70 75 80 86 90"),
    ((2, 0, 0), "x86_64", "cu121 cu124 cu126", _MAXWELL_TO_HOPPER),
)
"""What published wheels hold code for, by release, processor and CUDA; `+` stands for code that later GPUs run, too.

From .ci/manywheel/build_cuda.sh of the releases, and the support matrix of RELEASE.md.
"""


@dataclass(frozen=True, slots=True)
class Build:
    """A version as a build of PyTorch states it.

    Args:
        text: As written: `2.4.1+cu124`.
        release: `(2, 4, 1)`.
        final: Whether it is a release, not a development build such as `2.6.0a0+git1234`.
        local: What follows the plus sign: `cu124`, `cpu`, `rocm6.0`, or nothing.
    """

    text: str
    release: Release
    final: bool = True
    local: str = ""

    @classmethod
    def read(cls, text: str) -> Build | None:
        """A version's parts, `None` for what is none.

        Example:
            >>> Build.read("2.4.1+cu124")
            Build(text='2.4.1+cu124', release=(2, 4, 1), final=True, local='cu124')
        """
        found = _VERSION.fullmatch(text.strip())
        if found is None:
            return None
        release = (int(found["major"]), int(found["minor"]), int(found["patch"] or 0))
        return cls(text.strip(), release, final=not found["rest"], local=found["local"] or "")

    @property
    def base(self) -> str:
        """The version without what follows the plus sign."""
        return self.text.partition("+")[0]

    @property
    def cuda(self) -> tuple[int, int] | None:
        """The CUDA it was built for, when its name says so.

        Example:
            >>> Build.read("1.9.0+cu111").cuda, Build.read("1.4.0+cu92").cuda
            ((11, 1), (9, 2))
        """
        found = _CUDA_TAG.fullmatch(self.local)
        return (int(found[1][:-1]), int(found[1][-1])) if found else None


def torchvision_for(torch: Build) -> str | None:
    """The torchvision that was released with a torch, `None` when there is none that is known.

    Example:
        >>> torchvision_for(Build.read("2.4.1+cu124")), torchvision_for(Build.read("1.10.0"))
        ('0.19.1', '0.11.1')
    """
    major, minor, patch = torch.release
    if not torch.final:
        return None
    if torch.release in _VISION:
        return _VISION[torch.release]
    if major == 1 and 4 <= minor <= 13:
        return f"0.{minor + 1}.{patch}"
    return f"0.{minor + 15}.{patch}" if major == 2 else None


def torch_for(torchvision: Build) -> str | None:
    """The torch that a torchvision was released with.

    Example:
        >>> torch_for(Build.read("0.19.1")), torch_for(Build.read("0.15.2+cu118")), torch_for(Build.read("0.9.1"))
        ('2.4.1', '2.0.1', '1.8.1')
    """
    zero, minor, patch = torchvision.release
    if zero != 0 or not torchvision.final:
        return None
    base = ".".join(map(str, torchvision.release))
    for release, vision in _VISION.items():
        if vision == base:
            return ".".join(map(str, release))
    if 5 <= minor <= 14 and minor not in (8, 11):
        return f"1.{minor - 1}.{patch}"
    return f"2.{minor - 15}.{patch}" if minor >= 16 else None


def triton_for(torch: Build) -> str | None:
    """The Triton that a torch requires on Linux, `None` before 2.0 and for development builds.

    Example:
        >>> triton_for(Build.read("2.4.1+cu124"))
        '3.0.0'
    """
    fitting = [version for release, version in _TRITON.items() if release <= torch.release]
    return fitting[-1] if fitting and torch.final and torch.release[0] == 2 else None


def driver_for(cuda: tuple[int, int]) -> str | None:
    """The oldest Linux driver that runs programs built for a CUDA.

    Example:
        >>> driver_for((12, 4)), driver_for((10, 1))
        ('525.60.13', '418.39')
    """
    return next((driver for since, driver in _DRIVERS if since <= cuda), None)


def architectures(torch: Build, processor: str) -> tuple[tuple[tuple[int, int], ...], bool]:
    """The compute capabilities that a published wheel holds code for, and whether later GPUs run it as well.

    Args:
        torch: The build; it has to say its CUDA.
        processor: As `platform.machine()` says it.

    Returns:
        No capabilities for a build that is not known.

    Example:
        >>> architectures(Build.read("2.8.0+cu128"), "x86_64")
        (((7, 0), (7, 5), (8, 0), (8, 6), (9, 0), (10, 0), (12, 0)), False)
    """
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(processor.lower(), processor)
    since = next((release for release, *_ in _ARCHITECTURES if release <= torch.release), None)
    held = next(
        (
            capabilities
            for release, kind, tags, capabilities in _ARCHITECTURES
            if release == since and kind == machine and torch.local in tags.split() and torch.final
        ),
        "",
    )
    numbers = [int(number) for number in held.rstrip("+").split()]
    return tuple((number // 10, number % 10) for number in numbers), held.endswith("+")


def install(torch: Build, *names: str) -> str:
    """The pip command for the packages of one release of torch, in its own flavour (CUDA, CPU).

    Args:
        torch: The build that is there or wanted.
        names: `torch`, `torchvision`; both without one.

    Example:
        >>> install(Build.read("2.4.1+cu124"), "torchvision")
        'pip install torchvision==0.19.1 --index-url https://download.pytorch.org/whl/cu124'
        >>> install(Build.read("1.9.0+cu111"), "torchvision")
        'pip install torchvision==0.10.0+cu111 -f https://download.pytorch.org/whl/torch_stable.html'
    """
    versions = {"torch": ".".join(map(str, torch.release)), "torchvision": torchvision_for(torch)}
    local = torch.local if torch.cuda or torch.local == "cpu" else ""
    old = torch.release < (2, 0, 0)
    wanted = [
        f"{name}=={versions[name]}{f'+{local}' if local and old else ''}" if versions[name] else name
        for name in names or ("torch", "torchvision")
    ]
    source = ""
    if local and torch.release < (1, 11, 0):
        source = " -f https://download.pytorch.org/whl/torch_stable.html"
    elif local:
        source = f" --{'extra-' if old else ''}index-url https://download.pytorch.org/whl/{local}"
    return f"pip install {' '.join(wanted)}{source}"


def stated(log: Log, name: str) -> Build | None:
    """The version of a package that a log says is installed.

    What pip says last of what does not fit counts most, then any other mention, then a command that installs it; what
    is only required does not count.

    Example:
        >>> from snellen.core.log import LogLine
        >>> line = "torchvision 0.15.2 requires torch==2.0.1, but you have torch 2.1.0 which is incompatible."
        >>> stated(Log((LogLine(1, line),)), "torch").text
        '2.1.0'
    """
    for owner, version in reversed([pair for line in log.lines for pair in _conflicts(line.text)]):
        if owner == name and (build := Build.read(version.rstrip("."))):
            return build
    pattern = re.compile(_STATED.format(name=_NAMES.get(name, re.escape(name))), re.IGNORECASE)
    asked = None
    for line in log.lines:
        found = pattern.search(line.text)
        build = Build.read(found["version"]) if found and not _WISHES.search(line.text) else None
        if build is not None and not _COMMAND.search(line.text):
            return build
        asked = asked or build
    return asked


def _conflicts(text: str) -> list[tuple[str, str]]:
    found = _CONFLICT.search(text)
    return [(found["owner"], found["version"]), (found["name"], found["has"])] if found else []
