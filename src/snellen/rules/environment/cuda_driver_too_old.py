"""The NVIDIA driver is older than the CUDA that PyTorch was built for.

What happens
------------
`RuntimeError: The NVIDIA driver on your system is too old (found version 11040)`, or `CUDA driver version is
insufficient for CUDA runtime version`, at the first use of the GPU. As a warning from `torch.cuda.is_available()` it
only makes the run go on without the GPU. Containers refuse to start: `unsatisfied condition: cuda>=12.4`. Compiled
extensions fail with `the provided PTX was compiled with an unsupported toolchain`.

Why
---
A build of PyTorch brings its own CUDA; the driver does not come with it and belongs to the machine. Each CUDA asks for
a driver of its time or newer: 13.x for 580, 12.x for 525, 11.x for 450, 10.2 for 440, 10.1 for 418. The number in the
message is the CUDA that the driver can do: 11040 is 11.4. Within 11.x and 12.x one driver does for all, but code that
is compiled on the spot (PTX) needs a driver as new as the toolkit that wrote it.

How to confirm
--------------
`nvidia-smi` prints the driver and, at the right, the newest CUDA that it can do; `python -c "import torch;
print(torch.version.cuda)"` the one that torch was built for. The first has to be as high as the second, or of the same
major version.

Fix
---
Update the driver, or, where it is somebody else's machine, install a torch for the CUDA that the driver can do: `pip
install torch torchvision --index-url https://download.pytorch.org/whl/cu118` for 11.x, `.../cu126` for 12.x. In a
container take an image with that CUDA.

When it is something else
-------------------------
`Found no NVIDIA driver` and `No CUDA GPUs are available` are `invalid-device-ordinal`. `no kernel image is available`
is about the GPU and not about the driver: `cuda-arch-unsupported`. `Driver/library version mismatch` right after an
update goes away with a reboot.

Sources
-------
- CUDA Toolkit release notes, drivers for each CUDA: https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/
- CUDA compatibility: https://docs.nvidia.com/deploy/cuda-compatibility/
- Builds of PyTorch for earlier CUDAs: https://pytorch.org/get-started/previous-versions/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.facts.environment import EnvironmentFacts
from snellen.core.facts.machine import MachineFacts
from snellen.core.finding import Evidence, Finding, Fix, Level
from snellen.core.known.wheels import driver_for, stated
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message
from snellen.core.plan import Cost, NotApplicable, Plan
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, absent

__all__ = ["RULE"]

Cuda = tuple[int, int]

_TOO_OLD = re.compile(r"NVIDIA driver on your system is too old\s*\(found version (?P<found>\d{4,5})\)")
_INSUFFICIENT = re.compile(
    r"CUDA driver version is insufficient for CUDA runtime version|cudaErrorInsufficientDriver"
    r"|driver version is insufficient"
)
_CONTAINER = re.compile(r"unsatisfied condition: (?:cuda ?>= ?(?P<cuda>\d{1,2}\.\d)|driver ?>= ?(?P<driver>[\d.]+))")
_TOOLCHAIN = re.compile(r"PTX was compiled with an unsupported toolchain|CUDA_ERROR_UNSUPPORTED_PTX_VERSION")
_COMBINATION = re.compile(
    r"unsupported display driver / cuda driver combination|forward compatibility was attempted on non supported HW"
    r"|cudaErrorCompatNotSupportedOnDevice|cudaErrorSystemDriverMismatch"
)
_REBOOT = re.compile(r"Driver/library version mismatch")
_SMI = re.compile(r"Driver Version: (?P<driver>[\d.]+)(?:\s+CUDA Version: (?P<cuda>\d{1,2}\.\d))?")
_DRIVER = re.compile(r"Nvidia driver version: (?P<driver>\d[\d.]*)|NVIDIA-SMI (?P<smi>\d[\d.]*)", re.IGNORECASE)
_BUILT_FOR = re.compile(
    r"(?:CUDA used to build PyTorch|Pytorch CUDA version|cudatoolkit)\s{0,20}[:=]?\s{0,20}(?P<cuda>\d{1,2}\.\d)",
    re.IGNORECASE,
)
_WHEELS = "https://download.pytorch.org/whl"


def _examine(log: Log) -> LogMatch | None:
    for pattern, explain in (
        (_TOO_OLD, _too_old),
        (_INSUFFICIENT, _too_old),
        (_CONTAINER, _container),
        (_TOOLCHAIN, _toolchain),
        (_COMBINATION, _combination),
        (_REBOOT, _reboot),
    ):
        if said := find_message(log, pattern):
            return explain(log, said)
    return None


def _container(_log: Log, said: Message) -> LogMatch:
    cuda, driver = said.match["cuda"], said.match["driver"]
    known = driver_for(_read(cuda)) if cuda else driver
    cause = (
        f"The image wants {f'CUDA {cuda}' if cuda else f'driver {driver}'} or newer; this machine's driver is older."
    )
    newer = f" to {known} or newer" if known else ""
    text = f"Update the driver{newer}, or take an image for the CUDA that `nvidia-smi` names."
    return LogMatch(0.95, said.facts, cause, Fix(text))


def _toolchain(log: Log, said: Message) -> LogMatch:
    can = _can(log)
    known = f" ({_dotted(can)})" if can else ""
    cause = f"A kernel was compiled by a CUDA toolkit that is newer than the driver's CUDA{known}."
    text = (
        "Update the driver; or build the extension again with a toolkit no newer than the CUDA at the right of "
        "`nvidia-smi`, for this GPU alone (`TORCH_CUDA_ARCH_LIST` without `+PTX`)."
    )
    return LogMatch(0.92, said.facts, cause, Fix(text))


def _combination(_log: Log, said: Message) -> LogMatch:
    cause = "The driver and the CUDA libraries that are found do not belong together."
    text = "Update the driver, and take `cuda-compat` and other copies of `libcuda.so` out of `LD_LIBRARY_PATH`."
    return LogMatch(0.85, said.facts, cause, Fix(text))


def _reboot(_log: Log, said: Message) -> LogMatch:
    cause = "The driver was updated while the old one is still loaded."
    return LogMatch(0.75, said.facts, cause, Fix("Restart the machine."))


def _too_old(log: Log, said: Message) -> LogMatch:
    can = _version(said.match["found"]) if "found" in said.match.groupdict() else _can(log)
    torch = stated(log, "torch")
    needs = torch.cuda if torch and torch.cuda else _stated_cuda(log)
    name = f"torch {torch.text}" if torch else "the installed torch"
    built = f"CUDA {_dotted(needs)}" if needs else "a newer CUDA"
    cause = f"The driver is older than the CUDA that {name} was built for{f' ({_dotted(needs)})' if needs else ''}."
    if can:
        cause = f"The driver can do CUDA {_dotted(can)}, and {name} was built for {built}."
    driver = driver_for(needs) if needs else None
    command = _command(can) if can else None
    text = f"Update the driver{f' to {driver} or newer' if driver else ''}"
    if can and command:
        text = f"{text}, or install a torch for CUDA {_dotted(can)}: `{command}`"
    elif not can:
        text = f"{text}, or install the torch for the CUDA that `nvidia-smi` prints at the right"
    return LogMatch(0.97, _with_failure(log, said), cause, Fix(f"{text}.", command=command))


_OF_CUDA = re.compile(r"CUDA|cuda|nvidia", re.IGNORECASE)


def _with_failure(log: Log, said: Message) -> tuple[Evidence, ...]:
    """The warning, and the failure that it explains."""
    failed = next((error for error in log.exceptions if _OF_CUDA.search(error.message)), None)
    return said.facts if said.error is not None or failed is None else (*said.facts, failed.evidence)


def _version(number: str) -> Cuda:
    """`11040` is 11.4, `9000` is 9.0."""
    value = int(number)
    return value // 1000, value % 1000 // 10


def _dotted(cuda: Cuda) -> str:
    return f"{cuda[0]}.{cuda[1]}"


def _read(text: str) -> Cuda:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


def _can(log: Log) -> Cuda | None:
    """The CUDA that the driver can do, as `nvidia-smi` printed it, or by the driver's number."""
    for line in log.lines:
        if (found := _SMI.search(line.text)) and found["cuda"]:
            return _read(found["cuda"])
    for line in log.lines:
        found = _SMI.search(line.text) or _DRIVER.search(line.text)
        driver = next((part for part in found.groups() if part), "") if found else ""
        if driver:
            return _by_driver(driver)
    return None


def _by_driver(driver: str) -> Cuda | None:
    number = tuple(int(part) for part in driver.strip(".").split("."))
    newest = ((13, 0), (12, 0), (11, 0), (10, 2), (10, 1), (10, 0), (9, 2), (9, 1), (9, 0), (8, 0))
    return next((cuda for cuda in newest if number >= tuple(map(int, (driver_for(cuda) or "0").split(".")))), None)


def _stated_cuda(log: Log) -> Cuda | None:
    found = next((match for line in log.lines if (match := _BUILT_FOR.search(line.text))), None)
    return _read(found["cuda"]) if found else None


def _command(can: Cuda) -> str | None:
    """The newest torch for the CUDA that a driver can do."""
    if can >= (12, 0):
        return f"pip install --force-reinstall torch torchvision --index-url {_WHEELS}/cu126"
    if can >= (11, 0):
        return f"pip install --force-reinstall 'torch<=2.7.1' torchvision --index-url {_WHEELS}/cu118"
    old = {(10, 2): ("1.12.1", "0.13.1"), (10, 1): ("1.8.1", "0.9.1"), (9, 2): ("1.7.1", "0.8.2")}
    if can in old:
        (torch, vision), tag = old[can], f"cu{can[0]}{can[1]}"
        return f"pip install torch=={torch}+{tag} torchvision=={vision}+{tag} -f {_WHEELS}/torch_stable.html"
    packages = {(10, 0): "pytorch==1.2.0 torchvision==0.4.0", (9, 0): "pytorch==1.1.0 torchvision==0.3.0"}.get(can)
    return f"conda install {packages} cudatoolkit={_dotted(can)} -c pytorch" if packages else None


def _probe(_log: Log, here: Here) -> Answer:
    smi = here.command("nvidia-smi")
    shown = _SMI.search(smi.output) if smi.code == 0 else None
    ran = here.python("import torch; print('built', torch.version.cuda, torch.cuda.is_available())")
    built = re.search(r"built (?P<cuda>\d{1,2}\.\d) (?P<sees>True|False)", ran.output)
    if shown is None or not shown["cuda"]:
        return Answer(Outcome.CANNOT_TELL, "nvidia-smi shows no driver here")
    if built is None:
        return Answer(Outcome.CANNOT_TELL, f"driver {shown['driver']} can do CUDA {shown['cuda']}; torch has none here")
    can, needs = _read(shown["cuda"]), _read(built["cuda"])
    text = f"driver {shown['driver']} can do CUDA {shown['cuda']}, torch was built for {built['cuda']}"
    fits = can >= needs or (can[0] == needs[0] >= 11)
    return Answer(Outcome.REFUTED if fits and built["sees"] == "True" else Outcome.CONFIRMED, text)


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    machine: MachineFacts = plan.fact("machine")
    can = machine.driver_cuda
    if not machine.gpus or can is None:
        why = "has no NVIDIA driver that says which CUDA it runs" if machine.here else "is another machine"
        raise NotApplicable(f"{machine.name} {why}")
    environment: EnvironmentFacts = plan.fact("environment")
    needs = environment.torch_cuda
    if needs is None:
        raise NotApplicable("the installed torch needs no NVIDIA driver, or does not say which CUDA it was built for")
    # From CUDA 11 on a driver runs every program of its major version.
    if can >= needs or can[0] == needs[0] >= 11:
        return
    driver = driver_for(needs)
    tag = {12: "cu126", 11: "cu118"}.get(can[0])
    instead = (
        f" Or take a build for it: `pip install torch --index-url https://download.pytorch.org/whl/{tag}`."
        if tag
        else ""
    )
    yield Finding(
        "cuda-driver-too-old",
        Level.ERROR,
        f"driver {machine.driver} runs CUDA up to {_dotted(can)}, and torch {environment.packages.get('torch', '')} "
        f"was built for {_dotted(needs)}",
        fix=Fix(f"Update the NVIDIA driver{f' to {driver} or newer' if driver else ''}.{instead}"),
    )


RULE = Rule(
    slug="cuda-driver-too-old",
    family="environment",
    title="The NVIDIA driver is too old for this PyTorch",
    level=Level.ERROR,
    log=LogFacet(
        (
            "too old",
            "insufficient",
            "unsatisfied condition",
            "unsupported toolchain",
            "unsupported_ptx",
            "driver combination",
            "forward compatibility",
            "compatnotsupported",
            "driver/library version mismatch",
            "systemdrivermismatch",
        ),
        _examine,
        _probe,
    ),
    source=absent("the driver belongs to the machine and not to the source"),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("the driver is asked before the first step"),
    module=__name__,
)
