"""An image has no mask, or a mask has no image.

What happens
------------
Either the loader stops with `FileNotFoundError` hours into an epoch, or it pairs by position in two sorted lists: from
the missing file on, every image is trained against the mask of its neighbour. The score stays low and nothing says
why.

Why
---
Export ended early, a file was renamed or deleted on one side only, or an ending such as `_mask` differs in some names.

How to confirm
--------------
Compare the sets of stems: `{p.stem for p in images} ^ {p.stem for p in masks}` must be empty.

Fix
---
Complete or remove the odd ones, and pair by name, never by position: `masks / f"{image.stem}.png"`.

When it is something else
-------------------------
Authentic images of a forgery set need no mask. Images of a detector without annotation: see `unpaired-annotation`. A
row of a table whose file is gone is `missing-file`.

Sources
-------
- torchvision, pairs by name in its own sets:
  https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.VOCSegmentation.html
- Pillow and missing files: https://docs.python.org/3/library/exceptions.html#FileNotFoundError
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from snellen.core.audits import listing_findings
from snellen.core.facts.data import ListingKind
from snellen.core.finding import Finding, Level
from snellen.core.plan import Cost, NotApplicable, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_KINDS: Mapping[ListingKind, tuple[str, str]] = {
    "image-without-mask": ("has no mask", "Add masks, empty ones where nothing is marked, or move the images away."),
    "mask-without-image": ("has no image", "Give these masks the name of their image, or move them away."),
}


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = plan.fact("audit")
    if not any(folder.masks or any(problem.kind in _KINDS for problem in folder.problems) for folder in folders):
        raise NotApplicable("no data folder holds masks")
    yield from listing_findings(plan, folders, "unpaired-mask", Level.WARNING, _KINDS)


RULE = Rule(
    slug="unpaired-mask",
    family="data",
    title="An image or a mask lacks its other half",
    level=Level.WARNING,
    log=absent("a missing file has its own message, see `missing-file`"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("what is missing never reaches a step"),
    module=__name__,
)
