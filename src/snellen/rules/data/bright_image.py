"""An image is nearly white, unlike the others of its set.

What happens
------------
Nothing fails. What the image shows has been clipped or is too faint to be seen; it teaches the background.

Why
---
Over-exposure, a flash on glass, a scan of an empty page, values above 255 clipped when the image was saved.

How to confirm
--------------
99% of its pixels are brighter than 0.8 of full scale, and its darkest parts are an outlier in its set: more than
3.5 robust widths (of the logarithm of the distance to white, at least 20%) nearer to white than the others. Above
15/16 of full scale, where 16 of 256 levels are left, 3 widths are enough, and a set of under 8 images is not asked.
Drawings on white paper have black strokes in more than 1% of their pixels, and are no outliers among themselves.

Fix
---
Look at the images that are named, and take them off the list when nothing is to be seen.

When it is something else
-------------------------
An image of one colour is `blank-image`. One with few grey levels in the middle is `low-contrast-image`. A white
background under hidden pixels is `transparent-image`.

Sources
-------
- cleanvision, the faults of images it looks for: https://github.com/cleanlab/cleanvision
- Median absolute deviation as a robust width: https://en.wikipedia.org/wiki/Median_absolute_deviation
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.facts.data import FolderAudit
from snellen.core.finding import Finding, Level
from snellen.core.image_sets import is_blank, measured, nearly_lost, pixel_findings
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_NEAR_WHITE = 0.2


def _examine(plan: Plan) -> Iterator[Finding]:
    said = "are nearly white, unlike the others"
    fix = "Look at them, and take those off the list in which nothing is to be seen."
    return pixel_findings(plan, "bright-image", _bright, said, fix)


def _bright(folder: FolderAudit) -> list[tuple[str, str]]:
    found = [pair for pair in measured(folder) if not is_blank(pair[1])]
    bright, usual = nearly_lost(found, lambda pixels: 1 - pixels.low, _NEAR_WHITE)
    middle = f", usual are {1 - usual.middle:.2f}" if usual is not None else ""
    return [(path, f"99% of its pixels are brighter than {1 - gap:.2f} of 1{middle}") for gap, path in bright]


RULE = Rule(
    slug="bright-image",
    family="data",
    title="An image is nearly white",
    level=Level.WARNING,
    log=absent("nothing is printed: the image is used as it is"),
    source=absent("only the files tell what is in them"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the batches look as they always do"),
    module=__name__,
)
