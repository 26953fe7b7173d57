"""An image is nearly black, unlike the others of its set.

What happens
------------
Nothing fails. After normalisation the image is almost constant, and what it shows does not reach the network. As
validation image it counts as an error of the model.

Why
---
Under-exposure, a cover on the lens, a frame at the fade of a video, 12-bit or 10-bit values stored as they are in
16 bits and read as 8 (then `high-bit-depth`), an image divided by 255 twice before it was saved.

How to confirm
--------------
99% of its pixels are darker than 0.15 of full scale, and it is an outlier in its set: more than 3.5 robust widths
(of the logarithm, at least 20%) below the others. Under 1/16 of full scale, where 16 of 256 levels are left, 3 widths
are enough, and a set of under 8 images is not asked. Fluorescence microscopy, which is dark as a whole, is no outlier
to itself: the darkest of 28 such images has 0.075 and lies 2.5 widths below the others.

Fix
---
Look at the images that are named. Take them off the list, or stretch them where their content is needed.

When it is something else
-------------------------
An image of one colour is `blank-image`. A whole set that is dark is a matter of normalisation: see
`wrong-normalisation` and `high-bit-depth`.

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

_BLACK = 0.15


def _examine(plan: Plan) -> Iterator[Finding]:
    said = "are nearly black, unlike the others"
    fix = "Look at them; take them off the list, or stretch their brightness if their content is needed."
    return pixel_findings(plan, "dark-image", _dark, said, fix)


def _dark(folder: FolderAudit) -> list[tuple[str, str]]:
    # Images of more than 8 bits look dark when their values fill only a part of the range: high-bit-depth.
    found = [pair for pair in measured(folder) if pair[0].bits <= 8 and not is_blank(pair[1])]
    dark, usual = nearly_lost(found, lambda pixels: pixels.high, _BLACK)
    middle = f", usual are {usual.middle:.2f}" if usual is not None else ""
    return [(path, f"99% of its pixels are darker than {high:.2f} of 1{middle}") for high, path in dark]


RULE = Rule(
    slug="dark-image",
    family="data",
    title="An image is nearly black",
    level=Level.WARNING,
    log=absent("nothing is printed: the image is used as it is"),
    source=absent("only the files tell what is in them"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the batches look as they always do"),
    module=__name__,
)
