"""The libraries that training and prediction need are not installed beside this tool.

What happens
------------
`snellen explain`, `lint` and `doctor` work; `train`, `predict` and most checks stop with `torch is not installed` (or
timm, torchvision, OpenCV ...). `pip install snellen` alone gives the light part, which needs no torch.

Why
---
The tool that explains a broken environment has to run in it, so torch and its companions are an extra. In an
environment that was made for a project, its own torch is there and some of the others are missing.

How to confirm
--------------
`pip list | grep -i -E "torch|timm|lightning"` with the Python that runs `snellen`; `snellen doctor` prints which
Python that is.

Fix
---
`pip install 'snellen[vision]'`. Where torch is there already and must stay as it is, install only what is named:
`pip install --no-deps timm`, for example.

When it is something else
-------------------------
A package that your own code imports is `missing-package`. A torch that is there and cannot be loaded is
`broken-torch`.

Sources
-------
- pip, extras: https://pip.pypa.io/en/stable/cli/pip_install/
- PyTorch, the command for each platform: https://pytorch.org/get-started/locally/
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.facts.environment import EnvironmentFacts
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_NEEDED = ("torch", "torchvision", "timm", "lightning-fabric", "numpy", "pillow", "safetensors")
_OPENCV = frozenset({"opencv-python", "opencv-python-headless", "opencv-contrib-python"})


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    environment: EnvironmentFacts = plan.fact("environment")
    missing = [name for name in _NEEDED if name not in environment.packages]
    if not _OPENCV & set(environment.packages):
        missing.append("opencv-python-headless")
    if missing:
        fix = Fix("Install what training and prediction need.", command="pip install 'snellen[vision]'")
        yield Finding("missing-extra", Level.ERROR, f"not installed: {', '.join(missing)}", fix=fix)


RULE = Rule(
    slug="missing-extra",
    family="environment",
    title="What training and prediction need is not installed",
    level=Level.ERROR,
    log=absent("a log of this tool names the missing package itself: missing-package"),
    source=absent("what is installed is no matter of source"),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("a run that has begun has what it needs"),
    module=__name__,
)
