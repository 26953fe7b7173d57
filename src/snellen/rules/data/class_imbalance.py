"""One class has many times the samples of another.

What happens
------------
Accuracy is high from the first epoch and stays there: the network answers the frequent class. The recall of rare
classes is near 0, and a macro score tells what accuracy hides.

Why
---
Data are collected as they come. A loss that averages over samples pays for the frequent class first.

How to confirm
--------------
Count samples by class; compare accuracy with the share of the largest class, and look at recall by class.

Fix
---
Weigh the loss with the numbers that the finding computes, or draw rare classes more often (`WeightedRandomSampler`);
Buda et al. found oversampling to be the best single remedy. Judge by a macro score.

When it is something else
-------------------------
Objects of a detection set are always uneven (persons in COCO), which focal losses are made for; only labels of whole
images are judged. A class without any sample is `class-without-samples`.

Sources
-------
- Buda et al., A systematic study of the class imbalance problem in convolutional neural networks, effects from a ratio
  of 10 on: https://arxiv.org/abs/1710.05381
- Cui et al., Class-balanced loss, ratios of 10 to 200: https://arxiv.org/abs/1901.05555
- `WeightedRandomSampler`: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.WeightedRandomSampler
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.audits import MAX_EVIDENCE, audited
from snellen.core.classes_of import class_counts
from snellen.core.finding import Evidence, Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_STRONG = 10.0
"""Ratio of the largest to the smallest class from which Buda et al. (2018) measure that accuracy suffers."""


def _examine(plan: Plan) -> Iterator[Finding]:
    labelled = [folder for folder in audited(plan) if any(sample.label is not None for sample in folder.samples)]
    if not labelled:
        raise NotApplicable("no data folder labels whole images")
    for folder in labelled:
        if folder.split in ("val", "test") and len(labelled) > 1:
            continue
        counts = class_counts(folder)
        if len(counts) < 2:
            continue
        (most, many), (least, few) = counts.most_common()[0], counts.most_common()[-1]
        if many < _STRONG * few:
            continue
        rare = [name for name, count in counts.items() if many >= _STRONG * count]
        total = sum(counts.values())
        weights = {name: total / (len(counts) * count) for name, count in sorted(counts.items())}
        shown = ", ".join(f"{name}: {weight:.3g}" for name, weight in list(weights.items())[:12])
        yield Finding(
            "class-imbalance",
            Level.WARNING,
            f"{folder.key}: {most} has {many} samples, {least} has {few}: {many / few:.0f} times as many; "
            f"answering {most} alone is right for {100 * many / total:.0f}%",
            setting_place(plan, folder.key),
            tuple(Evidence(f"{name}: {counts[name]} samples") for name in [most, *sorted(rare)][:MAX_EVIDENCE]),
            Fix(
                f"Weigh the loss by class: {{{shown}{', ...' if len(weights) > 12 else ''}}}, or draw rare classes "
                "more often with WeightedRandomSampler; choose the best epoch by a macro score."
            ),
        )


RULE = Rule(
    slug="class-imbalance",
    family="data",
    title="Classes are very uneven",
    level=Level.WARNING,
    log=absent("an even loss over uneven classes prints nothing"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("what a class costs is no part of a step"),
    module=__name__,
)
