"""A network, or a training step, stops on the run's own images for a reason that no other rule knows.

What happens
------------
Before the run, images of the run's sizes are sent through its networks, and a whole training step with its loss and its
optimiser is gone through, on tensors that have shapes and no numbers. One of the two raised an error that none of the
other rules about shapes, types and devices recognises: an assertion of the network, an index out of range, a wrong
number of arguments, a key that is missing.

Why
---
Most such errors come in the first step of the real run as well, after the queue and the start. The finding names the
pass, its size, the innermost module that was entered and not left, and the message.

Tensors without numbers cannot do everything. An operator of a library of its own, `.numpy()`, or a data pointer that is
handed to other code stop such a pass, where real numbers would go through: that is why this is a warning.

How to confirm
--------------
`snellen check RUN.yaml --rehearse` takes two real steps on a few samples, validates, saves, resumes and predicts.
`snellen trace MODEL --input 2x3x224x224` shows the modules up to the one that stops.

Fix
---
Mend what the message names, in that module. If the rehearsal comes through, mute the finding in the run file with
`# snellen: ignore[forward-stops]`.

When it is something else
-------------------------
Errors with a pattern have rules of their own, which then speak instead: `patch-multiple`, `channel-mismatch`,
`spatial-mismatch`, `linear-shape`, `view-stride`, `dtype-mismatch`, `device-mismatch`, `batchnorm-single-value`.

Sources
-------
- The meta device of PyTorch, and what it cannot do: https://docs.pytorch.org/docs/stable/meta.html
- Fake tensors: https://docs.pytorch.org/docs/stable/torch.compiler_fake_tensor.html
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.finding import Finding, Fix, Level
from snellen.core.passes import UNKNOWN, passes_stopped_by
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    reason = ""
    try:
        yield from passes_stopped_by(UNKNOWN, plan)
        if any(flow.problem for flow in plan.fact("flow")):
            return  # the step stops for the same reason, which is told once
    except NotApplicable as answer:
        reason = str(answer)
    try:
        stopped: str = plan.fact("stopped_step")
    except NotApplicable as answer:
        if reason:
            raise NotApplicable(f"{reason}; of a whole step: {answer}") from answer
        return
    if stopped:
        place = setting_place(plan, "model")
        text = "Run it with real numbers: `snellen check RUN.yaml --rehearse` takes two steps on a few samples."
        yield Finding(UNKNOWN, Level.WARNING, stopped, place, fix=Fix(text))


RULE = Rule(
    slug="forward-stops",
    family="shapes",
    title="A network or a step stops for a reason that no other rule knows",
    level=Level.WARNING,
    log=absent("an error that no rule knows has no pattern to look for"),
    source=absent("what stops is known when the pass is made, not by its text"),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("the run itself stops there with its own message"),
    module=__name__,
)
