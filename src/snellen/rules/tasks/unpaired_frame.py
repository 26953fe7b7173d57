"""A blurred frame has no sharp partner, or a sharp one no blurred.

What happens
------------
A loader that pairs by name stops with `FileNotFoundError` in the middle of an epoch. One that sorts both folders and
pairs by position runs: from the missing frame on, every pair is off by one, the loss settles at the blur, and results
look like averages over time.

Why
---
An export lost frames at the end of a sequence, a video was cut on one side only, or a sharp frame was dropped by a
quality filter.

How to confirm
--------------
Compare the names of both sides of each sequence; equal counts are not enough.

Fix
---
Copy the missing frames again, or remove the odd ones on the other side. Pair by name, not by position.

When it is something else
-------------------------
Both sides complete and shifted against each other is `pair-shifted`. Streams of a spike camera beside one sharp frame
each are pairs of another kind and not judged here.

Sources
-------
- GoPro set, blur and sharp by equal names: https://seungjunnah.github.io/Datasets/gopro
- REDS, frames by sequence and number: https://seungjunnah.github.io/Datasets/reds
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.audits import file_evidence, listed, short
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_KINDS = {
    "image-without-partner": "has no sharp partner",
    "partner-without-image": "has no blurred partner",
    "image-without-spikes": "has no spike stream",
    "missing-folder": "lacks a folder of its sequence",
    "empty-folder": "is empty",
}


def _examine(plan: Plan) -> Iterator[Finding]:
    paired = [folder for folder in plan.fact("audit") if folder.layout == "frame-pairs" and folder.samples]
    if not paired:
        raise NotApplicable("no data folder pairs blurred with sharp frames")
    for folder in paired:
        stated = {
            path: _KINDS[problem.kind]
            for problem in folder.problems
            if problem.kind in _KINDS
            for path in problem.paths
        }
        found = list(stated.items())
        if not found:
            continue
        count = sum(problem.count for problem in folder.problems if problem.kind in _KINDS)
        path, text = found[0]
        yield Finding(
            "unpaired-frame",
            Level.ERROR,
            f"{folder.key}: {count} frames or folders lack their other half (of {len(folder.samples)} frames): "
            f"{short(path)} {text}",
            setting_place(plan, folder.key),
            file_evidence(found),
            Fix(f"Copy the missing halves again, or remove {listed([short(name) for name, _ in found])}."),
        )


RULE = Rule(
    slug="unpaired-frame",
    family="tasks",
    title="A frame lacks its blurred or sharp half",
    level=Level.ERROR,
    log=absent("a missing file has its own message, see `missing-file`"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("which files there are no step tells"),
    module=__name__,
)
