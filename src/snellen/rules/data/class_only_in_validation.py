"""A class occurs in validation or test and never in training.

What happens
------------
The model cannot learn it: every sample of it is counted as an error, and the score has a ceiling that no training
lifts. With class numbers made from the folders of each split, all numbers behind it are shifted, and the score is near
chance.

Why
---
The split was made file by file and not by class, a rare class fell on one side, or a folder was renamed in one split
only.

How to confirm
--------------
`set(val_labels) - set(train_labels)` must be empty.

Fix
---
Move some of its samples to training (`train_test_split(..., stratify=labels)`), or take the class out of validation.

When it is something else
-------------------------
In few-shot work the classes of both sides are meant to differ: where no class occurs on both sides, nothing is
reported; nor for boxes with fewer than ten training images a class. Names that differ only in case are
`class-name-variants`.

Sources
-------
- scikit-learn, `stratify`:
  https://scikit-learn.org/stable/modules/generated/sklearn.model_selection.train_test_split.html
- torchvision, `ImageFolder` numbers the folders it finds:
  https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.ImageFolder.html
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.audits import audited, listed, share
from snellen.core.classes_of import class_counts, folded, hidden
from snellen.core.finding import Evidence, Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_IMAGES_A_CLASS = 10
"""Boxes of rare classes fall on one side by chance: with fewer training images for each class nothing is said."""


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = audited(plan)
    train = [folder for folder in folders if folder.split == "train"]
    others = [folder for folder in folders if folder.split in ("val", "test") and class_counts(folder)]
    learned = {folded(name) for folder in train for name in class_counts(folder)}
    if not learned or not others:
        raise NotApplicable("the run does not name labelled data for both training and validation")
    for folder in others:
        counts = class_counts(folder)
        unknown = sorted(
            name for name in counts if folded(name) not in learned and not any(hidden(one, name) for one in train)
        )
        if not unknown or len(unknown) == len(counts):
            continue
        boxes = all(sample.label is None for sample in folder.samples)
        if boxes and sum(len(one.samples) for one in train) < _IMAGES_A_CLASS * len(learned):
            continue
        samples = sum(counts[name] for name in unknown)
        yield Finding(
            "class-only-in-validation",
            Level.ERROR,
            f"{folder.key}: {share(len(unknown), len(counts))} classes with {samples} samples never occur in "
            f"{train[0].key}: {listed(unknown, 6)}",
            setting_place(plan, folder.key),
            tuple(Evidence(f"{name}: {counts[name]} in {folder.key}, 0 in {train[0].key}") for name in unknown[:20]),
            Fix(f"Move samples of {listed(unknown, 6)} to {train[0].key}, or take them out of {folder.key}."),
        )


RULE = Rule(
    slug="class-only-in-validation",
    family="data",
    title="A class occurs in validation and never in training",
    level=Level.ERROR,
    log=absent("a class that was never learned looks like a bad one"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("which files there are no step tells"),
    module=__name__,
)
