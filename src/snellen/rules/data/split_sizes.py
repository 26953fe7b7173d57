"""The sizes of training, validation and test are out of proportion.

What happens
------------
Validation on more images than training costs more time than it saves; validation on three images jumps by a third from
epoch to epoch, and the best checkpoint is the luckiest.

Why
---
The folders were swapped, the share was given to the wrong side (`test_size=0.8`), or a filter emptied one side.

How to confirm
--------------
Count the samples of each split, and within it those of each class.

Fix
---
Give validation 10 to 20% of the samples, and at least one of every class.

When it is something else
-------------------------
A benchmark with a large official test set is fine: only a validation part larger than training, or a test part more
than four times as large, is reported. A split without any sample is `empty-dataset`.

Sources
-------
- scikit-learn, `test_size`:
  https://scikit-learn.org/stable/modules/generated/sklearn.model_selection.train_test_split.html
- Varoquaux and Cheplygina, Machine learning for medical imaging, small test sets:
  https://doi.org/10.1038/s41746-022-00592-y
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.audits import audited
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_LARGE_TEST = 4
"""Official test parts are at most about that many times the training part (STL-10: 8000 to 5000)."""


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = audited(plan)
    train = next((folder for folder in folders if folder.split == "train"), None)
    others = [folder for folder in folders if folder.split in ("val", "test")]
    if train is None or not others or any(sample.role == "query" for sample in train.samples):
        raise NotApplicable("the run does not name data for both training and validation")
    classes = len({sample.label for sample in train.samples if sample.label is not None})
    for folder in others:
        count, of = len(folder.samples), len(train.samples)
        allowed = of if folder.split == "val" else _LARGE_TEST * of
        fix = Fix(f"Check that {train.key} and {folder.key} are not swapped; move samples to {train.key}.")
        text = f"holds {count} samples, {train.key} only {of}"
        if count <= allowed:
            if count >= classes or classes < 2:
                continue
            text = f"holds {count} samples for the {classes} classes of {train.key}: some class is never judged"
            fix = Fix(
                f"Move samples from {train.key} until {folder.key} holds every class: "
                "train_test_split(..., stratify=labels)."
            )
        yield Finding("split-sizes", Level.WARNING, f"{folder.key} {text}", setting_place(plan, folder.key), fix=fix)


RULE = Rule(
    slug="split-sizes",
    family="data",
    title="The splits are out of proportion",
    level=Level.WARNING,
    log=absent("a small validation part prints a score as well"),
    source=absent("only the folders tell how many samples there are"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("which files there are no step tells"),
    module=__name__,
)
