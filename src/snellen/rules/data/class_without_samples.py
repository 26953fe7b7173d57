"""A class has no sample, in the set or in validation.

What happens
------------
torchvision's `ImageFolder` stops with `FileNotFoundError: Found no valid file for the classes`. A loader with a list
of its own runs: the head has an output that is never right, its metric is NaN or 0, and the mean over classes sinks.
A class that only validation lacks is learned and never judged: the score says nothing about it, and with numbers made
from the folders of each split all classes behind it are compared with another one.

Why
---
An upload ended early, the samples were moved while splitting, or the list names a class under another spelling than
the labels. A rare class fell on one side of the split, or its folder was not copied to the other.

How to confirm
--------------
Count samples by class and by split, and compare with the list of classes.

Fix
---
Add samples of that class, or take it off the list and make the head smaller. Renumber the classes behind it. Draw
validation by class: `train_test_split(..., stratify=labels)`.

When it is something else
-------------------------
A long list and few samples (COCO's 80 classes in 30 images) says little: nothing is reported with fewer than ten
samples for each declared class. Nor is a class of training whose share of validation would be less than one sample;
where chance may have left it out, it is a note, else a warning: with K classes, a share of more than ln(20 K) samples
is missed by chance in fewer than one split of twenty. Classes that are missing in training only are
`class-only-in-validation`, a validation part with fewer samples than classes is `split-sizes`.

Sources
-------
- torchvision, `ImageFolder` and `allow_empty`:
  https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.ImageFolder.html
- torchmetrics, mean over classes without samples:
  https://lightning.ai/docs/torchmetrics/stable/classification/accuracy.html
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

from snellen.core.audits import MAX_EVIDENCE, listed, listing_findings, share
from snellen.core.classes_of import class_counts, folded, hidden, label_of_number
from snellen.core.facts.data import FolderAudit, ListingKind
from snellen.core.finding import Evidence, Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_SAMPLES_A_CLASS = 10
"""Fewer samples than that for each declared class say nothing about a class that does not occur."""
_BY_CHANCE = 20
"""One split of so many may lose a class by chance before that is a warning."""
_EMPTY: Mapping[ListingKind, tuple[str, str]] = {
    "empty-folder": ("is empty", "Add samples of that class, or remove the folder: some loaders take it for a class."),
}


def _examine(plan: Plan) -> Iterator[Finding]:
    folders: Sequence[FolderAudit] = plan.fact("audit")
    told: set[tuple[str, str]] = set()
    declared = False
    for folder in folders:
        if not folder.classes:
            continue
        declared = True
        counts = class_counts(folder)
        seen = {folded(name) for name in counts} or _marked(folder)
        missing = [name for name in folder.classes if name and folded(name) not in seen and not hidden(folder, name)]
        by_folder = any(problem.kind == "empty-folder" for problem in folder.problems)
        total = sum(counts.values()) or len(folder.masks)
        if not missing or not seen:
            if folder.layout == "class-folders":
                yield from listing_findings(plan, [folder], "class-without-samples", Level.WARNING, _EMPTY)
            continue
        if not by_folder and total < _SAMPLES_A_CLASS * len(folder.classes):
            continue
        told.update((folder.key, folded(name)) for name in missing)
        yield Finding(
            "class-without-samples",
            Level.ERROR if by_folder else Level.WARNING,
            f"{folder.key}: {share(len(missing), len(folder.classes))} declared classes have no sample: "
            f"{listed(missing, 6)}" + (f" ({folder.classes_from} declares them)" if folder.classes_from else ""),
            setting_place(plan, folder.key),
            fix=Fix(f"Add samples of {listed(missing, 6)}, or take the name off the list and renumber the others."),
        )
    train = next((folder for folder in folders if folder.split == "train"), None)
    others = [folder for folder in folders if folder.split in ("val", "test")]
    if train is not None and others and train.layout != "support-query":
        declared = True
        for folder in others:
            yield from _unjudged(plan, train, folder, told)
    if not declared:
        raise NotApplicable("nothing declares classes, and there are no two splits to compare")


def _unjudged(
    plan: Plan, train: FolderAudit, folder: FolderAudit, told: Collection[tuple[str, str]]
) -> Iterator[Finding]:
    """Classes of training that another split lacks, though their share there would be a sample or more."""
    learned, seen = _sources(train), _sources(folder)
    # Without a class in common the sides are meant to differ; fewer samples than classes are `split-sizes`.
    if not seen.keys() & learned.keys() or len(folder.samples) < len(learned):
        return
    count, of = (len(set().union(*one.values())) for one in (seen, learned))
    shares = {name: len(learned[name]) * count / of for name in learned if name not in seen}
    missing = [name for name, part in shares.items() if part >= 1 and (folder.key, name) not in told]
    missing = [name for name in missing if not hidden(folder, name)]
    if not missing:
        return
    missing.sort(key=lambda name: (-shares[name], name))
    by_chance = shares[missing[0]] < math.log(_BY_CHANCE * len(learned))
    names = {folded(name): name for name in class_counts(train)}
    some = listed([names[name] for name in missing], 6)
    yield Finding(
        "class-without-samples",
        Level.NOTE if by_chance else Level.WARNING,
        f"{folder.key}: {share(len(missing), len(learned))} classes of {train.key} have no sample here, and no score "
        f"says how well they are recognised: {some}",
        setting_place(plan, folder.key),
        tuple(
            Evidence(
                f"{names[name]}: {len(learned[name])} in {train.key}, 0 of {count} in {folder.key}, where its share "
                f"would be {shares[name]:.1f}"
            )
            for name in missing[:MAX_EVIDENCE]
        ),
        Fix(
            f"Move some samples of {some} to {folder.key}, or draw it by class: train_test_split(..., stratify=labels)."
        ),
    )


def _sources(folder: FolderAudit) -> dict[str, set[str]]:
    """What each class was seen in: what comes from one source, or in one image, is drawn together."""
    found: dict[str, set[str]] = {}
    for sample in folder.samples:
        labels = {sample.label} if sample.label is not None else {box.label for box in sample.boxes or ()}
        for label in labels:
            name = folded(label_of_number(label, folder.classes))
            found.setdefault(name, set()).add(sample.group or sample.image)
    return found


def _marked(folder: FolderAudit) -> set[str]:
    """Classes that occur as numbers in masks; empty where the masks hold something else."""
    values = {value for mask in folder.masks.values() if not mask.colour for value, _ in mask.values}
    if not values or max(values - {255}, default=0) >= len(folder.classes):
        return set()
    return {folded(folder.classes[value]) for value in values if value < len(folder.classes)}


RULE = Rule(
    slug="class-without-samples",
    family="data",
    title="A class has no sample",
    level=Level.WARNING,
    log=absent("the message of `ImageFolder` is `empty-dataset`"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("which files there are no step tells"),
    module=__name__,
)
