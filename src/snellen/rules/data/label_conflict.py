"""The same image carries two different labels.

What happens
------------
Nothing fails. The loss cannot fall below what the contradiction costs; the network learns to say half and half, and
whichever copy is in validation is counted as an error half of the time.

Why
---
Two people labelled the same picture, a file was copied while sorting and not moved, a download held it under two
search terms.

How to confirm
--------------
The finding names both files; look at one of them and decide.

Fix
---
Keep the right label and remove the other copy.

When it is something else
-------------------------
An image that truly shows both classes needs several labels for each image, not two copies. Copies under one label are
duplicates, on two sides of a split `duplicate-across-splits`.

Sources
-------
- Northcutt et al., Pervasive label errors in test sets destabilize machine learning benchmarks:
  https://arxiv.org/abs/2103.14749
- cleanlab, issues with labels: https://docs.cleanlab.ai/stable/cleanlab/datalab/guide/issue_type_description.html
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.audits import audited, file_evidence, listed, short
from snellen.core.classes_of import folded, label_of_number
from snellen.core.facts.data import FolderAudit
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_EXACT = ("same-file", "same-pixels")
"""Only equal pixels count: images that look nearly the same may differ in what decides the class."""


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = audited(plan)
    labels = {
        sample.image: (label_of_number(sample.label, folder.classes), folder)
        for folder in folders
        for sample in folder.samples
        if sample.label is not None
    }
    torn = any(problem.kind == "contradicting-rows" for folder in folders for problem in folder.problems)
    if len({label for label, _ in labels.values()}) < 2 and not torn:
        raise NotApplicable("no data folder labels whole images with two classes")
    for folder in folders:
        yield from _torn(plan, folder)
    found = [
        twin
        for twin in plan.fact("twins")
        if twin.kind in _EXACT
        and twin.one in labels
        and twin.other in labels
        and folded(labels[twin.one][0]) != folded(labels[twin.other][0])
    ]
    if not found:
        return
    first = found[0]
    folder = labels[first.one][1]
    told = [
        f"{short(twin.one)} is {labels[twin.one][0]}, {short(twin.other)} is {labels[twin.other][0]}" for twin in found
    ]
    yield Finding(
        "label-conflict",
        Level.ERROR,
        f"{folder.key}: {len(found)} {'image stands' if len(found) == 1 else 'images stand'} under two labels "
        f"(of {len(labels)} labelled): {told[0]}, and they are the same picture",
        setting_place(plan, folder.key),
        file_evidence((twin.one, text) for twin, text in zip(found, told, strict=True)),
        Fix(
            "Look at each, keep the right label, and remove the other copy: "
            f"{listed([short(twin.other) for twin in found])} or its twin."
        ),
    )


def _torn(plan: Plan, folder: FolderAudit) -> Iterator[Finding]:
    """Rows of a table that give one file two labels."""
    for problem in folder.problems:
        if problem.kind == "contradicting-rows":
            evidence = file_evidence((path, "is listed with different classes") for path in problem.paths)
            fix = Fix(f"Keep the right row of each: {listed([short(path) for path in problem.paths])}.")
            yield Finding(
                "label-conflict",
                Level.ERROR,
                f"{folder.key}: {problem.message}",
                setting_place(plan, folder.key),
                evidence,
                fix,
            )


RULE = Rule(
    slug="label-conflict",
    family="data",
    title="One image has two labels",
    level=Level.ERROR,
    log=absent("a contradiction raises nothing and prints nothing"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("which files there are no step tells"),
    module=__name__,
)
