"""A file holds several frames or pages where one image is expected.

What happens
------------
Nothing fails: Pillow, OpenCV and torchvision give the first frame, or all frames as one more dimension, and the
sample has another shape than the rest. The first page of a TIFF may be a thumbnail or the label of a slide.

Why
---
GIF, WebP and PNG files from the web are animated, TIFF files hold stacks, pyramids or masks as further pages,
phones store a depth map or a short clip in the same file.

How to confirm
--------------
`Image.open(name).n_frames` is above 1. `torchvision.io.decode_gif` gives `[frames, 3, height, width]`.

Fix
---
Take the frame that you mean and store it as a file of its own, or take these files off the list.

When it is something else
-------------------------
All files hold several frames: the set is one of stacks or clips, and the loader has to know.

Sources
-------
- Pillow, reading sequences: https://pillow.readthedocs.io/en/stable/handbook/tutorial.html#reading-sequences
- torchvision, decode_gif: https://docs.pytorch.org/vision/stable/generated/torchvision.io.decode_gif.html
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.finding import Finding, Level
from snellen.core.image_sets import FEW, image_finding, image_folders, opened, seen
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


_ALSO_A_PREVIEW = ("MPO",)
"""Photographs of phones with a second picture for screens: the first is the photograph."""


def _examine(plan: Plan) -> Iterator[Finding]:
    for folder in image_folders(plan):
        records = [record for record in opened(folder) if record.format not in _ALSO_A_PREVIEW]
        several = sorted(((record.frames, record.path) for record in records if record.frames > 1), reverse=True)
        if not several:
            continue
        message = f"{seen(folder, len(several))} hold several frames or pages, of which the first is taken"
        level = Level.WARNING if len(several) <= FEW * len(records) else Level.NOTE
        files = [(path, f"{frames} frames") for frames, path in several]
        fix = "Store the frame that is meant as a file of its own, or take these files off the list."
        yield image_finding(plan, folder, "animated-image", level, message, files, fix)


RULE = Rule(
    slug="animated-image",
    family="data",
    title="An image file holds several frames",
    level=Level.WARNING,
    log=absent("nothing is printed: the image is used as it is"),
    source=absent("only the files tell what is in them"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the batches look as they always do"),
    module=__name__,
)
