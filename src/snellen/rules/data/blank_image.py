"""An image is of one colour: there is nothing to see in it.

What happens
------------
Nothing fails. The image takes its place in the batch with its label, its gradient is noise, and a metric over few
images moves because of it. In normalisation by the image's own deviation it gives a division by zero and NaN.

Why
---
A failed export or render, a lens cap, a tile outside of the slide, a frame faded to black, a placeholder of a
download, a file filled with zeros and repaired by a viewer.

How to confirm
--------------
`np.asarray(Image.open(name)).std()` is 0, or nearly: an image counts as blank when the standard deviation of its
brightness is at most 1 of 255 levels and 98% of its pixels lie within 2 levels. Of 7,700 images in 25 public sets
none is that even; the darkest microscopy image deviates by 2.4 levels.

Fix
---
Take these images off the list, or fetch them again. Where blank images mean something (no cell in the tile), keep
them on purpose and switch this check off for the run.

When it is something else
-------------------------
An image that is dark but not empty is `dark-image`; one that cannot be decoded is `corrupt-image`; one whose
content is hidden by its alpha channel is `transparent-image`.

Sources
-------
- cleanvision, the faults of images it looks for: https://github.com/cleanlab/cleanvision
- NumPy, division by zero: https://numpy.org/doc/stable/reference/generated/numpy.seterr.html
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.facts.data import FolderAudit
from snellen.core.finding import Finding, Level
from snellen.core.image_sets import is_blank, measured, pixel_findings
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


def _examine(plan: Plan) -> Iterator[Finding]:
    fix = "Take them off the list, or fetch them again."
    return pixel_findings(plan, "blank-image", _blank, "are of one colour", fix)


def _blank(folder: FolderAudit) -> list[tuple[str, str]]:
    return [
        (record.path, f"one colour, brightness {pixels.mean:.2f} of 1")
        for record, pixels in measured(folder)
        if is_blank(pixels)
    ]


RULE = Rule(
    slug="blank-image",
    family="data",
    title="An image is of one colour",
    level=Level.WARNING,
    log=absent("nothing is printed: the image is used as it is"),
    source=absent("only the files tell what is in them"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the batches look as they always do"),
    module=__name__,
)
