"""A mask has another size than its image.

What happens
------------
`ValueError: operands could not be broadcast together`, `The size of tensor a (480) must match the size of tensor b
(640)`, or albumentations' `Height and Width of image, mask or masks should be equal`. Code that resizes both to a
square says nothing, and the mask lies turned or shifted over its image.

Why
---
One of the two was resized, cropped or exported in another resolution.

How to confirm
--------------
`ImageOps.exif_transpose(Image.open(image)).size` against `Image.open(mask).size`.

Fix
---
Export the mask in the size of its image. A mask that is smaller by a whole factor may be enlarged with
`Image.NEAREST`.

When it is something else
-------------------------
A mask that fits its image as stored but not upright, as its EXIF orientation asks for, is `exif-rotation`: nothing is
wrong with the mask. Sizes that differ between images are normal and handled by resizing, cropping or padding: see
`collate-size-mismatch`. Maps inside of the network: see `spatial-mismatch`.

Sources
-------
- Pillow, `ImageOps.exif_transpose`:
  https://pillow.readthedocs.io/en/stable/reference/ImageOps.html#PIL.ImageOps.exif_transpose
- albumentations, `is_check_shapes`: https://albumentations.ai/docs/api-reference/albumentations/core/composition/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from snellen.core.audits import audited, file_evidence, share, short
from snellen.core.facts.data import ImageRecord, MaskRecord
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = [folder for folder in audited(plan) if folder.masks]
    if not folders:
        raise NotApplicable("no data folder holds masks")
    for folder in folders:
        compared, wrong = 0, list[tuple[str, str]]()
        for sample in folder.samples:
            image = folder.images.get(sample.image)
            for path in sample.masks:
                mask = folder.masks.get(path)
                if image is None or mask is None or not image.height or not mask.height:
                    continue
                compared += 1
                # One that fits the image as stored is `exif-rotation`.
                if (mask.height, mask.width) not in (image.upright_size, (image.height, image.width)):
                    wrong.append((path, _described(mask, image)))
        if wrong:
            path, text = wrong[0]
            yield Finding(
                "mask-size-mismatch",
                Level.ERROR,
                f"{folder.key}: {share(len(wrong), compared)} masks have another size than their image: "
                f"{short(path)} {text}",
                setting_place(plan, folder.key),
                file_evidence(wrong),
                Fix(_remedy([text for _, text in wrong])),
            )


def _described(mask: MaskRecord, image: ImageRecord) -> str:
    height, width = image.upright_size
    sizes = f"is {mask.width} x {mask.height}, its image {width} x {height}"
    if (mask.width, mask.height) == (height, width):
        return f"{sizes}: it is turned by a quarter"
    factor = height / mask.height
    if abs(width / mask.width - factor) < 0.02 * factor:
        return f"{sizes}: a factor of {factor:.3g}"
    return f"{sizes}: another shape"


def _remedy(texts: Sequence[str]) -> str:
    if all("turned" in text for text in texts):
        return "Turn the masks: `mask.transpose(Image.ROTATE_90)` or `ROTATE_270`, whichever lies over the image."
    return "Export the masks in the size of their images; enlarge by whole factors with `Image.NEAREST` only."


RULE = Rule(
    slug="mask-size-mismatch",
    family="data",
    title="A mask and its image differ in size",
    level=Level.ERROR,
    log=absent("the message names shapes of arrays, see `spatial-mismatch`"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the loader fails before the batch reaches a step"),
    module=__name__,
)
