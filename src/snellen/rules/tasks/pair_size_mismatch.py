"""A blurred frame and its sharp partner have different sizes.

What happens
------------
`The size of tensor a (360) must match the size of tensor b (720)` in the loss, at the first batch or when that pair is
drawn; a loader that resizes both teaches the network to sharpen what the resizing blurred.

Why
---
One side was exported at another resolution, or cropped by stabilisation; frames of two sets were mixed.

How to confirm
--------------
`Image.open(blur).size` against `Image.open(sharp).size` for all pairs.

Fix
---
Export both sides at one size. Do not resize one to the other: interpolation is a blur of its own.

When it is something else
-------------------------
A set for super-resolution has sharp frames that are larger by the same whole factor everywhere; that is left alone.
Frames of one clip that differ are `clip-size-mismatch`.

Sources
-------
- GoPro set: https://seungjunnah.github.io/Datasets/gopro
- BasicSR, paired data for deblurring and super-resolution:
  https://github.com/XPixelGroup/BasicSR/blob/master/docs/DatasetPreparation.md
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.audits import audited, file_evidence, share, short
from snellen.core.facts.data import FolderAudit
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


def _examine(plan: Plan) -> Iterator[Finding]:
    paired = [folder for folder in audited(plan) if any(sample.partner for sample in folder.samples)]
    if not paired:
        raise NotApplicable("no data folder pairs blurred with sharp frames")
    for folder in paired:
        sizes = list(_sizes(folder))
        wrong = [(path, blur, sharp) for path, blur, sharp in sizes if blur != sharp]
        factors = {(sharp[0] / blur[0], sharp[1] / blur[1]) for _, blur, sharp in sizes}
        # The same whole factor for all pairs is super-resolution.
        factor = next(iter(factors), (1.0, 1.0))
        if not wrong or (len(factors) == 1 and len(sizes) > 1 and factor[0] == factor[1] and factor[0].is_integer()):
            continue
        path, blur, sharp = wrong[0]
        yield Finding(
            "pair-size-mismatch",
            Level.ERROR,
            f"{folder.key}: in {share(len(wrong), len(sizes))} pairs the two sizes differ: {short(path)} is "
            f"{blur[1]} x {blur[0]}, its sharp partner {sharp[1]} x {sharp[0]}",
            setting_place(plan, folder.key),
            file_evidence((one, f"{b[1]} x {b[0]}, sharp {s[1]} x {s[0]}") for one, b, s in wrong),
            Fix("Export these pairs again at one size, or remove them; do not resize one side to the other."),
        )


def _sizes(folder: FolderAudit) -> Iterator[tuple[str, tuple[int, int], tuple[int, int]]]:
    for sample in folder.samples:
        blur, sharp = folder.images.get(sample.image), folder.images.get(sample.partner or "")
        if blur is not None and sharp is not None and blur.height and sharp.height:
            yield sample.image, blur.upright_size, sharp.upright_size


RULE = Rule(
    slug="pair-size-mismatch",
    family="tasks",
    title="The halves of a pair differ in size",
    level=Level.ERROR,
    log=absent("the message about sizes is `spatial-mismatch` in a log"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the loss fails before the step ends"),
    module=__name__,
)
