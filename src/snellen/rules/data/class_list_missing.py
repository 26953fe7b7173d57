"""Labels are numbers, and nothing says which class a number stands for.

What happens
------------
Training runs, and its report says that class 7 is bad. A head sized by the largest number seen is too small for a
class that happens not to occur in this part, and predictions of two runs cannot be compared.

Why
---
`classes.txt`, `data.yaml` or `obj.names` was not copied with the labels, or has another name than the loader looks
for.

How to confirm
--------------
`ls` beside the labels: is there a `classes.txt`, `obj.names` or `data.yaml` with `names:`?

Fix
---
Put the list of names back, one a line in the order of the numbers, or name it in the run file.

When it is something else
-------------------------
A list that is there and too short is `label-out-of-range`. Masks that hold 0 and 255 need no list.

Sources
-------
- Ultralytics, `names` of a data set: https://docs.ultralytics.com/datasets/detect/
- Darknet, `obj.names`: https://github.com/AlexeyAB/darknet#how-to-train-to-detect-your-custom-objects
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from snellen.core.audits import audited
from snellen.core.facts.data import FolderAudit
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_SETTINGS = ("classes", "class_names", "names", "num_classes")


def _examine(plan: Plan) -> Iterator[Finding]:
    numbered = [(folder, numbers) for folder in audited(plan) if (numbers := _numbers(folder))]
    if not numbered:
        raise NotApplicable("no data folder labels boxes by number")
    sections = [plan.settings, *(part for part in plan.settings.values() if isinstance(part, Mapping))]
    if any(section.get(name) for section in sections for name in _SETTINGS):
        return
    for folder, numbers in numbered:
        if folder.classes:
            continue
        yield Finding(
            "class-list-missing",
            Level.WARNING,
            f"{folder.key}: boxes carry the {len(numbers)} class numbers {numbers[0]} to {numbers[-1]}, "
            "and no list names them",
            setting_place(plan, folder.key),
            fix=Fix(
                f"Write classes.txt into {folder.path}, one name a line, at least {numbers[-1] + 1} lines, "
                "in the order of the numbers."
            ),
        )


def _numbers(folder: FolderAudit) -> list[int]:
    labels = {box.label for sample in folder.samples for box in sample.boxes or ()}
    return sorted(map(int, labels)) if labels and all(label.isdecimal() for label in labels) else []


RULE = Rule(
    slug="class-list-missing",
    family="data",
    title="Class numbers have no names",
    level=Level.WARNING,
    log=absent("a missing list of names raises nothing here"),
    source=absent("only the folder tells whether a list is there"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("names of classes are no part of a step"),
    module=__name__,
)
