"""The mask of an image is the image itself.

What happens
------------
Nothing fails. The network is taught to reproduce brightness: the loss falls fast and the masks it predicts look like a
dark copy of the photograph.

Why
---
A glob matched both folders, a copy went the wrong way, or the labelling tool saved the picture because no layer was
selected.

How to confirm
--------------
`cmp image mask`, or open both: the mask shows the photograph.

Fix
---
Export the masks of these images again; take them out of the training set until then.

When it is something else
-------------------------
Alpha mattes and depth maps are grey pictures as well, but never equal to the image. A mask in a few flat colours is
`colour-mask`.

Sources
-------
- Pillow, `ImageChops.difference` shows whether two images are equal:
  https://pillow.readthedocs.io/en/stable/reference/ImageChops.html
- `filecmp`: https://docs.python.org/3/library/filecmp.html
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.audits import audited, file_evidence, listed, share, short
from snellen.core.facts.data import ImageRecord, MaskRecord
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_NEAR = 6
"""Bits of the 64 of a fingerprint in which an image and its grey or compressed copy differ at most."""
_SHADES = 64
"""A photograph has more shades than that; a mask has a few values."""


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = [folder for folder in audited(plan) if folder.masks]
    if not folders:
        raise NotApplicable("no data folder holds masks")
    for folder in folders:
        same, compared = list[tuple[str, str]](), 0
        for sample in folder.samples:
            image = folder.images.get(sample.image)
            for path in sample.masks:
                mask = folder.masks.get(path)
                if image is None or mask is None or mask.problem:
                    continue
                compared += 1
                text = _sameness(mask, image)
                if text:
                    same.append((path, text))
        if same:
            yield Finding(
                "mask-equals-image",
                Level.ERROR,
                f"{folder.key}: {share(len(same), compared)} masks show their image, not a mask: "
                f"{listed([short(path) for path, _ in same])}",
                setting_place(plan, folder.key),
                file_evidence(same),
                Fix("Export these masks again; until then move their images away."),
            )


def _sameness(mask: MaskRecord, image: ImageRecord) -> str:
    if mask.digest and mask.digest == image.digest:
        return f"is byte for byte {short(image.path)}"
    if mask.fingerprint is None or image.pixels is None or mask.distinct <= _SHADES:
        return ""
    bits = (mask.fingerprint ^ image.pixels.fingerprint).bit_count()
    return f"shows {short(image.path)} in {mask.distinct} shades" if bits <= _NEAR else ""


RULE = Rule(
    slug="mask-equals-image",
    family="data",
    title="A mask is a copy of its image",
    level=Level.ERROR,
    log=absent("nothing is raised and nothing is printed"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("targets are no part of a step's facts"),
    module=__name__,
)
