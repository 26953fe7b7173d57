"""An image has hardly any contrast, unlike the others of its set.

What happens
------------
Nothing fails. The image is a grey veil: after normalisation with the set's mean and deviation its values hardly
differ, and a network sees texture only as noise of quantisation.

Why
---
Fog, a lens flare, an image saved after it had been normalised into a narrow range, a faded scan, the wrong window
of a medical image, a depth map stretched to its maximum.

How to confirm
--------------
The standard deviation of its brightness is under 0.03 of full scale (8 of 255 levels), which is more than 3 robust
widths (of the logarithm, at least 25%) below that of the set, and it is neither nearly black nor nearly white. The
evenest photograph of 1,000 CIFAR images has 0.055, the evenest blood smear 0.059.

Fix
---
Look at the images that are named. Stretch them before they are stored if their content matters
(`PIL.ImageOps.autocontrast`, for medical images the window of the modality), or take them off the list.

When it is something else
-------------------------
Nearly black is `dark-image`, nearly white `bright-image`, one colour `blank-image`. Little detail at full contrast
is `blurred-image`. A whole set of low contrast is the nature of the data: normalise with its own mean and
deviation.

Sources
-------
- cleanvision, the faults of images it looks for: https://github.com/cleanlab/cleanvision
- Pillow, ImageOps.autocontrast: https://pillow.readthedocs.io/en/stable/reference/ImageOps.html#PIL.ImageOps.autocontrast
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.facts.data import FolderAudit
from snellen.core.finding import Finding, Level
from snellen.core.image_sets import is_blank, log_spread, measured, pixel_findings, unusually_low
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_FLAT = 0.03
_UNLIKE = -3.0
_BLACK, _WHITE = 0.15, 0.8


def _examine(plan: Plan) -> Iterator[Finding]:
    said = "have hardly any contrast, unlike the others"
    fix = "Look at them; stretch their contrast if their content is needed, or take them off the list."
    return pixel_findings(plan, "low-contrast-image", _flat, said, fix)


def _flat(folder: FolderAudit) -> list[tuple[str, str]]:
    found = [pair for pair in measured(folder) if not is_blank(pair[1])]
    usual = log_spread([pixels.deviation for _, pixels in found], 0.25)
    if usual is None:
        return []
    between = [pair for pair in found if pair[1].high >= _BLACK and pair[1].low <= _WHITE]
    flat = unusually_low(between, lambda pixels: pixels.deviation, usual, _FLAT, _UNLIKE)
    return [
        (path, f"its brightness deviates by {deviation:.3f} of 1, usual are {usual.middle:.3f}")
        for deviation, path in flat
    ]


RULE = Rule(
    slug="low-contrast-image",
    family="data",
    title="An image has hardly any contrast",
    level=Level.WARNING,
    log=absent("nothing is printed: the image is used as it is"),
    source=absent("only the files tell what is in them"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the batches look as they always do"),
    module=__name__,
)
