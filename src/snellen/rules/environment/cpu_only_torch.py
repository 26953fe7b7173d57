"""PyTorch is installed as the build without CUDA, and a GPU is asked for.

What happens
------------
`AssertionError: Torch not compiled with CUDA enabled` at the first `.cuda()` or `.to("cuda")`. Where the program asks
first, nothing stops: `torch.cuda.is_available()` is `False`, the GPU idles and training takes fifty times as long.
YOLO says `Invalid CUDA 'device=0' requested`, a checkpoint saved on a GPU `Attempting to deserialize object on a CUDA
device but torch.cuda.is_available() is False`.

Why
---
There are builds of every version with and without CUDA. On Windows `pip install torch` gives the one without; conda
falls back to it when the other does not fit (`cpuonly`, `py3.10_cpu_0`); `--index-url .../whl/cpu` and
`torch==2.4.1+cpu` ask for it; and a package that requires another torch lets pip replace the CUDA build. On a Mac there
is no CUDA at all.

How to confirm
--------------
`python -c "import torch; print(torch.__version__, torch.version.cuda)"` prints `+cpu` or `None`. `nvidia-smi` shows
whether there is a GPU with a driver.

Fix
---
`pip uninstall -y torch torchvision`, then the command that https://pytorch.org/get-started/locally/ gives for your
CUDA: `pip install torch torchvision --index-url https://download.pytorch.org/whl/cu126`. On a Mac use `device="mps"`.
Code that should run anywhere takes `torch.device("cuda" if torch.cuda.is_available() else "cpu")`, and `torch.load`
gets `map_location=device`.

When it is something else
-------------------------
A build with CUDA that sees no GPU says `No CUDA GPUs are available` or `Found no NVIDIA driver`:
`invalid-device-ordinal`. A driver that is too old is `cuda-driver-too-old`. `Not compiled with GPU support` of another
library means that its own operators were built without CUDA.

Sources
-------
- PyTorch, the command for each platform: https://pytorch.org/get-started/locally/
- `torch.cuda.is_available`: https://docs.pytorch.org/docs/stable/generated/torch.cuda.is_available.html
- `torch.load`, `map_location`: https://docs.pytorch.org/docs/stable/generated/torch.load.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.requirements import Installation, installations
from snellen.core.facts.environment import EnvironmentFacts
from snellen.core.facts.machine import MachineFacts
from snellen.core.finding import Evidence, Finding, Fix, Level
from snellen.core.known.wheels import Build, install, stated
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message
from snellen.core.plan import Cost, NotApplicable, Plan
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, SourceFile

__all__ = ["RULE"]

_CERTAIN = re.compile(
    r"Torch not compiled with CUDA enabled|Cannot initialize CUDA without (?:the )?(?:ATen_cuda|torch_cuda) library"
    r"|PyTorch splits its backend into two shared libraries"
)
_NO_BACKEND = re.compile(r"Could not run '(?P<operator>aten::\w+(?:\.\w+)?)' with arguments from the 'CUDA' backend")
_EXTENSION = re.compile(r"\bNot compiled with (?:GPU|CUDA) support", re.IGNORECASE)
_ASKED = re.compile(
    r"Attempting to deserialize object on a CUDA device but torch\.cuda\.is_available\(\) is False"
    r"|Invalid CUDA '?(?:--)?device|CUDA unavailable, invalid device"
    r"|CUDAAccelerator`? can not run on your system|No supported gpu backend found"
    r"|But your machine only has: \[\]",
    re.IGNORECASE,
)
_SEES_SOME = re.compile(r"is_available\(\): True|device_count\(\): [1-9]")
_OTHER_REASON = re.compile(r"NVIDIA driver on your system is too old|Found no NVIDIA driver|CUDA unknown error")
"""Warnings that say why `torch.cuda.is_available()` is False."""
_CPU_BUILD = re.compile(
    r"(?:\d\+cpu\b|pytorch\S{0,40}\s\S{0,40}_cpu_|\bcpuonly\b|CUDA used to build PyTorch: None|/whl/cpu\b)"
)
_MAC = re.compile(
    r"\bdarwin\b|macOS|Apple M\d|/opt/homebrew/|/Library/Frameworks/Python|\bMac OS X\b|arm64-apple", re.IGNORECASE
)
_MAC_HOME = re.compile(r'File "/Users/|^/Users/')


def _examine_log(log: Log) -> LogMatch | None:
    build = _cpu_build(log)
    if said := find_message(log, _CERTAIN):
        return _match(log, said, 0.97, build, "and the program asks for a GPU")
    if said := find_message(log, _NO_BACKEND):
        if said.match["operator"].startswith(("aten::empty", "aten::_to_copy", "aten::to")):
            return _match(log, said, 0.88, build, "and a tensor is to be made on a GPU")
        return None
    said = find_message(log, _ASKED)
    if said is not None and log.search(_SEES_SOME.pattern) is None and log.search(_OTHER_REASON.pattern) is None:
        score = 0.93 if build is not None else 0.65
        return _match(log, said, score, build, "so `torch.cuda.is_available()` is False")
    if said := find_message(log, _EXTENSION):
        cause = "A library's own GPU operators were built without CUDA, on a machine or with a torch that has none."
        fix = Fix(
            "See that `torch.cuda.is_available()` is True, then build the library again with `FORCE_CUDA=1 pip install "
            "--no-build-isolation --force-reinstall .` in its folder."
        )
        return LogMatch(0.6, said.facts, cause, fix)
    return None


def _cpu_build(log: Log) -> Evidence | None:
    line = next(log.find(_CPU_BUILD.pattern), None)
    return line.evidence if line is not None else None


def _match(log: Log, said: Message, score: float, build: Evidence | None, then: str) -> LogMatch:
    torch = stated(log, "torch")
    name = f"torch {torch.text}" if torch else "The torch that is installed"
    sure = "is a build without CUDA" if score > 0.8 else "is most likely a build without CUDA"
    facts = (*said.facts, *((build,) if build is not None else ()))
    return LogMatch(score, facts, f"{name} {sure}, {then}.", _fix(log, torch, said))


def _fix(log: Log, torch: Build | None, said: Message) -> Fix:
    if log.search(_MAC.pattern) or any(_MAC_HOME.search(line.text) for line in log.lines):
        return Fix('A Mac has no CUDA: take `device = "mps" if torch.backends.mps.is_available() else "cpu"`.')
    release = torch.release if torch is not None and torch.final else None
    command = f"pip install {_wanted(release)}"
    loads = (
        ' On a machine without a GPU pass `map_location="cpu"` to `torch.load`.'
        if "deserialize" in said.evidence.text
        else ""
    )
    text = f"`pip uninstall -y torch torchvision`, then `{command}` (with a driver that `nvidia-smi` shows).{loads}"
    return Fix(text, command=command)


_FLAVOURS = (
    ((2, 6, 0), "cu126"),
    ((2, 4, 0), "cu124"),
    ((2, 1, 0), "cu121"),
    ((2, 0, 0), "cu118"),
    ((1, 13, 0), "cu117"),
    ((1, 11, 0), "cu113"),
    ((1, 8, 0), "cu111"),
    ((1, 5, 0), "cu102"),
)
"""A CUDA that each release of torch was built for, newest first."""


def _wanted(release: tuple[int, int, int] | None) -> str:
    """The same release with CUDA, else the newest one."""
    flavour = next((tag for since, tag in _FLAVOURS if release and release >= since), None)
    if release is None or flavour is None:
        return "torch torchvision --index-url https://download.pytorch.org/whl/cu126"
    build = Build.read(f"{'.'.join(map(str, release))}+{flavour}")
    return install(build).removeprefix("pip install ") if build else "torch torchvision"


_REPORT = "import torch; print('build', torch.__version__, torch.version.cuda, torch.cuda.is_available())"


def _probe(_log: Log, here: Here) -> Answer:
    ran = here.python(_REPORT)
    found = re.search(r"build (?P<version>\S+) (?P<cuda>\S+) (?P<sees>True|False)", ran.output)
    if found is None:
        return Answer(Outcome.CANNOT_TELL, "torch cannot be imported here")
    text = f"torch {found['version']}, built for CUDA {found['cuda']}, is_available() {found['sees']}"
    if found["cuda"] == "None":
        return Answer(Outcome.CONFIRMED, text)
    return Answer(Outcome.REFUTED, text)


_CHECKED = re.compile(r"is_available|cuda|gpu|device", re.IGNORECASE)


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    builds = [found for found in installations(file) if _without_cuda(found)]
    if not builds:
        return
    use = next((call for other in (file, *file.elsewhere) for call in other.calls if _asks_for_cuda(call)), None)
    if use is None:
        return
    found = builds[-1]
    message = f"installs torch without CUDA, and `{use.code[:60]}` needs it"
    fix = Fix("Install the build for your CUDA, or choose the device with `torch.cuda.is_available()`.")
    yield Hit(message, found.span, fix)


def _without_cuda(found: Installation) -> bool:
    names = {item.name for item in found.requirements}
    from_cpu = any(option.rstrip("/").endswith("/whl/cpu") for option in found.options)
    marked = any(item.name in ("torch", "pytorch") and "cpu" in item.specifier for item in found.requirements)
    return "cpuonly" in names or marked or (from_cpu and bool(names & {"torch", "pytorch"}))


def _asks_for_cuda(call: CallSite) -> bool:
    """Whether a call fails without CUDA: not behind a test, not in a function that somebody may leave alone."""
    if call.function.rpartition(".")[2] not in ("", "main", "train") or any(
        _CHECKED.search(c) for c in call.conditions
    ):
        return False
    if call.method == "cuda" and call.name.startswith(".") and not call.arguments:
        return True
    first = call.arguments[0].value if call.arguments else None
    moves = call.method == "to" and call.name.startswith(".")
    return moves and isinstance(first, str) and first.startswith("cuda")


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    machine: MachineFacts = plan.fact("machine")
    environment: EnvironmentFacts = plan.fact("environment")
    torch = Build.read(environment.packages.get("torch", ""))
    if torch is None:
        raise NotApplicable("torch is not installed")
    if not machine.gpus:
        raise NotApplicable(f"{machine.name} has no NVIDIA GPU, so a build without CUDA loses nothing")
    if environment.torch_build != "cpu":
        return
    tag = _tag_for(machine)
    command = (
        f"pip install --force-reinstall {_wanted(torch.release)} --index-url https://download.pytorch.org/whl/{tag}"
    )
    yield Finding(
        "cpu-only-torch",
        Level.ERROR,
        f"{machine.gpus[0].name} is here with driver {machine.driver}, and torch {torch.text} is a build without CUDA",
        fix=Fix(f"`{command}`", command=command),
    )


def _tag_for(machine: MachineFacts) -> str:
    """The builds that the driver runs and that hold code for the GPU."""
    if machine.driver_cuda is not None and machine.driver_cuda >= (13, 0) and (machine.capability or (7, 5)) >= (7, 5):
        return "cu130"
    return "cu128" if (machine.capability or (0, 0)) >= (10, 0) else "cu126"


RULE = Rule(
    slug="cpu-only-torch",
    family="environment",
    title="PyTorch without CUDA is installed",
    level=Level.ERROR,
    log=LogFacet(
        (
            "not compiled with",
            "cannot initialize cuda",
            "from the 'cuda' backend",
            "deserialize object on a cuda",
            "invalid cuda",
            "cuda unavailable",
            "accelerator",
            "your machine only has",
        ),
        _examine_log,
        _probe,
    ),
    source=SourceFacet(("cpu",), _examine_source),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("a run without a GPU is slow or stops before its first step"),
    module=__name__,
)
