"""The build of PyTorch, or of an extension, holds no code for this GPU.

What happens
------------
A warning when CUDA starts: `NVIDIA GeForce RTX 5080 with CUDA capability sm_120 is not compatible with the current
PyTorch installation. The current PyTorch install supports CUDA capabilities sm_50 ... sm_90.` (today: `Found GPU0 ...
which is of compute capability (CC) 12.0`, then a list of what the build holds). The first kernel then stops with `CUDA
error: no kernel image is available for execution on the device`. Old cards read `PyTorch no longer supports this GPU
because it is too old`. An extension that is being compiled stops with `nvcc fatal : Unsupported gpu architecture
'compute_86'`.

Why
---
A build holds machine code for a list of architectures. Code for 8.0 runs on 8.6, code for another major number does
not run: a new GPU needs a build that was made after it came out (12.x, Blackwell: CUDA 12.8 and torch 2.7 or newer;
9.0, Hopper: CUDA 11.8; 8.x, Ampere: CUDA 11.0 and torch 1.7), and old GPUs are left out of new builds (below 7.5: only
the `cu126` builds hold them; 3.7: torch 1.12 was the last). An extension that was compiled here holds what
`TORCH_CUDA_ARCH_LIST`, or the GPU of the machine that compiled it, said.

How to confirm
--------------
`python -c "import torch; print(torch.cuda.get_device_capability(), torch.cuda.get_arch_list())"`. `(12, 0)` needs
`sm_120` in the list. If it is there, an extension is what lacks it: the traceback names it.

Fix
---
Install a build for that GPU: `pip install --force-reinstall torch torchvision --index-url
https://download.pytorch.org/whl/cu128`, `.../cu126` for one older than 7.5. Build extensions again, on this machine or
with `TORCH_CUDA_ARCH_LIST="8.6;12.0+PTX"`: the code after `+PTX` also runs on later GPUs.

When it is something else
-------------------------
`CUDA driver version is insufficient` and `unsupported toolchain` are about the driver: `cuda-driver-too-old`. A wrong
result or `device-side assert triggered` on a GPU that the build supports is an error of the program.

Sources
-------
- NVIDIA, compute capability of each GPU: https://developer.nvidia.com/cuda-gpus
- PyTorch, what each release is built for: https://github.com/pytorch/pytorch/blob/main/RELEASE.md
- CUDA, which code runs on which GPU: https://docs.nvidia.com/cuda/cuda-c-programming-guide/#binary-compatibility
- `TORCH_CUDA_ARCH_LIST`: https://docs.pytorch.org/docs/stable/cpp_extension.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.facts.environment import EnvironmentFacts
from snellen.core.facts.machine import MachineFacts
from snellen.core.finding import Finding, Fix, FixSafety, Level
from snellen.core.known.gpus import GPUS
from snellen.core.known.wheels import Build, install, stated
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message
from snellen.core.plan import Cost, NotApplicable, Plan
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile, Span

__all__ = ["RULE"]

_INCOMPATIBLE = re.compile(
    r"(?P<gpu>[\w -]{1,60}) with CUDA capability sm_(?P<capability>\d{2,3})\w? is not compatible with the current"
)
_FOUND = re.compile(
    r"Found GPU\d{1,2} (?P<gpu>.{1,60}?) which is of (?:cuda|compute) capability (?:\(CC\) )?"
    r"(?P<major>\d{1,2})\.(?P<minor>\d)"
)
_TOO_OLD = re.compile(r"no longer supports this GPU because it is too old|does not include kernels for this GPU")
_SUPPORTS = re.compile(
    r"(?:supports CUDA capabilities|supported by this build are:?|TORCH_CUDA_ARCH_LIST) [^\n]{0,300}"
)
_LISTED = re.compile(r"^- (?P<capability>\d{1,2}\.\d) which supports hardware CC")
_MINIMUM = re.compile(r"inimum (?:cuda|compute) capability supported by this library is (?P<capability>\d{1,2}\.\d)")
_NO_IMAGE = re.compile(
    r"no kernel image is available for execution on (?:the )?device|CUDA_ERROR_NO_BINARY_FOR_GPU"
    r"|CUDA error: device kernel image is invalid",
    re.IGNORECASE,
)
_KERNEL = re.compile(r"CUDA error|cuda runtime error|CUBLAS_|CUDNN_|no kernel image", re.IGNORECASE)
_TOOLKIT = re.compile(r"nvcc fatal\s{1,4}: Unsupported gpu architecture '(?:compute|sm)_(?P<capability>\d{2,3})")
_KERNEL_NAME = re.compile(r"error in (?P<name>\w{3,60}): no kernel image")
_OTHER = re.compile(r"THCudaCheck FAIL .{0,300} error=(?!48\b|209\b)\d")
_TRITON = re.compile(
    r"Found (?P<gpu>.{1,60}?) which is too old to be supported by the triton GPU compiler[\s\S]{0,200}?"
    r"capability (?P<major>\d)\.(?P<minor>\d)"
)
_OFFERED = re.compile(
    r"use pip install torch==(?P<version>[\d.]{1,12}) --index-url (?P<index>https://download\.pytorch\.org/whl/\w+)"
)
_OUTSIDE = re.compile(r"^(?:torch|torchvision|torchaudio|lightning|pytorch_lightning|accelerate|transformers|timm)$")
_PACKAGE = re.compile(r"[/\\](?:site|dist)-packages[/\\](?P<name>[A-Za-z]\w*)")
_WHEELS = "https://download.pytorch.org/whl"


def _examine_log(log: Log) -> LogMatch | None:
    if said := find_message(log, _TRITON):
        capability = int(said.match["major"]) * 10 + int(said.match["minor"])
        cause = (
            f"{said.match['gpu']} ({_dotted(capability)}) is older than what Triton, behind torch.compile, supports."
        )
        fix = Fix('Leave `torch.compile` out on this GPU, or use `torch.compile(model, backend="aot_eager")`.')
        return LogMatch(0.75, said.facts, cause, fix)
    if said := find_message(log, _TOOLKIT):
        return _toolkit(said)
    said = find_message(log, _INCOMPATIBLE) or find_message(log, _FOUND)
    if said is not None and (said.match.re is _INCOMPATIBLE or _is_refused(log)):
        return _warned(log, said)
    said = find_message(log, _NO_IMAGE)
    return _no_image(log, said) if said is not None else None


def _toolkit(said: Message) -> LogMatch:
    capability = int(said.match["capability"])
    arch = _dotted(capability)
    if capability >= 70:
        needed = {75: "10.0", 80: "11.0", 86: "11.1", 87: "11.4", 89: "11.8", 90: "11.8"}.get(capability, "12.8")
        cause = f"The CUDA toolkit that compiles the extension (`nvcc --version`) does not know {arch}."
        text = f"Take a toolkit from CUDA {needed} on, as torch was built for (`CUDA_HOME` names its folder)."
    else:
        cause = f"The CUDA toolkit that compiles the extension (`nvcc --version`) has given {arch} up."
        text = 'Compile for your own GPU only, `TORCH_CUDA_ARCH_LIST="8.6"` with its number, or take an older toolkit.'
    return LogMatch(0.75, said.facts, cause, Fix(text))


def _is_refused(log: Log) -> bool:
    return log.search(_TOO_OLD.pattern) is not None or any(_LISTED.search(line.text) for line in log.lines)


def _warned(log: Log, said: Message) -> LogMatch:
    parts = said.match.groupdict()
    capability = int(parts.get("capability") or int(parts["major"]) * 10 + int(parts["minor"]))
    gpu = parts["gpu"].strip()
    held = _held(log)
    has = f", and this build holds code for {', '.join(map(_dotted, held))}" if held else ""
    torch = stated(log, "torch")
    cause = f"{gpu} has compute capability {_dotted(capability)}{has}{f' (torch {torch.text})' if torch else ''}."
    others = any(not _KERNEL.search(error.text) for error in log.exceptions) or log.search(_OTHER.pattern) is not None
    command = _offered(log) or _command(capability)
    text = f"`{command}`." if command else _no_wheel(capability)
    failed = next((error.evidence for error in log.exceptions if _KERNEL.search(error.text)), None)
    facts = (*said.facts, *((failed,) if failed is not None and said.error is None else ()))
    return LogMatch(0.75 if others else 0.96, facts, cause, Fix(text, command=command))


def _offered(log: Log) -> str | None:
    """The command that torch itself says gives the same release with code for this GPU."""
    found = next((match for line in log.lines if (match := _OFFERED.search(line.text))), None)
    build = Build.read(found["version"]) if found else None
    if found is None or build is None:
        return None
    return f"{install(build).replace('install', 'install --force-reinstall', 1)} --index-url {found['index']}"


def _held(log: Log) -> list[int]:
    """The architectures that the log says the build has code for."""
    listed = [int(found["capability"].replace(".", "")) for line in log.lines if (found := _LISTED.search(line.text))]
    if listed:
        return listed
    if minimum := find_message(log, _MINIMUM):
        return [int(minimum.match["capability"].replace(".", ""))]
    line = log.search(_SUPPORTS.pattern)
    return [int(number) for number in re.findall(r"sm_(\d{2,3})", line.text)] if line is not None else []


def _no_image(log: Log, said: Message) -> LogMatch:
    capability, gpu = _named(log)
    extension = _extension(said)
    if extension:
        arch = _dotted(capability) if capability else "X.Y"
        cause = f"`{extension}` was compiled without code for this GPU{f' ({gpu}, {arch})' if gpu else ''}."
        text = (
            f'Build it again for this GPU: `TORCH_CUDA_ARCH_LIST="{arch}+PTX" pip install --no-build-isolation '
            f"--force-reinstall --no-binary :all: {extension}`{'' if capability else _ask_capability()}."
        )
        return LogMatch(0.88, said.facts, cause, Fix(text))
    torch = stated(log, "torch")
    name = f"torch {torch.text}" if torch else "the installed torch"
    if capability is None:
        cause = f"What ran on the GPU was compiled without code for it: {name}, or an extension."
        text = (
            f"Look which of the two{_ask_capability()}; then install a torch for the GPU, or build the extension again."
        )
        return LogMatch(0.88, said.facts, cause, Fix(text))
    command = _command(capability)
    cause = f"{gpu} has compute capability {_dotted(capability)}, and {name} has no code for it."
    return LogMatch(0.9, said.facts, cause, Fix(f"`{command}`." if command else _no_wheel(capability), command=command))


def _ask_capability() -> str:
    return " (`python -c 'import torch; print(torch.cuda.get_device_capability(), torch.cuda.get_arch_list())'`)"


def _extension(said: Message) -> str:
    """The library whose own kernel was called last, unless it is one that has none."""
    if kernel := _KERNEL_NAME.search(said.evidence.text):
        return kernel["name"].removesuffix("_cuda")
    frames = said.error.frames if said.error is not None else ()
    last = _PACKAGE.search(frames[-1].path) if frames else None
    if last is not None:
        return "" if _OUTSIDE.match(last["name"]) else last["name"]
    if not frames:
        return ""
    called = re.search(r"(?<![\w.])(?P<name>[a-z]\w*(?:_ext|_cuda|_C)|_C|_ext)\.", frames[-1].code)
    return called["name"] if called else ""


def _named(log: Log) -> tuple[int | None, str]:
    """The GPU that the log names."""
    for line in log.lines:
        for pattern, capability in GPUS:
            if found := re.search(pattern, line.text):
                return capability, found[0]
    return None, ""


def _dotted(capability: int) -> str:
    return f"{capability // 10}.{capability % 10}"


def _command(capability: int) -> str | None:
    """What installs a build that has code for a GPU."""
    if capability >= 100:
        return (
            "pip install --force-reinstall 'torch>=2.7' torchvision --index-url https://download.pytorch.org/whl/cu128"
        )
    if capability >= 50:
        return (
            "pip install --force-reinstall 'torch>=2.6' torchvision --index-url https://download.pytorch.org/whl/cu126"
        )
    if capability >= 37:
        return f"pip install torch==1.12.1+cu113 torchvision==0.13.1+cu113 --extra-index-url {_WHEELS}/cu113"
    return None


def _no_wheel(capability: int) -> str:
    arch = _dotted(capability)
    return f'No published build holds {arch}: build torch with `TORCH_CUDA_ARCH_LIST="{arch}"`, or use the CPU.'


_REPORT = (
    "import torch; print('card', torch.cuda.get_device_name(), *torch.cuda.get_device_capability(), "
    "*torch.cuda.get_arch_list(), sep='|'); torch.ones(2, device='cuda').sum().item(); print('computed')"
)


def _probe(log: Log, here: Here) -> Answer:
    ran = here.python(_REPORT)
    found = re.search(r"card\|(?P<name>[^|\n]*)\|(?P<major>\d+)\|(?P<minor>\d+)\|(?P<held>[\w|]*)", ran.output)
    if found is None:
        return Answer(Outcome.CANNOT_TELL, "torch sees no GPU here")
    text = f"{found['name']} ({found['major']}.{found['minor']}); this torch holds {found['held'].replace('|', ' ')}"
    if "computed" not in ran.output:
        return Answer(Outcome.CONFIRMED, f"{text}; a sum on it fails")
    said = find_message(log, _NO_IMAGE)
    if said is not None and _extension(said):
        return Answer(Outcome.CANNOT_TELL, f"{text}, and computes; whether {_extension(said)} does was not tried")
    return Answer(Outcome.REFUTED, f"{text}, and a sum on it works")


_VARIABLE = re.compile(
    r"""os\.environ\[["']TORCH_CUDA_ARCH_LIST["']\]$|(?<![\w.])environ\[["']TORCH_CUDA_ARCH_LIST["']\]$"""
)
_IN_SHELL = re.compile(r"""TORCH_CUDA_ARCH_LIST=(?P<quote>["']?)(?P<list>[\d.; +PTX]{3,80})(?P=quote)""")
_SETTERS = ("os.environ.setdefault", "os.putenv")


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    for assigned in file.assignments:
        if _VARIABLE.search(assigned.target) and isinstance(assigned.value, str):
            yield from _without_ptx(file, assigned.value, assigned.span, quoted=assigned.code)
    for call in file.calls_to(*_SETTERS):
        if len(call.arguments) == 2 and call.arguments[0].value == "TORCH_CUDA_ARCH_LIST":
            value = call.arguments[1]
            if isinstance(value.value, str):
                yield from _without_ptx(file, value.value, value.span, quoted=value.code)


def _without_ptx(file: SourceFile, listed: str, span: Span, *, quoted: str) -> Iterator[Hit]:
    """A fixed list of architectures without anything that later GPUs can run."""
    parts = [part for part in re.split(r"[;,\s]+", listed) if part]
    if not parts or "+PTX" in listed or not all(re.fullmatch(r"\d{1,2}\.\d[af]?", part) for part in parts):
        return
    new = f"{listed.rstrip()}+PTX"
    yield Hit(
        f"builds for {', '.join(parts)} only: a GPU of a later generation finds no kernel image",
        span,
        Fix(
            f"Write `{new}`, or leave the variable out where the extension is built for the machine's own GPU.",
            FixSafety.UNSAFE,
            "the extension is built anew, takes longer to build and grows",
            edits=(file.edit(span, f'"{new}"'),) if quoted[:1] in "\"'" else (),
        ),
    )


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    machine: MachineFacts = plan.fact("machine")
    if not machine.here:
        yield from _elsewhere(machine)
        return
    environment: EnvironmentFacts = plan.fact("environment")
    seen = [gpu for gpu in machine.gpus if gpu.visible and gpu.capability is not None]
    if not seen:
        raise NotApplicable(f"{machine.name} has no NVIDIA GPU whose compute capability is known")
    held = environment.torch_architectures
    if not held:
        raise NotApplicable("cannot tell which GPUs the installed torch holds code for: no published build of CUDA")
    torch = environment.packages.get("torch", "")
    for gpu in {one.name: one for one in seen}.values():
        capability = gpu.capability or (0, 0)
        runs = any(capability[0] == major and capability[1] >= minor for major, minor in held)
        if runs or (environment.torch_runs_later and capability > max(held)):
            continue
        number = capability[0] * 10 + capability[1]
        command = _command(number)
        yield Finding(
            "cuda-arch-unsupported",
            Level.ERROR,
            f"{gpu.name} has compute capability {_dotted(number)}, and torch {torch} holds code for "
            f"{', '.join(_dotted(major * 10 + minor) for major, minor in held)}: its first kernel fails",
            fix=Fix(f"`{command}`." if command else _no_wheel(number), command=command),
        )


def _elsewhere(machine: MachineFacts) -> Iterator[Finding]:
    """What builds a machine needs on which nothing can be asked: old GPUs are left out of today's default builds."""
    capability = machine.capability
    if capability is None:
        raise NotApplicable(f"{machine.name} computes without CUDA")
    if capability < (7, 0):
        number = capability[0] * 10 + capability[1]
        yield Finding(
            "cuda-arch-unsupported",
            Level.NOTE,
            f"{machine.name} has compute capability {_dotted(number)}: builds of torch for CUDA 12.8 and newer, the "
            "default from torch 2.8 on, hold no code for it",
            fix=Fix("See there that torch is a build for CUDA 12.6 or older.", command=_command(number)),
        )


RULE = Rule(
    slug="cuda-arch-unsupported",
    family="environment",
    title="This build has no code for the GPU",
    level=Level.ERROR,
    log=LogFacet(
        (
            "is not compatible with the current pytorch",
            "capability",
            "no kernel image",
            "no_binary_for_gpu",
            "kernel image is invalid",
            "unsupported gpu architecture",
        ),
        _examine_log,
        _probe,
    ),
    source=SourceFacet(("TORCH_CUDA_ARCH_LIST",), _examine_source),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("the first kernel fails before a step ends"),
    module=__name__,
)
