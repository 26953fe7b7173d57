"""An image is far larger or smaller than the rest of its set, or the only one of its size.

What happens
------------
Resized to the common side, what it shows has another scale than in the other images; kept as it is, a batch of it
needs several times the memory, late in an epoch, or cannot be stacked.

Why
---
A thumbnail or an original among copies for the web, a screenshot, a scan at another resolution, a tile at the edge
of a slide.

How to confirm
--------------
Where at least 95% of the set have one size, each other size is named. Elsewhere an image is named whose side (the
square root of its area) differs from the set's median by more than four times and by more than 3 robust widths (of
the logarithm, at least 25%).

Fix
---
Look at the images that are named. Fetch the right version, resize it, or take it off the list.

When it is something else
-------------------------
Under 32 pixels a side is `tiny-image`. An unusual shape is `odd-aspect-ratio`. All images differ in size and
batches fail: `collate-size-mismatch`. All are far larger than the run needs: `oversized-image`.

Sources
-------
- cleanvision, the faults of images it looks for: https://github.com/cleanlab/cleanvision
- Median absolute deviation as a robust width: https://en.wikipedia.org/wiki/Median_absolute_deviation
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from snellen.core.facts.data import ImageRecord
from snellen.core.finding import Finding, Level
from snellen.core.image_sets import FEWEST, image_finding, image_folders, log_spread, opened, seen
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


_UNIFORM = 0.95
_UNLIKE = 3.0
_TIMES = 4.0
_TINY = 32


def _examine(plan: Plan) -> Iterator[Finding]:
    for folder in image_folders(plan):
        records = [record for record in opened(folder) if min(record.height, record.width) >= _TINY]
        if len(records) < FEWEST:
            continue
        # A photograph in portrait among landscapes is of the same size.
        sizes = Counter(_size(record) for record in records)
        size, most = sizes.most_common(1)[0]
        if most == len(records):
            continue
        if most >= _UNIFORM * len(records):
            others = sorted((record for record in records if _size(record) != size), key=_side)
            files = [(record.path, f"{record.height} x {record.width} (height x width)") for record in others]
            message = f"{seen(folder, len(files))} are not of the size {size[0]} x {size[1]} that all others have"
        else:
            files, usual = _far_off(records)
            message = f"{seen(folder, len(files))} are far from the usual size of {usual:.0f} pixels a side"
        if files:
            fix = "Look at them: fetch the right version, resize them, or take them off the list."
            yield image_finding(plan, folder, "odd-image-size", Level.WARNING, message, files, fix)


def _far_off(records: list[ImageRecord]) -> tuple[list[tuple[str, str]], float]:
    usual = log_spread([_side(record) for record in records], 0.25)
    if usual is None:
        return [], 0.0
    far = [
        (abs(usual.score(_side(record))), record)
        for record in records
        if abs(usual.score(_side(record))) > _UNLIKE
        and not usual.middle / _TIMES <= _side(record) <= usual.middle * _TIMES
    ]
    far.sort(key=lambda item: -item[0])
    return [(record.path, f"{record.height} x {record.width} (height x width)") for _, record in far], usual.middle


def _size(record: ImageRecord) -> tuple[int, int]:
    return max(record.height, record.width), min(record.height, record.width)


def _side(record: ImageRecord) -> float:
    return float((record.height * record.width) ** 0.5)


RULE = Rule(
    slug="odd-image-size",
    family="data",
    title="An image is far larger or smaller than its set",
    level=Level.WARNING,
    log=absent("nothing is printed: the image is used as it is"),
    source=absent("only the files tell what is in them"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the batches look as they always do"),
    module=__name__,
)
