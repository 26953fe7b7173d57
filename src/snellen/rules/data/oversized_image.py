"""Images are far larger than the run uses them, and every epoch decodes all of it anew.

What happens
------------
The GPU waits for the loader: utilisation is low, `data` time is most of a step, more workers help until the CPU
cores are used up.

Why
---
A photograph of 24 megapixels takes a core a quarter of a second to decode, to be shrunk to 224 x 224: 480 times
fewer pixels. Pillow, OpenCV and torchvision decode all pixels before they resize (JPEG alone can be decoded at an
eighth).

How to confirm
--------------
`Image.open(name).size` against `data.image_size`. The seconds of the finding count all pixels of an epoch, at 100
million a second and core, shared by the workers: libjpeg-turbo decodes about 200 million, PNG about 50 million on a
core of a server.

Fix
---
Store a copy with the shorter side at about twice the input's side, so that random crops keep their detail: `mogrify
-path small -resize 512x512^ *.jpg`. For JPEG, `Image.draft("RGB", (w, h))` decodes at a fraction.

When it is something else
-------------------------
One huge image among others is `odd-image-size`; one that Pillow refuses is `decompression-bomb`. Crops at full
resolution need all pixels: nothing is wrong then.

Sources
-------
- Pillow, Image.draft: https://pillow.readthedocs.io/en/stable/reference/Image.html#PIL.Image.Image.draft
- FFCV, on the cost of decoding: https://docs.ffcv.io/
- libjpeg-turbo, performance: https://libjpeg-turbo.org/About/Performance
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from snellen.core.finding import Finding, Level
from snellen.core.image_sets import image_finding, image_folders, opened
from snellen.core.plan import Cost, NotApplicable, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


_TIMES = 16
"""Pixels of the median image for each one that the run uses: four times its side."""
_RATE = 100e6
_WORTH_A_LOOK = 10.0
"""Seconds of one core and epoch below which nobody waits."""
_MOST_WORKERS = 8


def _examine(plan: Plan) -> Iterator[Finding]:
    data = plan.settings.get("data")
    size = data.get("image_size") if isinstance(data, Mapping) else None
    sides = [size, size] if isinstance(size, int) else list(size) if isinstance(size, (list, tuple)) else []
    if not isinstance(data, Mapping) or not sides or not all(isinstance(side, int) and side > 0 for side in sides):
        raise NotApplicable("the run names no data.image_size, so that images keep their size")
    used = sides[0] * sides[-1]
    for folder in image_folders(plan):
        pixels = sorted(((record.height * record.width, record) for record in opened(folder)), key=lambda one: -one[0])
        if not pixels:
            continue
        middle = pixels[len(pixels) // 2][0]
        core_seconds = sum(count for count, _ in pixels) / _RATE
        if middle < _TIMES * used or core_seconds < _WORTH_A_LOOK:
            continue
        workers = _workers(plan, data)
        message = (
            f"the usual image has {middle / 1e6:.1f} megapixels, {middle / used:.0f} times what the run uses "
            f"({sides[0]} x {sides[-1]}): decoding takes "
            f"about {core_seconds / workers:.0f} s an epoch on {workers} cores"
        )
        files = [(record.path, f"{record.height} x {record.width} (height x width)") for _, record in pixels]
        side = 2 * max(sides)
        fix = f"Store a copy with a shorter side of about {side} pixels, and train on that."
        yield image_finding(plan, folder, "oversized-image", Level.NOTE, message, files, fix)


def _workers(plan: Plan, data: Mapping[str, Any]) -> int:
    given = data.get("workers")
    if isinstance(given, int):
        return max(1, given)
    try:
        cpus = plan.fact("machine").cpus
    except NotApplicable:
        return 1
    return min(_MOST_WORKERS, max(1, (cpus or 2) - 1))


RULE = Rule(
    slug="oversized-image",
    family="data",
    title="Images are far larger than the run uses them",
    level=Level.NOTE,
    log=absent("a slow loader prints nothing of its own"),
    source=absent("only the files tell how large they are"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("that the loader is slow is seen by other means"),
    module=__name__,
)
