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
(of the logarithm, at least 20%) below the others. Fluorescence microscopy, which is dark as a whole, is no outlier
to itself: of the public sets that this was measured on none has such an image. In a set of under 8 images the bound
is 0.05.

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
from snellen.core.image_sets import image_finding, image_folders, is_blank, log_spread, measured, seen
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


_BLACK = 0.15
_BLACK_ALONE = 0.05
_UNLIKE = -3.5


def _examine(plan: Plan) -> Iterator[Finding]:
    for folder in image_folders(plan):
        files = _dark(folder)
        if files:
            message = f"{seen(folder, len(files), pixels=True)} are nearly black, unlike the others"
            fix = "Look at them; take them off the list, or stretch their brightness if their content is needed."
            yield image_finding(plan, folder, "dark-image", Level.WARNING, message, files, fix)


def _dark(folder: FolderAudit) -> list[tuple[str, str]]:
    # Images of more than 8 bits look dark when their values fill only a part of the range: high-bit-depth.
    found = [pair for pair in measured(folder) if pair[0].bits <= 8 and not is_blank(pair[1])]
    usual = log_spread([pixels.high for _, pixels in found], 0.2)
    dark = [
        (pixels.high, record.path)
        for record, pixels in found
        if (
            pixels.high < _BLACK_ALONE if usual is None else pixels.high < _BLACK and usual.score(pixels.high) < _UNLIKE
        )
    ]
    middle = f", usual are {usual.middle:.2f}" if usual is not None else ""
    return [(path, f"99% of its pixels are darker than {high:.2f} of 1{middle}") for high, path in sorted(dark)]


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
