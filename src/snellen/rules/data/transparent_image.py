"""The alpha channel hides a part of an image, and loaders that drop alpha show what is below it.

What happens
------------
Nothing fails. `.convert("RGB")` and `cv2.imread` drop the alpha channel: where the viewer shows a clean cut-out,
the network sees whatever colours lie below it, often black, sometimes the whole former background.

Why
---
Cut-out objects, screenshots, logos, tiles of maps; editors keep, or clear to black, the colours of hidden pixels.

How to confirm
--------------
`(np.asarray(Image.open(name).convert("RGBA"))[..., 3] == 0).mean()` is the share of hidden pixels; from 1% on an
image is named.

Fix
---
Lay the image on a background of your choice before alpha is dropped: `Image.alpha_composite(Image.new("RGBA",
im.size, "white"), im.convert("RGBA")).convert("RGB")`. Snellen's own reading lays transparent pixels on white.

When it is something else
-------------------------
An alpha channel that hides nothing is only `mixed-colour-modes`, when few images have one.

Sources
-------
- Pillow, Image.alpha_composite: https://pillow.readthedocs.io/en/stable/reference/Image.html#PIL.Image.alpha_composite
- OpenCV, imread flags: https://docs.opencv.org/4.x/d8/d6a/group__imgcodecs__flags.html
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.finding import Finding, Level
from snellen.core.image_sets import FEW, image_finding, image_folders, measured, seen
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


_HIDDEN = 0.01
_WHOLE = 0.99


def _examine(plan: Plan) -> Iterator[Finding]:
    for folder in image_folders(plan):
        shares = [(pixels.transparent, record.path) for record, pixels in measured(folder)]
        hidden = sorted((item for item in shares if item[0] >= _HIDDEN), reverse=True)
        if not hidden:
            continue
        whole = sum(share >= _WHOLE for share, _ in hidden)
        message = f"in {seen(folder, len(hidden), pixels=True)} the alpha channel hides pixels"
        if whole:
            message += f" ({whole} are hidden altogether)"
        # A set of cut-outs is meant to be one; whoever drops alpha should still know.
        level = Level.WARNING if whole or len(hidden) <= FEW * len(shares) else Level.NOTE
        files = [(path, f"{share:.0%} of its pixels are hidden") for share, path in hidden]
        fix = "Lay them on one background before the alpha channel is dropped."
        yield image_finding(plan, folder, "transparent-image", level, message, files, fix)


RULE = Rule(
    slug="transparent-image",
    family="data",
    title="Parts of an image are hidden by its alpha channel",
    level=Level.WARNING,
    log=absent("nothing is printed: the image is used as it is"),
    source=absent("only the files tell what is in them"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the batches look as they always do"),
    module=__name__,
)
