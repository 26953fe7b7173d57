"""The same image is in a set several times.

What happens
------------
Nothing fails. Copies weigh more in training than the rest, and in validation one image counts several times; a
random split made later puts copies on both sides.

Why
---
Downloads that were repeated, sources that overlap, over-sampling by copying files, *name (1).jpg*. Tables of labels
that were joined, so that one image has several rows: a loader that goes by rows trains on it as often.

How to confirm
--------------
Equal files have the same hash (`sha256sum`); equal pixels in different files (another format, other metadata) are
found by decoding. All images are compared, not a sample.

Fix
---
Keep one file of each group, and one row of each image (`DataFrame.drop_duplicates("image")`); over-sample with a
weighted sampler (`WeightedRandomSampler`), not with copies.

When it is something else
-------------------------
Images that are only similar are `near-duplicate-image`. Copies under two labels are `label-conflict`, copies in
training and validation `duplicate-across-splits`. Frames of a standing camera may be equal honestly.

Sources
-------
- Barz and Denzler, Do we train on test data? (duplicates in CIFAR): https://arxiv.org/abs/1902.00423
- cleanvision, the faults of images it looks for: https://github.com/cleanlab/cleanvision
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from snellen.core.audits import listing_findings, short
from snellen.core.classes_of import folded
from snellen.core.facts.data import FolderAudit, ListingKind, Twin
from snellen.core.finding import Finding, Level
from snellen.core.image_sets import image_finding, image_folders, seen
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


_ROWS: Mapping[ListingKind, tuple[str, str]] = {
    "duplicate-row": ("is listed more than once", "Keep one row of each image."),
}


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = image_folders(plan)
    yield from listing_findings(plan, folders, "duplicate-image", Level.WARNING, _ROWS)
    twins: Sequence[Twin] = plan.fact("twins")
    pairs = [twin for twin in twins if twin.kind in ("same-file", "same-pixels")]
    for folder in folders:
        groups = _groups(folder, pairs)
        if not groups:
            continue
        copies = sum(len(group) - 1 for group in groups)
        message = f"{seen(folder, copies)} are copies of another one, in {len(groups)} group{'s' * (len(groups) > 1)}"
        groups.sort(key=lambda group: (-len(group), group))
        files = [(path, f"the same as {short(group[0])}") for group in groups for path in group[1:]]
        fix = "Keep one file of each group; to weigh images more, use a weighted sampler."
        yield image_finding(plan, folder, "duplicate-image", Level.WARNING, message, files, fix)


def _groups(folder: FolderAudit, pairs: Iterable[Twin]) -> list[list[str]]:
    """Images of a folder that are the same, joined over all pairs."""
    # A pristine image filed as forged is the task's matter, so is the same image as support and as query, and one under
    # two labels is `label-conflict`. A support set of five shots may hold that of one.
    kinds = {sample.image: (sample.role, folded(sample.label or ""), sample.shot) for sample in folder.samples}
    leader: dict[str, str] = {}

    def first(path: str) -> str:
        while leader.setdefault(path, path) != path:
            leader[path] = path = leader[leader[path]]
        return path

    for twin in pairs:
        inside = twin.one in folder.images and twin.other in folder.images
        if inside and kinds.get(twin.one) == kinds.get(twin.other):
            one, other = sorted((first(twin.one), first(twin.other)))
            leader[other] = one
    groups: dict[str, list[str]] = {}
    # The shortest name is taken for the original: `a.jpg` before `a (1).jpg`.
    for path in sorted(leader, key=lambda path: (len(path), path)):
        groups.setdefault(first(path), []).append(path)
    return [group for group in groups.values() if len(group) > 1]


RULE = Rule(
    slug="duplicate-image",
    family="data",
    title="The same image is in a set several times",
    level=Level.WARNING,
    log=absent("nothing is printed: the image is used as it is"),
    source=absent("only the files tell what is in them"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the batches look as they always do"),
    module=__name__,
)
