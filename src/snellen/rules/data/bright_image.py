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
3.5 robust widths (of the logarithm of the distance to white, at least 20%) nearer to white than the others.
Drawings on white paper have black strokes in more than 1% of their pixels, and are no outliers among themselves. In
a set of under 8 images the bound is 0.95.

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
from snellen.core.image_sets import image_finding, image_folders, is_blank, log_spread, measured, seen
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


_WHITE = 0.8
_WHITE_ALONE = 0.95
_UNLIKE = -3.5


def _examine(plan: Plan) -> Iterator[Finding]:
    for folder in image_folders(plan):
        files = _bright(folder)
        if files:
            message = f"{seen(folder, len(files), pixels=True)} are nearly white, unlike the others"
            fix = "Look at them, and take those off the list in which nothing is to be seen."
            yield image_finding(plan, folder, "bright-image", Level.WARNING, message, files, fix)


def _bright(folder: FolderAudit) -> list[tuple[str, str]]:
    found = [pair for pair in measured(folder) if not is_blank(pair[1])]
    usual = log_spread([1 - pixels.low for _, pixels in found], 0.2)
    bright = [
        (1 - pixels.low, record.path)
        for record, pixels in found
        if (
            pixels.low > _WHITE_ALONE
            if usual is None
            else pixels.low > _WHITE and usual.score(1 - pixels.low) < _UNLIKE
        )
    ]
    middle = f", usual are {1 - usual.middle:.2f}" if usual is not None else ""
    return [(path, f"99% of its pixels are brighter than {1 - gap:.2f} of 1{middle}") for gap, path in sorted(bright)]


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
