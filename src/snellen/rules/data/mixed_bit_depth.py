"""Some images have more bits per channel than the rest of the set.

What happens
------------
Nothing fails, or only later. Pillow turns a 16-bit grey image into 8 bits by cutting everything above 255 to white;
OpenCV's default divides by 256. A loader that divides by 255 gives values up to 257 for them, next to values up to
1.

Why
---
Images from a second microscope, scanner or export; PNG and TIFF files look alike in a viewer whatever their depth.

How to confirm
--------------
`Image.open(name).mode` is `I;16`, `I` or `F` in place of `L`; `file NAME` says `16-bit`. Of 16-bit colour images
Pillow keeps the upper 8 bits and says nothing.

Fix
---
Bring all images to one depth once, with one and the same scaling: `(pixels / pixels_max_of_the_device * 255)`, not
the maximum of each image. Or read all with `cv2.IMREAD_UNCHANGED` and divide by what the dtype holds.

When it is something else
-------------------------
A set that has more than 8 bits as a whole is `high-bit-depth`.

Sources
-------
- Pillow, modes: https://pillow.readthedocs.io/en/stable/handbook/concepts.html#modes
- OpenCV, imread flags: https://docs.opencv.org/4.x/d8/d6a/group__imgcodecs__flags.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from snellen.core.finding import Finding, Level
from snellen.core.image_sets import image_finding, image_folders, opened, seen
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


def _examine(plan: Plan) -> Iterator[Finding]:
    for folder in image_folders(plan):
        depths = {record.path: max(8, record.bits) for record in opened(folder)}
        counts = Counter(depths.values())
        if len(counts) < 2:
            continue
        usual = counts.most_common(1)[0][0]
        files = [(path, f"{bits} bits a channel, most have {usual}") for path, bits in depths.items() if bits != usual]
        message = f"{seen(folder, len(files))} have another bit depth than the rest ({_listed(counts)})"
        fix = "Bring all to one depth with one scaling, or read them unchanged and divide by what their dtype holds."
        yield image_finding(plan, folder, "mixed-bit-depth", Level.WARNING, message, sorted(files), fix)


def _listed(counts: Counter[int]) -> str:
    return ", ".join(f"{bits} bits {count}" for bits, count in counts.most_common())


RULE = Rule(
    slug="mixed-bit-depth",
    family="data",
    title="Images of different bit depths are mixed",
    level=Level.WARNING,
    log=absent("nothing is printed: the image is used as it is"),
    source=absent("only the files tell what is in them"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the batches look as they always do"),
    module=__name__,
)
