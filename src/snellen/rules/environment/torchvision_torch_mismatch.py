"""The torchvision that is installed was built for another PyTorch.

What happens
------------
`RuntimeError: operator torchvision::nms does not exist` as soon as torchvision is imported, or `Couldn't load custom
C++ ops` in the first `nms` or `roi_align`. Older versions print `No such operator torchvision::nms` or an
`ImportError: .../torchvision/_C.so: undefined symbol`; from then on everything that imports torchvision fails, too:
`partially initialized module 'torchvision' has no attribute 'extension'`.

Why
---
torchvision's operators are compiled against one release of PyTorch and load only with that one. `pip install
torch==...` alone in an environment that holds another torchvision (Colab, Kaggle, a container), an upgrade of one of
the two, or a copy in the user's folder that is found before the environment's own tears the pair apart. A CPU build
of one with a CUDA build of the other does the same.

How to confirm
--------------
`python -c "import torch; print(torch.__version__, torch.__file__)"` and `pip show torchvision`. The pair is right when
torch 2.x.z goes with torchvision 0.(x+15).z, torch 1.x with 0.(x+1), and both have the same `+cu...`. `pip check`
names the conflict as well.

Fix
---
Install both in one command, so that pip solves for the pair: `pip install torch==2.6.0 torchvision==0.21.0`, with the
same `--index-url` for both. In a notebook restart the kernel afterwards.

| torch | 2.8 | 2.7 | 2.6 | 2.5 | 2.4 | 2.3 | 2.2 | 2.1 | 2.0 | 1.13 | 1.12 | 1.11 | 1.10 | 1.9 | 1.8 |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
| torchvision | 0.23 | 0.22 | 0.21 | 0.20 | 0.19 | 0.18 | 0.17 | 0.16 | 0.15 | 0.14 | 0.13 | 0.12 | 0.11 | 0.10 | 0.9 |

When it is something else
-------------------------
An undefined symbol in the library of another package (detectron2, mmcv, flash_attn) means that that package has to be
built again for this torch. `Could not load image extension` alone is a warning about `torchvision.io` and harmless for
programs that read images with PIL or OpenCV. A torch without CUDA is `cpu-only-torch`.

Sources
-------
- torchvision, which version goes with which torch: https://github.com/pytorch/vision#installation
- Commands for every earlier pair: https://pytorch.org/get-started/previous-versions/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.requirements import Installation, Requirement, installations
from snellen.core.facts.environment import EnvironmentFacts
from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level
from snellen.core.known.wheels import Build, install, stated, torch_for, torchvision_for
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message
from snellen.core.plan import Cost, NotApplicable, Plan
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile

__all__ = ["RULE"]

_SAID = (
    (0.97, r"Couldn't load custom C\+\+ ops|operator torchvision::\w+ does not exist|No such operator torchvision::"),
    (0.97, r"PyTorch and torchvision were compiled with different CUDA"),
    (0.96, r"Could not run 'torchvision::\w+' with arguments from the 'CUDA"),
    (
        0.96,
        r"'_?OpNamespace' (?:object|'torchvision' object) has no attribute|namespace 'torchvision' has no attribute",
    ),
    (0.95, r"partially initialized module 'torchvision' has no attribute 'extension'"),
    (0.95, r"torchvision[/\\]_C[^\s:]{0,60}: (?:undefined symbol|Symbol not found)"),
    (
        0.95,
        r"(?:ImportError|OSError): [^\n]{0,300}torchvision[/\\]image[^\s:]{0,60}: (?:undefined symbol|Symbol not)",
    ),
    (0.93, r"torchvision==\S{1,30} is incompatible with torch=="),
    (0.9, r"object has no attribute '?(?:nms|roi_align|_cuda_version)\b"),
    (0.9, r"cannot import name '_C' from '?(?:partially initialized module )?'?torchvision"),
    (0.9, r"(?:libtorch|libc10)\w{0,20}\.(?:so|dylib)[^\n]{0,80}cannot open shared object file"),
    (0.9, r"DLL load failed while importing _C|torchvision[/\\]_C[^\s:]{0,60}: cannot"),
    (0.8, r"\btorchvision \S{1,60} requires torch==\S{1,60}, but you have torch"),
    (
        0.65,
        r"Failed to load image Python extension:[^\n]{0,400}(?:undefined symbol|Symbol not found|procedure could not)",
    ),
)
_MESSAGES = tuple((score, re.compile(text, re.IGNORECASE)) for score, text in _SAID)
_NEEDS_VISION = 0.9
"""Messages at this score name no package: torchvision has to be in the traceback."""
_CUDA_PAIR = re.compile(
    r"PyTorch has CUDA Version=(?P<torch>[\d.]+) and torchvision has CUDA Version=(?P<vision>[\d.]+)"
)
_PLACE = re.compile(r"^(?P<folder>.*?[/\\](?:site|dist)-packages)[/\\](?P<package>torch|torchvision)[/\\]")


def _examine_log(log: Log) -> LogMatch | None:
    for score, pattern in _MESSAGES:
        said = find_message(log, pattern)
        if said is None or (score == _NEEDS_VISION and "torchvision" not in _told(said)):
            continue
        # What pip says and what torchvision warns of comes before many an error that has another cause.
        if score < _NEEDS_VISION and log.exceptions:
            continue
        facts, cause, fix = _explained(log, said)
        return LogMatch(score, facts, cause, fix)
    return None


def _told(said: Message) -> str:
    paths = " ".join(frame.path for frame in said.error.frames) if said.error else ""
    return f"{said.evidence.text} {paths}"


def _explained(log: Log, said: Message) -> tuple[tuple[Evidence, ...], str, Fix]:
    torch, vision = stated(log, "torch"), stated(log, "torchvision")
    folders = _folders(said)
    if len(folders) == 2:
        cause = f"torch comes from {folders['torch']}, torchvision from {folders['torchvision']}: two installations."
        text = "Remove the copy that is not this environment's, or start Python with `PYTHONNOUSERSITE=1`; then"
        return said.facts, cause, Fix(f"{text} `{_pair(torch, vision)}`.")
    pair = _CUDA_PAIR.search(said.evidence.text)
    if pair:
        cause = f"torch is built for CUDA {pair['torch']}, torchvision for CUDA {pair['vision']}."
        tag = f"cu{pair['torch'].replace('.', '')}"
        if torch is None:
            command = f"pip install --force-reinstall torchvision --index-url https://download.pytorch.org/whl/{tag}"
            return said.facts, cause, Fix(f"Install the torchvision for that CUDA: `{command}`.", command=command)
        torch = torch if torch.local else Build.read(f"{torch.base}+{tag}")
    elif "'CUDA" in said.evidence.text:
        cause = "torchvision is a build without CUDA, or for another torch: its operators have no code for the GPU."
    else:
        cause = _mismatch(torch, vision)
    command = _pair(torch, vision)
    return said.facts, cause, Fix(f"`{command}`, then restart Python.", command=command)


def _folders(said: Message) -> dict[str, str]:
    """Where torch and torchvision were loaded from, when that is not one place."""
    found: dict[str, str] = {}
    for frame in said.error.frames if said.error else ():
        if place := _PLACE.match(frame.path):
            found.setdefault(place["package"], place["folder"])
    return found if len(set(found.values())) == 2 else {}


def _mismatch(torch: Build | None, vision: Build | None) -> str:
    right = torchvision_for(torch) if torch else None
    if torch and vision and right:
        if right.rpartition(".")[0] == vision.base.rpartition(".")[0] and vision.local != torch.local:
            return f"torch {torch.text} and torchvision {vision.text} are builds for different machines."
        if vision.base == right:
            return f"torchvision {vision.text} belongs to torch {torch.base}, but its compiled part does not load."
        return (
            f"torchvision {vision.text} was built for torch {torch_for(vision) or 'of its own'}; torch is {torch.text}."
        )
    if torch and right:
        return f"torch is {torch.text}, which goes with torchvision {right}; another one is installed."
    if vision and torch_for(vision):
        return f"torchvision {vision.text} was built for torch {torch_for(vision)}; another one is installed."
    return "torchvision's compiled operators do not load with the torch that is installed: they were built for another."


def _pair(torch: Build | None, vision: Build | None) -> str:
    if torch is not None and torchvision_for(torch):
        return install(torch, "torchvision").replace("pip install", "pip install --force-reinstall --no-deps", 1)
    wanted = Build.read(torch_for(vision) or "") if vision else None
    if wanted is not None:
        return install(wanted)
    return "pip install --upgrade --force-reinstall torch torchvision"


def _probe(_log: Log, here: Here) -> Answer:
    torch, vision = Build.read(here.version("torch") or ""), Build.read(here.version("torchvision") or "")
    if torch is None or vision is None:
        return Answer(Outcome.CANNOT_TELL, "torch and torchvision are not both installed here")
    right, pair = torchvision_for(torch), f"torch {torch.text}, torchvision {vision.text}"
    ran = here.python("import torch, torchvision; torch.ops.torchvision.nms; print('loaded', torchvision.__version__)")
    if ran.code == 0 and "loaded" in ran.output:
        return Answer(Outcome.REFUTED, f"{pair}: torchvision's operators load here")
    if right is not None and right != vision.base:
        return Answer(Outcome.CONFIRMED, f"{pair}; torch {torch.base} goes with torchvision {right}")
    if ran.code is None:
        return Answer(Outcome.CANNOT_TELL, f"{pair}: importing them did not end in time")
    return Answer(Outcome.CONFIRMED, f"{pair}: its operators do not load here")


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    found = list(installations(file))
    together = [command for command in found if _pinned([command], _TORCH) and _pinned([command], _VISION)]
    # A command that names both is judged alone; else what is installed last counts.
    for commands in [[command] for command in together] or [found]:
        torch, vision = _pinned(commands, _TORCH), _pinned(commands, _VISION)
        build = Build.read(torch[1].version or "") if torch else None
        right = torchvision_for(build) if build else None
        if torch is None or build is None or right is None:
            continue
        if vision is not None:
            yield from _wrong_pair(file, build, right, vision)
        elif file.is_notebook and torch[0].tool == "pip" and _uses_torchvision(file) and not _named(found, _VISION):
            message = (
                f"installs torch {build.base} alone: the torchvision that is there stays, and was built for another"
            )
            fix = Fix(f"Add `torchvision=={right}` to the same command, and restart the kernel after it.")
            yield Hit(message, torch[0].span, fix, level=Level.WARNING)


_TORCH, _VISION = ("torch", "pytorch"), ("torchvision",)


def _named(found: list[Installation], names: tuple[str, ...]) -> list[tuple[Installation, Requirement]]:
    return [(command, item) for command in found for item in command.requirements if item.name in names]


def _pinned(found: list[Installation], names: tuple[str, ...]) -> tuple[Installation, Requirement] | None:
    """The last one that asks for one version, unless a later one takes any."""
    last = _named(found, names)[-1:]
    return last[0] if last and last[0][1].version is not None else None


def _wrong_pair(file: SourceFile, torch: Build, right: str, vision: tuple[Installation, Requirement]) -> Iterator[Hit]:
    command, item = vision
    asked = Build.read(item.version or "")
    # `pytorch=1.10` of conda leaves the last part open.
    if asked is None or asked.release[:2] == tuple(map(int, right.split(".")[:2])):
        return
    message = f"torchvision {asked.base} was built for torch {torch_for(asked) or 'another'}, not for {torch.base}"
    new = item.code.replace(asked.base, right)
    fix = Fix(
        f"Write `{new}`.",
        FixSafety.UNSAFE,
        "it could be the torch that is the wrong one of the two",
        edits=command.edits(file, item, new),
    )
    yield Hit(message, item.span, fix)


def _uses_torchvision(file: SourceFile) -> bool:
    return any(item.module.partition(".")[0] == "torchvision" for item in file.imported)


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    environment: EnvironmentFacts = plan.fact("environment")
    torch, vision = (Build.read(environment.packages.get(name, "")) for name in ("torch", "torchvision"))
    if torch is None or vision is None:
        raise NotApplicable("torch and torchvision are not both installed")
    right = torchvision_for(torch)
    if right is None:
        raise NotApplicable(f"which torchvision belongs to torch {torch.text} is not known")
    command = install(torch, "torchvision")
    if vision.release[:2] != tuple(map(int, right.split(".")[:2])):
        other = torch_for(vision)
        yield Finding(
            "torchvision-torch-mismatch",
            Level.ERROR,
            f"torchvision {vision.text} is installed, which belongs to torch {other or 'of another release'}; "
            f"torch {torch.text} goes with {right}",
            fix=Fix(f"`{command}`", command=command),
        )
    elif _other_flavour(torch, vision):
        yield Finding(
            "torchvision-torch-mismatch",
            Level.ERROR,
            f"torch {torch.text} and torchvision {vision.text} are builds for different devices: "
            "torchvision's own operators fail on the device that it was not built for",
            fix=Fix(f"`{command}`", command=f"{command} --force-reinstall"),
        )


def _other_flavour(torch: Build, vision: Build) -> bool:
    """Whether both say what they were built for, and it is another device or another major version of CUDA."""
    if not torch.local or not vision.local:
        return False
    if torch.cuda and vision.cuda:
        return torch.cuda[0] != vision.cuda[0]
    return torch.local != vision.local


RULE = Rule(
    slug="torchvision-torch-mismatch",
    family="environment",
    title="torchvision and PyTorch do not belong together",
    level=Level.ERROR,
    log=LogFacet(
        (
            "torchvision",
            "custom c++ ops",
        ),
        _examine_log,
        _probe,
    ),
    source=SourceFacet(("torchvision", "torch==", "pytorch"), _examine_source),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("torchvision is loaded before the first step"),
    module=__name__,
)
