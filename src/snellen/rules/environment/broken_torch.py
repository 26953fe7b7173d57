"""The installation of PyTorch is not whole: files are missing, or belong to two versions.

What happens
------------
`import torch` fails with a missing file or symbol, `ModuleNotFoundError: No module named 'torch._C'`,
`AttributeError: module 'torch' has no attribute ...`, or `libcudnn.so.9: cannot open shared object file`; pip warns
`Ignoring invalid distribution ~orch`.

Why
---
An installation was broken off (the disk was full, the kernel restarted, two pips ran at once), or a second tool
(conda beside pip, a copy of a system package) put its files over the first one's. The builds from the package index
bring CUDA's libraries as packages of their own; `--no-deps`, or removing one to save space, leaves torch without
them.

How to confirm
--------------
`python -c "import torch; torch.ones(2).sum()"` with the Python that `snellen doctor` names. `snellen doctor --torch`
computes on every device. `pip check` lists what does not fit.

Fix
---
Install it again, whole: `pip install --force-reinstall torch torchvision` with the index address of your build; if
that does not help, make the environment anew. Delete folders that begin with `~` in site-packages.

When it is something else
-------------------------
A whole torch without CUDA is `cpu-only-torch`; one that is too new for the driver is `cuda-driver-too-old`; one whose
torchvision belongs to another release is `torchvision-torch-mismatch`.

Sources
-------
- pip check: https://pip.pypa.io/en/stable/cli/pip_check/
- PyTorch, the command for each platform: https://pytorch.org/get-started/locally/
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.facts.environment import EnvironmentFacts
from snellen.core.finding import Finding, Fix, Level
from snellen.core.known.wheels import Build, install
from snellen.core.plan import Cost, NotApplicable, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    environment: EnvironmentFacts = plan.fact("environment")
    problem = environment.torch_problem
    if "torch" not in environment.packages and "~" not in problem:
        raise NotApplicable("torch is not installed, which is told by missing-extra")
    if not problem:
        return
    build = Build.read(environment.packages.get("torch", ""))
    command = install(build) if build is not None else "pip install torch torchvision"
    command = command.replace("pip install", "pip install --force-reinstall", 1)
    fix = Fix(f"Install it again, whole: `{command}`", command=command)
    yield Finding("broken-torch", Level.ERROR, f"torch cannot be used as it lies here: {problem}", fix=fix)


RULE = Rule(
    slug="broken-torch",
    family="environment",
    title="The installation of torch is not whole",
    level=Level.ERROR,
    log=absent("the file that is missing is told apart by missing-package, numpy-abi and their neighbours"),
    source=absent("what is installed is no matter of source"),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("torch is imported before the first step"),
    module=__name__,
)
