"""Images of one video, scene, patient or photograph lie in training and in validation.

What happens
------------
Validation is nearly as good as training, and the model falls apart on a new video or patient: it has recognised the
source, not learned the task.

Why
---
The split was made image by image. Neighbouring frames, tiles of one slide, slices of one patient and crops of one
photograph are almost equal.

How to confirm
--------------
List the sources of both sides (the part of the name before the number, the folder, the patient's id): the sets must
not meet.

Fix
---
Split by source: `GroupShuffleSplit(n_splits=1).split(files, groups=sources)`; the finding names the sources to move.

When it is something else
-------------------------
A benchmark with an official split of frames (CamVid) is scored as it is; know that its score is too good for new
videos. The very same picture on both sides is `duplicate-across-splits`.

Sources
-------
- `GroupShuffleSplit`: https://scikit-learn.org/stable/modules/generated/sklearn.model_selection.GroupShuffleSplit.html
- Kapoor and Narayanan, Leakage and the reproducibility crisis: https://doi.org/10.1016/j.patter.2023.100804
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from snellen.core.audits import MAX_EVIDENCE, audited, file_evidence, listed, share, short
from snellen.core.facts.data import FolderAudit
from snellen.core.finding import Evidence, Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = audited(plan)
    train = next((folder for folder in folders if folder.split == "train"), None)
    others = [folder for folder in folders if folder.split in ("val", "test")]
    if train is None or not others:
        raise NotApplicable("the run does not name data for both training and validation")
    if not any(sample.group for folder in (train, *others) for sample in folder.samples):
        groups_known = False
        crops = [twin for twin in plan.fact("twins") if twin.kind == "crop"]
        if not crops:
            raise NotApplicable("no name or folder says which images share a source, and no image is part of another")
    else:
        groups_known = True
    for other in others:
        if other.path == train.path:
            continue
        if groups_known:
            yield from _groups(plan, train, other)
        yield from _crops(plan, train, other)


def _groups(plan: Plan, train: FolderAudit, other: FolderAudit) -> Iterator[Finding]:
    mine = Counter(sample.group for sample in train.samples if sample.group)
    theirs = Counter(sample.group for sample in other.samples if sample.group)
    both = sorted(set(mine) & set(theirs), key=lambda group: (-theirs[group], group))
    if not both or (len(mine) == len(theirs) == 1 and not any(sample.index is not None for sample in train.samples)):
        return
    images = sum(theirs[group] for group in both)
    smaller = [train.key if mine[group] < theirs[group] else other.key for group in both]
    yield Finding(
        "source-across-splits",
        Level.WARNING,
        f"{other.key}: {share(images, len(other.samples))} images come from {len(both)} sources that {train.key} "
        f"holds, too: {listed(both, 4)}",
        setting_place(plan, other.key),
        tuple(
            Evidence(f"{group}: {mine[group]} images in {train.key}, {theirs[group]} in {other.key}")
            for group in both[:MAX_EVIDENCE]
        ),
        Fix(
            f"Keep each source on one side: move what {smaller[0]} holds of {both[0]}"
            + (f", and so on for {len(both) - 1} more." if len(both) > 1 else " to the other.")
        ),
    )


def _crops(plan: Plan, train: FolderAudit, other: FolderAudit) -> Iterator[Finding]:
    mine = {sample.image for sample in train.samples}
    theirs = {sample.image for sample in other.samples}
    twins = [(twin.one, twin.other) for twin in plan.fact("twins") if twin.kind == "crop"]
    pairs = [pair for one, two in twins for pair in ((one, two), (two, one)) if pair[0] in mine and pair[1] in theirs]
    if pairs:
        yield Finding(
            "source-across-splits",
            Level.WARNING,
            f"{other.key}: {share(len({name for _, name in pairs}), len(theirs))} images show a part of a photograph "
            f"that {train.key} shows, too: {short(pairs[0][1])} and {short(pairs[0][0])}",
            setting_place(plan, other.key),
            file_evidence((name, f"shares a part with {short(source)}") for source, name in pairs),
            Fix(f"Keep crops of one photograph on one side: move {listed([short(name) for _, name in pairs])}."),
        )


RULE = Rule(
    slug="source-across-splits",
    family="data",
    title="One source is dealt to training and to validation",
    level=Level.WARNING,
    log=absent("a score that is too good looks like a good score"),
    source=absent("`split-leakage` looks at the code"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("a score that is too good looks like a good score"),
    module=__name__,
)
