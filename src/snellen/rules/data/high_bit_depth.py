"""All images have more than 8 bits per channel, and loaders for 8 bits spoil them.

What happens
------------
Nothing fails. `Image.open(name).convert("RGB")` cuts 16-bit grey values above 255 to white, so that nearly
everything is white; `cv2.imread(name)` divides by 256, so that 12-bit data, which fills only a sixteenth of the
range, is nearly black: at most level 15 of 255.

Why
---
Cameras and scanners with 10, 12 or 14 bits store them in 16. What the largest possible value is stands nowhere in
the file.

How to confirm
--------------
`np.asarray(Image.open(name)).max()` is above 255; when the largest value of the set is 1023, 4095 or 16383, the
device has 10, 12 or 14 bits.

Fix
---
Read with `cv2.IMREAD_UNCHANGED` or `tifffile`, convert to float, divide by the largest value that the device can
give (4095 for 12 bits), or by a percentile of the whole set; never by the maximum of each image, which throws away
their relative brightness. Snellen's own reading scales grey values by the smallest usual range that holds them.

When it is something else
-------------------------
A few deep images among 8-bit ones are `mixed-bit-depth`. A few dark images are `dark-image`.

Sources
-------
- Pillow, modes: https://pillow.readthedocs.io/en/stable/handbook/concepts.html#modes
- OpenCV, imread flags: https://docs.opencv.org/4.x/d8/d6a/group__imgcodecs__flags.html
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.facts.data import FolderAudit
from snellen.core.finding import Finding, Level
from snellen.core.image_sets import image_finding, image_folders, measured, opened, seen
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


_RANGES = (10, 12, 14)


def _examine(plan: Plan) -> Iterator[Finding]:
    for folder in image_folders(plan):
        records = list(opened(folder))
        deep = [record for record in records if record.bits > 8]
        if not deep or len(deep) < len(records):
            continue
        bits = deep[0].bits
        used = _bits_used(folder, bits)
        message = f"{seen(folder, len(deep))} have {bits} bits a channel; a loader for 8 bits cuts or divides them"
        if used is not None:
            message += f", and their values fill {used} of the {bits} bits"
        files = [(record.path, f"{record.mode}, {record.bits} bits a channel") for record in deep]
        divisor = 2 ** (used or bits) - 1
        fix = f"Read them unchanged (cv2.IMREAD_UNCHANGED), convert to float and divide by {divisor}."
        # An 8-bit loader shows at least something of values that fill the range.
        level = Level.WARNING if used is not None else Level.NOTE
        yield image_finding(plan, folder, "high-bit-depth", level, message, files, fix)


def _bits_used(folder: FolderAudit, bits: int) -> int | None:
    """Bits that the brightest pixels need, when these are far fewer than the file has; of 16-bit integers only."""
    high = max((pixels.high for _, pixels in measured(folder)), default=1.0)
    if bits != 16 or high <= 0:
        return None
    return next((used for used in _RANGES if high <= 2**used / 2**16), None)


RULE = Rule(
    slug="high-bit-depth",
    family="data",
    title="All images have more than 8 bits per channel",
    level=Level.WARNING,
    log=absent("nothing is printed: the image is used as it is"),
    source=absent("only the files tell what is in them"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the batches look as they always do"),
    module=__name__,
)
