"""An image of a few pixels stands among large ones: an icon, a thumbnail or a tracking pixel.

What happens
------------
Enlarged to the side of the others it is a few flat squares. A backbone with stride 32 turns an image of under 32
pixels into nothing: `RuntimeError: Calculated padded input size per channel: (2 x 2). Kernel size: (3 x 3). Kernel
size can't be greater than actual input size`.

Why
---
Crawled pages hold icons and tracking pixels of 1 x 1; previews lie in the same folder; a crop around an object was
made from a box of no size.

How to confirm
--------------
The shorter side is under 32 pixels while that of the set's median image is at least 64; or the run brings images to
a side that is more than 8 times its shorter side, and the median image is at least half as large as that.

Fix
---
Take them off the list, or fetch the originals of the previews. `min(Image.open(name).size)` finds them.

When it is something else
-------------------------
A set that consists of small images, such as CIFAR, is none of this: enlarging all of it is a decision. A large
image among others is `odd-image-size`.

Sources
-------
- torch, Conv2d and its output size: https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html
- cleanvision, the faults of images it looks for: https://github.com/cleanlab/cleanvision
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from snellen.core.finding import Finding, Level
from snellen.core.image_sets import image_finding, image_folders, opened, seen, set_side
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


_TINY = 32
_NOT_SMALL = 64
_ENLARGED = 8


def _examine(plan: Plan) -> Iterator[Finding]:
    for folder in image_folders(plan):
        usual, wanted = set_side(folder), _wanted(plan)
        least = float(_TINY) if usual >= _NOT_SMALL else 0.0
        if wanted and usual >= wanted / 2:
            least = max(least, wanted / _ENLARGED)
        tiny = sorted(
            (min(record.height, record.width), record.path, record)
            for record in opened(folder)
            if min(record.height, record.width) < least
        )
        if tiny:
            message = f"{seen(folder, len(tiny))} have a side of under {least:.0f} pixels; usual are {usual:.0f}"
            files = [(record.path, f"{record.height} x {record.width} (height x width)") for _, _, record in tiny]
            fix = "Take them off the list, or fetch the originals of which they are previews."
            yield image_finding(plan, folder, "tiny-image", Level.WARNING, message, files, fix)


def _wanted(plan: Plan) -> int:
    """The shorter side that the run brings images to, 0 when it keeps their size."""
    data = plan.settings.get("data")
    size = data.get("image_size") if isinstance(data, Mapping) else None
    sides = size if isinstance(size, (list, tuple)) else [size]
    return min(sides) if sides and all(isinstance(side, int) and side > 0 for side in sides) else 0


RULE = Rule(
    slug="tiny-image",
    family="data",
    title="An image has only a few pixels",
    level=Level.WARNING,
    log=absent("nothing is printed: the image is used as it is"),
    source=absent("only the files tell what is in them"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the batches look as they always do"),
    module=__name__,
)
