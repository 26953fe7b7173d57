"""The same picture lies in training and in validation.

What happens
------------
Validation scores rise above what new images will give: the network has seen the answers. The more it can memorise, the
larger the gift, so that the wrong model is chosen.

Why
---
Copies and near copies (another size, another compression, mirrored) were in the collection before it was split file by
file.

How to confirm
--------------
The finding names pairs; open both. Hash the decoded pixels of both sides and intersect the sets.

Fix
---
Remove the training copy of each pair, so that older scores on the validation part stay comparable; or split again by
groups of equal pictures.

When it is something else
-------------------------
Frames of one video and crops of one photograph that are not the same picture are `source-across-splits`. Copies within
one part are duplicates. One folder given twice is `split-leakage`.

Sources
-------
- Barz and Denzler, Do we train on test data? 3.3% of CIFAR-10's test images have near duplicates in training:
  https://arxiv.org/abs/1902.00423
- scikit-learn, data leakage: https://scikit-learn.org/stable/common_pitfalls.html#data-leakage
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from snellen.core.audits import audited, file_evidence, listed, share, short
from snellen.core.facts.data import FolderAudit, Twin
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_HOW = {"same-file": "are equal files", "same-pixels": "have equal pixels", "near": "are nearly the same"}
_HARD = ("same-file", "same-pixels")


def _examine(plan: Plan) -> Iterator[Finding]:
    splits = {sample.image: folder for folder in audited(plan) for sample in folder.samples}
    train = next((folder for folder in splits.values() if folder.split == "train"), None)
    others = {id(folder): folder for folder in splits.values() if folder.split in ("val", "test")}
    if train is None or not others:
        raise NotApplicable("the run does not name data for both training and validation")
    twins = plan.fact("twins")
    for other in others.values():
        if other.path == train.path:
            continue
        pairs = [pair for twin in twins if twin.kind in _HOW and (pair := _across(twin, splits, other)) is not None]
        if not pairs:
            continue
        pairs.sort(key=lambda pair: list(_HOW).index(pair[2].kind))
        hard = sum(twin.kind in _HARD for _, _, twin in pairs)
        mine, theirs, twin = pairs[0]
        images = len({name for _, name, _ in pairs})
        count = len(other.samples)
        yield Finding(
            "duplicate-across-splits",
            Level.ERROR if hard else Level.WARNING,
            f"{other.key}: {share(images, count)} images lie in {train.key} as well, {hard} of them exactly: "
            f"{short(theirs)} and {short(mine)} {_HOW[twin.kind]}",
            setting_place(plan, other.key),
            file_evidence((name, f"{short(source)} and it {_told(one)}") for source, name, one in pairs),
            Fix(f"Remove the copies from {train.key}: {listed([short(source) for source, _, _ in pairs])}."),
        )


def _across(twin: Twin, splits: Mapping[str, FolderAudit], other: FolderAudit) -> tuple[str, str, Twin] | None:
    """The training image and the other one, where a pair lies on both sides."""
    for mine, theirs in ((twin.one, twin.other), (twin.other, twin.one)):
        if mine in splits and splits[mine].split == "train" and splits.get(theirs) is other:
            return mine, theirs, twin
    return None


def _told(twin: Twin) -> str:
    return f"{_HOW[twin.kind]} ({twin.distance} of 64 bits differ)" if twin.kind == "near" else _HOW[twin.kind]


RULE = Rule(
    slug="duplicate-across-splits",
    family="data",
    title="A picture lies in training and in validation",
    level=Level.ERROR,
    log=absent("a score that is too good looks like a good score"),
    source=absent("`split-leakage` looks at the code"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("a score that is too good looks like a good score"),
    module=__name__,
)
