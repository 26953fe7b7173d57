"""Images of a set show the same, scaled, compressed or slightly changed.

What happens
------------
Nothing fails. A set of 10,000 images of which half are variants has the variety of 5,000; a split by chance puts
variants on both sides, and the validation score is too good.

Why
---
Series of photographs, frames of one video, previews next to originals, copies from several web pages, augmentation
that was saved to disk.

How to confirm
--------------
Look at the pairs that are named: their 64-bit fingerprints differ in the number of bits that stands there. Not
compared are frames of one sequence, images of different roles (a forged image and its original), and images of
under 2 bits of entropy, which have too little to tell them apart.

Fix
---
Keep one of each group, or split by group: put all variants on one side. `snellen check` with the validation folder
named says whether any are on both sides.

When it is something else
-------------------------
Equal images are `duplicate-image`. Variants in training and validation are
`duplicate-across-splits`.

Sources
-------
- Barz and Denzler, Do we train on test data? (near-duplicates in CIFAR): https://arxiv.org/abs/1902.00423
- imagehash, perceptual hashes: https://github.com/JohannesBuchner/imagehash
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from snellen.core.audits import short
from snellen.core.facts.data import FolderAudit, Sample, Twin
from snellen.core.finding import Finding, Level
from snellen.core.image_sets import image_finding, image_folders, seen
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


_TELLING = 2.0
"""Bits of entropy below which fingerprints of different drawings meet by chance."""


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = image_folders(plan)
    twins: Sequence[Twin] = plan.fact("twins")
    close = [twin for twin in twins if twin.kind == "near"]
    for folder in folders:
        samples = {sample.image: sample for sample in folder.samples}
        pairs = [twin for twin in close if _counts(folder, twin, samples)]
        if not pairs:
            continue
        pairs.sort(key=lambda twin: (twin.distance, twin.one, twin.other))
        images = {path for twin in pairs for path in (twin.one, twin.other)}
        message = f"{seen(folder, len(images))} nearly equal another one, in {len(pairs)} pair{'s' * (len(pairs) > 1)}"
        files = [
            (copy, f"shows the same as {short(original)}: {twin.distance} of 64 bits differ")
            for twin in pairs
            for original, copy in (_in_order(samples[twin.one], samples[twin.other]),)
        ]
        fix = "Look at the pairs; keep one of each, or keep them on one side of every split."
        yield image_finding(plan, folder, "near-duplicate-image", Level.NOTE, message, files, fix)


def _in_order(one: Sample, other: Sample) -> tuple[str, str]:
    """The original and its copy, as far as anything tells: a frame of a video comes before what lies among them."""
    stray = one.group and one.index is None and other.index is not None
    return (other.image, one.image) if stray else (one.image, other.image)


def _counts(folder: FolderAudit, twin: Twin, samples: Mapping[str, Sample]) -> bool:
    if twin.one not in folder.images or twin.other not in folder.images:
        return False
    one, other = samples.get(twin.one), samples.get(twin.other)
    if one is None or other is None or one.role != other.role:
        return False
    if one.group and one.group == other.group and None not in (one.index, other.index):
        return False
    pixels = (folder.images[twin.one].pixels, folder.images[twin.other].pixels)
    return all(found is None or found.entropy >= _TELLING for found in pixels)


RULE = Rule(
    slug="near-duplicate-image",
    family="data",
    title="Images of a set show nearly the same",
    level=Level.NOTE,
    log=absent("nothing is printed: the image is used as it is"),
    source=absent("only the files tell what is in them"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the batches look as they always do"),
    module=__name__,
)
