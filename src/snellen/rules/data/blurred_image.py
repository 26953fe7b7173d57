"""An image is out of focus or smeared, unlike the others of its set.

What happens
------------
Nothing fails. Blurred images among sharp ones teach a classifier little and a segmenter wrong borders; as
validation images they count as errors of the model.

Why
---
A missed focus, a moving camera, a thumbnail enlarged to the size of the others, strong compression, a filter that
was applied to some images only.

How to confirm
--------------
At a side of at most 512 pixels, the standard deviation of the Laplacian of the brightness is more than 2 robust
widths (of the logarithm, at least 15%) below the set's, and so is its ratio to the contrast, which takes care of
smooth scenes; together they are more than 5.6 widths below. Measured on 25 public sets: no image is flagged (the
softest, a small photograph of an animal, lies 4.5 below), and a Gaussian blur of 5 pixels at a side of 512 is.

Fix
---
Look at the images that are named. Keep them if the images of the application are blurred, too; take them off the
list otherwise. Do not sharpen them: the detail is lost.

When it is something else
-------------------------
Images whose shorter side is under 64 pixels are not judged: there a blur and a smooth surface look alike. The
blurred half of a deblurring pair is left out. Little contrast is `low-contrast-image`. An enlarged image is often
an `odd-image-size`, too.

Sources
-------
- cleanvision, the faults of images it looks for: https://github.com/cleanlab/cleanvision
- Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy (variance of the Laplacian): https://doi.org/10.1109/ICPR.2000.903548
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.facts.data import FolderAudit
from snellen.core.finding import Finding, Level
from snellen.core.image_sets import log_spread, measured, pixel_findings
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


_SMALLEST = 64
_FLAT = 0.02
_EACH, _TOGETHER = -2.0, -5.6


def _examine(plan: Plan) -> Iterator[Finding]:
    said = "are blurred, unlike the others"
    fix = "Look at them; take them off the list unless the application's images are blurred, too."
    return pixel_findings(plan, "blurred-image", _blurred, said, fix)


def _blurred(folder: FolderAudit) -> list[tuple[str, str]]:
    meant_to_be = {sample.image for sample in folder.samples if sample.partner is not None}
    found = [
        (record.path, pixels.sharpness, pixels.sharpness / pixels.deviation)
        for record, pixels in measured(folder)
        if record.path not in meant_to_be
        and min(record.height, record.width) >= _SMALLEST
        and pixels.deviation >= _FLAT
    ]
    sharpness = log_spread([absolute for _, absolute, _ in found], 0.15)
    detail = log_spread([ratio for _, _, ratio in found], 0.15)
    if sharpness is None or detail is None:
        return []
    soft = sorted(
        (sharpness.score(absolute), absolute, path)
        for path, absolute, ratio in found
        if max(scores := (sharpness.score(absolute), detail.score(ratio))) < _EACH and sum(scores) < _TOGETHER
    )
    return [(path, f"sharpness {absolute:.4f}, usual are {sharpness.middle:.4f}") for _, absolute, path in soft]


RULE = Rule(
    slug="blurred-image",
    family="data",
    title="An image is blurred",
    level=Level.WARNING,
    log=absent("nothing is printed: the image is used as it is"),
    source=absent("only the files tell what is in them"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the batches look as they always do"),
    module=__name__,
)
