"""torch.compile needs Triton, and it is not there or does not fit.

What happens
------------
`torch._inductor.exc.TritonMissing: Cannot find a working triton installation. Either the package is not installed or it
is too old`, wrapped in `BackendCompilerFailed: backend='inductor' raised`, in the first call of a compiled model on a
GPU. `ModuleNotFoundError: No module named 'triton'` from a library that brings its own kernels. A Triton of another
version reads `cannot import name 'triton_key' from 'triton.compiler.compiler'`. On Windows `pip install triton` finds
nothing: `No matching distribution found for triton`.

Why
---
For GPUs `torch.compile` writes its kernels in Triton. The Linux builds of PyTorch for CUDA require one exact version of
it and pip brings it along; the builds for Windows and macOS do not, and Triton's own project publishes none for them.
pip of another Python, an upgrade by another package and `--no-deps` break the pair.

How to confirm
--------------
`python -c "import torch, triton; print(torch.__version__, triton.__version__)"`, with the Python that runs the program.
`pip show torch` lists the Triton that it requires.

Fix
---
Linux: `pip install triton==3.2.0`, the version that torch requires (2.5 goes with 3.1, 2.6 with 3.2, 2.7 with 3.3, 2.8
with 3.4, 2.9 with 3.5). Windows: `pip install "triton-windows<3.3"` for torch 2.6, with the same pairs. Or do without:
leave `torch.compile` away, or `torch.compile(model, backend="aot_eager")`.

When it is something else
-------------------------
`A matching Triton is not available, some optimizations will not be enabled` is a remark of xformers and harmless.
`Found Tesla P100 which is too old to be supported by the triton GPU compiler` is `cuda-arch-unsupported`. `Failed to
find C compiler` means that Triton is there and `gcc` is not: `apt-get install -y build-essential`.

Sources
-------
- Triton, installation: https://triton-lang.org/main/getting-started/installation.html
- Triton for Windows, which version for which torch: https://github.com/woct0rdho/triton-windows
- torch.compile on Windows: https://docs.pytorch.org/tutorials/unstable/inductor_windows.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.facts.environment import CodeFacts
from snellen.core.facts.machine import MachineFacts
from snellen.core.finding import Finding, Fix, Level, Location
from snellen.core.known.wheels import Build, stated, triton_for
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message
from snellen.core.plan import Cost, NotApplicable, Plan
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, absent

__all__ = ["RULE"]

_MISSING = re.compile(
    r"Cannot find a working triton installation|TritonMissing\b|Triton (?:is )?not (?:found|installed)", re.IGNORECASE
)
_IMPORT = re.compile(r"No module named ['\"]?triton(?P<part>\.[\w.]{1,80})?['\"]?(?!\w)")
_NAME = re.compile(r"cannot import name ['\"](?P<name>\w{1,60})['\"] from ['\"]triton[\w.]{0,80}['\"]")
_PIP = re.compile(
    r"(?:satisfies the requirement|No matching distribution found for) (?P<wanted>(?:pytorch-)?triton\b\S{0,30})"
)
_COMPILER = re.compile(r"Failed to find C compiler\. Please specify via CC")
_REMARK = re.compile(r"A matching Triton is not available", re.IGNORECASE)
_WINDOWS = re.compile(r"Windows|\b[A-Z]:[\\/]|win_amd64|win32|\\Lib\\site-packages|\\lib\\site-packages")
_THERE = re.compile(
    r"triton(?:-windows)? is already installed|Requirement already satisfied: triton|^triton(?:-windows)?\s+\d",
    re.IGNORECASE,
)
_EMBEDDED = re.compile(r"(?P<python>(?<![\w:\\/.-])[\w:\\/.-]{0,200}python_embed\w{0,10})[\\/]", re.IGNORECASE)


def _examine(log: Log) -> LogMatch | None:
    for pattern, usual in ((_MISSING, 0.97), (_NAME, 0.88), (_IMPORT, 0.92), (_PIP, 0.9)):
        said = find_message(log, pattern)
        if said is None:
            continue
        score = _import_score(log, said, usual) if pattern is _IMPORT else usual
        return _match(log, said, score) if score else None
    if said := find_message(log, _COMPILER):
        cause = "Triton is installed and finds no C compiler, which it needs to build its launcher."
        fix = Fix("`apt-get install -y build-essential` (in a container: in the image), or set `CC` to the compiler.")
        return LogMatch(0.7, said.facts, cause, fix)
    return None


def _import_score(log: Log, said: Message, usual: float) -> float:
    """An import that somebody caught is a remark, not what ended the run."""
    if log.search(_REMARK.pattern):
        return 0.0
    later = any(said.error is not None and error.line > said.error.line for error in log.exceptions)
    return 0.7 if later else usual


def _match(log: Log, said: Message, score: float) -> LogMatch:
    torch, windows = stated(log, "torch"), any(_WINDOWS.search(line.text) for line in log.lines)
    wrong = said.match.re is _NAME or said.match.groupdict().get("part")
    there = next((line for line in log.lines if _THERE.search(line.text)), None)
    facts = (*said.facts, *((there.evidence,) if there else ()))
    if there is not None and not wrong:
        cause = (
            "Triton is installed, but into another Python than the one that runs, or in a version that does not work."
        )
        return LogMatch(score, facts, cause, _other_python(log, torch, windows=windows))
    if wrong:
        version = triton_for(torch) if torch else None
        cause = f"The Triton that is installed does not fit torch{f' {torch.text}' if torch else ''}."
        return LogMatch(score, facts, cause, _install(torch, windows=windows, again=True, version=version))
    where = "on Windows, for which Triton's project publishes no package" if windows else "in the Python that runs"
    what = (
        "torch.compile writes its GPU kernels in Triton" if said.match.re is not _IMPORT else "What runs needs Triton"
    )
    return LogMatch(score, facts, f"{what}, which is not installed {where}.", _install(torch, windows=windows))


def _other_python(log: Log, torch: Build | None, *, windows: bool) -> Fix:
    found = next((match for line in log.lines if (match := _EMBEDDED.search(line.text))), None)
    python = f"{found['python']}\\python.exe" if found else "python"
    package = _package(torch, windows=windows)
    command = f"{python} -m pip install --force-reinstall {package}"
    return Fix(f"Install it with the Python that runs the program: `{command}`.", command=command)


def _package(torch: Build | None, *, windows: bool) -> str:
    version = triton_for(torch) if torch else None
    if windows:
        following = _following(version)
        return f'"triton-windows<{following}"' if following else "triton-windows"
    return f"triton=={version}" if version else "triton"


def _following(version: str | None) -> str | None:
    """`3.2` for 3.1.0; Triton for Windows begins with 3.1."""
    build = Build.read(version) if version else None
    if build is None or build.release < (3, 0, 0):
        return None
    return f"{build.release[0]}.{max(build.release[1], 1) + 1}"


def _install(torch: Build | None, *, windows: bool, again: bool = False, version: str | None = None) -> Fix:
    command = f"pip install {'--force-reinstall ' if again else ''}{_package(torch, windows=windows)}"
    if windows and torch is not None and torch.final and torch.release < (2, 4, 0):
        text = f"Triton for Windows begins with torch 2.4, and this is {torch.text}: upgrade torch and `pip install"
        return Fix(f"{text} triton-windows`, or leave `torch.compile` away.")
    right = f" (torch {torch.text} requires {version})" if torch and version else ""
    return Fix(f"`{command}`{right}, or leave `torch.compile` away.", command=command)


def _probe(_log: Log, here: Here) -> Answer:
    torch, triton = here.version("torch"), here.version("triton") or here.version("triton-windows")
    build = Build.read(torch or "")
    if torch is None or build is None:
        return Answer(Outcome.CANNOT_TELL, "torch is not installed here")
    if triton is None:
        return Answer(Outcome.CONFIRMED, f"torch {torch} is here, Triton is not")
    needed, ran = triton_for(build), here.python("import triton; print('loaded', triton.__version__)")
    if "loaded" not in ran.output:
        return Answer(Outcome.CONFIRMED, f"Triton {triton} is installed and cannot be imported")
    if needed and triton.split(".")[:2] != needed.split(".")[:2]:
        return Answer(Outcome.CONFIRMED, f"Triton {triton} is here; torch {torch} goes with {needed}")
    return Answer(Outcome.REFUTED, f"torch {torch} and Triton {triton} are here, and Triton can be imported")


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    code: CodeFacts = plan.fact("code")
    machine: MachineFacts = plan.fact("machine")
    packages = plan.fact("environment").packages
    torch = Build.read(packages.get("torch", ""))
    if not code.compiles:
        raise NotApplicable("the run's code does not call torch.compile")
    if machine.accelerator != "cuda" or torch is None:
        raise NotApplicable("torch.compile needs Triton on an NVIDIA GPU only")
    windows = machine.system.startswith("Windows")
    triton, needed = packages.get("triton") or packages.get("triton-windows"), triton_for(torch)
    path, line = code.compiles[0]
    if triton is None:
        message = "the run's code calls torch.compile, and Triton is not installed"
    elif needed and triton.split(".")[:2] != needed.split(".")[:2]:
        message = f"the run's code calls torch.compile: torch {torch.text} goes with Triton {needed}, here is {triton}"
    else:
        return
    fix = _install(torch, windows=windows, again=triton is not None, version=needed)
    yield Finding("triton-missing", Level.ERROR, message, Location(path, line), fix=fix)


RULE = Rule(
    slug="triton-missing",
    family="compile",
    title="Triton is not installed, or does not fit",
    level=Level.ERROR,
    log=LogFacet(("triton", "failed to find c compiler"), _examine, _probe),
    source=absent("whether Triton is there is a fact of the machine and not of the source"),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("kernels are compiled in the first step, before it ends"),
    module=__name__,
)
