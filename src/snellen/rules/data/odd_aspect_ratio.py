"""An image is a strip: its shape is far from that of the rest of its set.

What happens
------------
Brought to a square by stretching, what it shows is distorted several times over; by a crop of the centre, most of
it is cut off; by padding, most of the input is empty.

Why
---
Banners, panoramas, columns of a scanned page, film strips, crops around thin objects, a file whose width and height
were mixed up.

How to confirm
--------------
The longer side is at least 3 times the shorter one, the median image of the set is under 2, and the ratio is more
than 3.5 robust widths (of the logarithm, at least 20%) above the set's.

Fix
---
Look at the images that are named. Cut them into parts, or take them off the list.

When it is something else
-------------------------
A set of strips, such as lines of text, is no fault: choose an input of their shape. A size far from the others is
`odd-image-size`.

Sources
-------
- cleanvision, the faults of images it looks for: https://github.com/cleanlab/cleanvision
- Median absolute deviation as a robust width: https://en.wikipedia.org/wiki/Median_absolute_deviation
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.facts.data import ImageRecord
from snellen.core.finding import Finding, Level
from snellen.core.image_sets import image_finding, image_folders, log_spread, opened, seen
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


_STRIP = 3.0
_USUAL = 2.0
_UNLIKE = 3.5


def _examine(plan: Plan) -> Iterator[Finding]:
    for folder in image_folders(plan):
        ratios = [(_ratio(record), record) for record in opened(folder)]
        usual = log_spread([ratio for ratio, _ in ratios], 0.2)
        if usual is None or usual.middle >= _USUAL:
            continue
        strips = [item for item in ratios if item[0] >= _STRIP and usual.score(item[0]) > _UNLIKE]
        if strips:
            strips.sort(key=lambda item: -item[0])
            message = f"{seen(folder, len(strips))} are strips; the usual ratio of the sides is {usual.middle:.1f}"
            files = [
                (record.path, f"{record.height} x {record.width} (height x width), ratio {ratio:.1f}")
                for ratio, record in strips
            ]
            fix = "Look at them: cut them into parts, or take them off the list."
            yield image_finding(plan, folder, "odd-aspect-ratio", Level.WARNING, message, files, fix)


def _ratio(record: ImageRecord) -> float:
    return max(record.height, record.width) / min(record.height, record.width)


RULE = Rule(
    slug="odd-aspect-ratio",
    family="data",
    title="An image has an unusual shape",
    level=Level.WARNING,
    log=absent("nothing is printed: the image is used as it is"),
    source=absent("only the files tell what is in them"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the batches look as they always do"),
    module=__name__,
)
