"""An environment variable that is meant for debugging is still set, and slows the run or takes its memory.

What happens
------------
Steps take two to ten times as long as they did, or memory runs out at a size that fitted; the code is the same.

Why
---
`CUDA_LAUNCH_BLOCKING=1` makes the processor wait for every kernel. `PYTORCH_NO_CUDA_MEMORY_CACHING=1` asks the driver
for every tensor. `TORCH_DISTRIBUTED_DEBUG=DETAIL` compares every collective on all ranks. `TORCHDYNAMO_DISABLE=1`
switches `torch.compile` off. `PYTORCH_MPS_HIGH_WATERMARK_RATIO=0.0` lifts the limit that keeps a Mac alive. They were
set to find an error and stayed in `.bashrc`, a notebook cell, a Dockerfile or a job script.

How to confirm
--------------
`env | grep -E "CUDA_LAUNCH|PYTORCH|TORCH"` in the shell that starts the run.

Fix
---
Unset it: `unset CUDA_LAUNCH_BLOCKING`, and take it out of the script that sets it. For one debugging run put it in
front of the command: `CUDA_LAUNCH_BLOCKING=1 python train.py`.

When it is something else
-------------------------
Slow steps without such a variable: `thread-oversubscription`, or a loader that cannot keep up.

Sources
-------
- PyTorch, environment variables for CUDA: https://docs.pytorch.org/docs/stable/cuda_environment_variables.html
- PyTorch, debugging distributed programs: https://docs.pytorch.org/docs/stable/distributed.html#debugging-torch-distributed-applications
- PyTorch, variables for MPS: https://docs.pytorch.org/docs/stable/mps_environment_variables.html
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.facts.environment import EnvironmentFacts
from snellen.core.facts.machine import MachineFacts
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_OFF = frozenset({"", "0", "false", "off", "no"})
_VARIABLES = {
    "CUDA_LAUNCH_BLOCKING": ("cuda", "the processor waits for every kernel"),
    "PYTORCH_NO_CUDA_MEMORY_CACHING": ("cuda", "every tensor is asked of the driver, which is many times slower"),
    "TORCH_DISTRIBUTED_DEBUG": ("cuda", "every collective is compared on all ranks"),
    "TORCHDYNAMO_DISABLE": ("", "torch.compile does nothing"),
    "PYTORCH_MPS_HIGH_WATERMARK_RATIO": ("mps", "nothing keeps the run from taking all memory of the machine"),
}
"""The accelerator that it concerns, and what it does there."""
_HARMLESS = frozenset({"OFF", "INFO"})


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    machine: MachineFacts = plan.fact("machine")
    environment: EnvironmentFacts = plan.fact("environment")
    for name, (accelerator, effect) in _VARIABLES.items():
        value = environment.variables.get(name)
        if value is None or accelerator not in ("", machine.accelerator):
            continue
        # A ratio of 0 is what lifts the limit; of the others 0 switches them off.
        on = _is_zero(value) if name.endswith("RATIO") else value.lower() not in _OFF and value not in _HARMLESS
        if on:
            yield Finding(
                "debug-variable-left-on",
                Level.WARNING,
                f"{name}={value} is set: {effect}",
                fix=Fix(f"`unset {name}`, unless this run is to find an error.", command=f"unset {name}"),
            )


def _is_zero(value: str) -> bool:
    try:
        return float(value) == 0
    except ValueError:
        return False


RULE = Rule(
    slug="debug-variable-left-on",
    family="environment",
    title="An environment variable for debugging is still set",
    level=Level.WARNING,
    log=absent("slowness leaves no line that tells its reason"),
    source=absent("variables that a script sets for itself are often meant"),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("a slow step does not tell what it waited for"),
    module=__name__,
)
