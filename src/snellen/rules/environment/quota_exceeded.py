"""The run takes longer than the session or the week of hours that there is.

What happens
------------
A notebook service ends the session in the middle of an epoch: `Your notebook tried to use more than the allowed run
time`, `Session has ended because the weekly GPU quota is exhausted`; a cluster writes `DUE TO TIME LIMIT`. Without a
checkpoint outside of the session, everything since its start is lost.

Why
---
Kaggle gives 30 hours of GPU a week and ends a session after 12; Colab ends free ones after at most 12, earlier when
demand is high; a cluster ends a job at its time limit. The hours of a run are the steps of all epochs times the time of
a step, evaluations on top, and one epoch seldom shows what fifty cost.

How to confirm
--------------
`snellen estimate RUN.yaml --machine NAME` prints steps, seconds a step and hours; `--calibrate` times real steps on the
machine where it is called. On a cluster `squeue -o %L -j JOB` says how much time is left.

Fix
---
Fewer epochs, or a run in several sessions: checkpoints to a place that stays, and `snellen resume DIR` in the next one.
Half precision where the hardware has it. If the wait for data is the longest part, more loader processes or smaller
images on disk.

When it is something else
-------------------------
A session that ends while nobody looks at the page is the service's idle limit, whatever the run takes. A job that is
killed within minutes is rather out of memory: `host-oom`. Time that grows from step to step is a leak or a full disk.

Sources
-------
- Kaggle, notebooks, technical specifications: https://www.kaggle.com/docs/notebooks
- Colab, frequently asked questions: https://research.google.com/colaboratory/faq.html
- Williams, Waterman, Patterson, Roofline, Communications of the ACM 52(4), 2009: https://doi.org/10.1145/1498765.1498785
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.facts.duration import DurationFacts
from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    facts: DurationFacts = plan.fact("duration")
    limits = [
        (hours, what)
        for hours, what in ((facts.session_hours, "a session"), (facts.weekly_hours, "the quota of a week"))
        if hours is not None
    ]
    if not limits:
        raise NotApplicable(f"nobody ends a run on {facts.machine} after some hours, as far as is known")
    exceeded = [(hours, what) for hours, what in limits if facts.hours[1] > hours]
    if not exceeded:
        return
    # The largest limit that is surely exceeded says most; else the smallest that may be.
    surely = [limit for limit in exceeded if facts.hours[0] > limit[0]]
    hours, what = max(surely) if surely else min(exceeded)
    low, high = facts.hours
    takes = f"at least {low:.1f} hours" if surely else f"{low:.1f} to {high:.1f} hours"
    yield Finding(
        "quota-exceeded",
        Level.ERROR if surely else Level.WARNING,
        f"{facts.epochs} epochs take {takes} on {facts.machine}, and {what} has {hours:g}",
        setting_place(plan, "optim.epochs"),
        (
            Evidence(f"{facts.steps} steps of {facts.step[0]:.3f} to {facts.step[1]:.3f} s; most is {facts.bound}"),
            *(Evidence(f"assumed: {assumption}") for assumption in facts.assumptions),
            *(Evidence(f"not counted: {missing}") for missing in facts.unknown),
        ),
        _fix(facts, hours),
    )


def _fix(facts: DurationFacts, hours: float) -> Fix:
    epochs = int(facts.epochs * hours / facts.hours[1])
    again = "or go on in the next session: keep the run's folder where it stays, and `snellen resume DIR`"
    if epochs < 1:
        return Fix(f"Not even one epoch surely fits: use fewer images or a faster machine, {again}.")
    reason = "fewer epochs are another training"
    text = f"Write optim.epochs: {epochs}, {again}."
    return Fix(text, FixSafety.UNSAFE, reason, settings=(("optim.epochs", epochs),))


RULE = Rule(
    slug="quota-exceeded",
    family="environment",
    title="The run takes longer than the machine may be used",
    level=Level.ERROR,
    log=absent("services end the session without a line in the run's log"),
    source=absent("how long code takes does not show in the code"),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("a step does not know when its session will be ended"),
    module=__name__,
)
