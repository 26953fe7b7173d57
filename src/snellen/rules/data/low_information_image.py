"""An image holds next to nothing: a placeholder or an empty frame with a small mark.

What happens
------------
Nothing fails. Downloads from the web hold pictures such as *image not available*; a run learns that the placeholder
belongs to whatever class it was filed under.

Why
---
The server of a photograph answered with a placeholder of its own and status 200; a chart or a logo was filed among
photographs; most of a frame was filled with one colour where data was lost.

How to confirm
--------------
The histogram of its brightness has an entropy under 1.5 bits of 8, more than 5 robust widths (at least half a bit)
below that of the set. Photographs have 6 to 8 bits; the lowest in 20 public sets of photographs, an
insect on plain white, has 1.67. Drawings of 0.1 to 0.7 bits are no outliers among drawings.

Fix
---
Look at the images that are named, and take them off the list. If they repeat, search for their copies: the check
for exact duplicates lists them.

When it is something else
-------------------------
One colour is `blank-image`; many equal files are `duplicate-image`; little contrast everywhere is
`low-contrast-image`.

Sources
-------
- cleanvision, the faults of images it looks for: https://github.com/cleanlab/cleanvision
- Entropy of an image's histogram: https://scikit-image.org/docs/stable/api/skimage.measure.html#skimage.measure.shannon_entropy
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.facts.data import FolderAudit
from snellen.core.finding import Finding, Level
from snellen.core.image_sets import is_blank, measured, pixel_findings, spread, unusually_low
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_EMPTY = 1.5
_FLAT = 0.03
_UNLIKE = -5.0


def _examine(plan: Plan) -> Iterator[Finding]:
    said = "hold next to nothing, unlike the others"
    return pixel_findings(
        plan, "low-information-image", _empty, said, "Look at them, and take placeholders off the list."
    )


def _empty(folder: FolderAudit) -> list[tuple[str, str]]:
    found = [pair for pair in measured(folder) if not is_blank(pair[1])]
    usual = spread([pixels.entropy for _, pixels in found], 0.5)
    if usual is None:
        return []
    # Dark, white and veiled images have few levels as well; they are found by what they are.
    contrasting = [pair for pair in found if pair[1].deviation >= _FLAT]
    empty = unusually_low(contrasting, lambda pixels: pixels.entropy, usual, _EMPTY, _UNLIKE)
    return [(path, f"an entropy of {entropy:.2f} bits, usual are {usual.middle:.2f}") for entropy, path in empty]


RULE = Rule(
    slug="low-information-image",
    family="data",
    title="An image holds next to nothing",
    level=Level.WARNING,
    log=absent("nothing is printed: the image is used as it is"),
    source=absent("only the files tell what is in them"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the batches look as they always do"),
    module=__name__,
)
