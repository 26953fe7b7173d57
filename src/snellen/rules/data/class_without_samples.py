"""A declared class has no sample.

What happens
------------
torchvision's `ImageFolder` stops with `FileNotFoundError: Found no valid file for the classes`. A loader with a list
of its own runs: the head has an output that is never right, its metric is NaN or 0, and the mean over classes sinks.

Why
---
An upload ended early, the samples were moved while splitting, or the list names a class under another spelling than
the labels.

How to confirm
--------------
Count samples by class and compare with the list of classes.

Fix
---
Add samples of that class, or take it off the list and make the head smaller. Renumber the classes behind it.

When it is something else
-------------------------
A long list and few samples (COCO's 80 classes in 30 images) says little: nothing is reported with fewer than ten
samples for each declared class. Classes that are missing in training only are `class-only-in-validation`.

Sources
-------
- torchvision, `ImageFolder` and `allow_empty`:
  https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.ImageFolder.html
- torchmetrics, mean over classes without samples:
  https://lightning.ai/docs/torchmetrics/stable/classification/accuracy.html
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.audits import listed, share
from snellen.core.classes_of import class_counts, folded
from snellen.core.facts.data import FolderAudit
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_SAMPLES_A_CLASS = 10
"""Fewer samples than that for each declared class say nothing about a class that does not occur."""


def _examine(plan: Plan) -> Iterator[Finding]:
    declared = False
    for folder in plan.fact("audit"):
        if not folder.classes:
            continue
        declared = True
        counts = class_counts(folder)
        seen = {folded(name) for name in counts} or _marked(folder)
        missing = [name for name in folder.classes if name and folded(name) not in seen]
        by_folder = any(problem.kind == "empty-folder" for problem in folder.problems)
        total = sum(counts.values()) or len(folder.masks)
        if not missing or not seen:
            continue
        if not by_folder and total < _SAMPLES_A_CLASS * len(folder.classes):
            continue
        yield Finding(
            "class-without-samples",
            Level.ERROR if by_folder else Level.WARNING,
            f"{folder.key}: {share(len(missing), len(folder.classes))} declared classes have no sample: "
            f"{listed(missing, 6)}" + (f" ({folder.classes_from} declares them)" if folder.classes_from else ""),
            setting_place(plan, folder.key),
            fix=Fix(f"Add samples of {listed(missing, 6)}, or take the name off the list and renumber the others."),
        )
    if not declared:
        raise NotApplicable("nothing declares classes")


def _marked(folder: FolderAudit) -> set[str]:
    """Classes that occur as numbers in masks; empty where the masks hold something else."""
    values = {value for mask in folder.masks.values() if not mask.colour for value, _ in mask.values}
    if not values or max(values - {255}, default=0) >= len(folder.classes):
        return set()
    return {folded(folder.classes[value]) for value in values if value < len(folder.classes)}


RULE = Rule(
    slug="class-without-samples",
    family="data",
    title="A declared class has no sample",
    level=Level.WARNING,
    log=absent("the message of `ImageFolder` is `empty-dataset`"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("which files there are no step tells"),
    module=__name__,
)
