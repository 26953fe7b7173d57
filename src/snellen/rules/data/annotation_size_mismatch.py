"""An annotation was made for another size of its image.

What happens
------------
Nothing fails as long as the boxes still fit. They lie beside their objects, by the factor between the two sizes: the
detector converges to boxes that are shifted towards the upper left corner.

Why
---
The images were resized after they had been annotated, or were replaced by larger originals; a phone's picture was
annotated upright and is stored lying on its side, with its turn in EXIF only.

How to confirm
--------------
Compare `size/width` and `size/height` of the XML (or `width` and `height` of the COCO entry) with the image; draw the
boxes.

Fix
---
Scale the boxes by the ratio of the sizes, which the finding computes, or put the images back that were annotated.

When it is something else
-------------------------
A size of 0 x 0 in the annotation means that the tool did not know it. That is a note only: the boxes are right, and a
program that turns them into shares divides by zero (`ZeroDivisionError`). The size of the image as stored, where its
EXIF orientation turns it, is `exif-rotation`. Boxes that reach over the edge in an annotation of the right size are
`invalid-box`.

Sources
-------
- Pascal VOC, field `size`: https://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/index.html
- COCO, `width` and `height` of an image: https://cocodataset.org/#format-data
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from snellen.core.audits import audited, file_evidence, share, short
from snellen.core.facts.data import FolderAudit, ImageRecord, Sample
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


def _examine(plan: Plan) -> Iterator[Finding]:
    stated = False
    for folder in audited(plan):
        compared, wrong = 0, list[tuple[str, str, tuple[float, float]]]()
        without: list[tuple[str, str]] = []
        for sample in folder.samples:
            image = folder.images.get(sample.image)
            if sample.stated_size is None or image is None or not image.height:
                continue
            stated, compared = True, compared + 1
            if 0 in sample.stated_size:
                without.append((_source(sample), f"it says {sample.stated_size[1]} x {sample.stated_size[0]}"))
                continue
            # The size of the image as stored is `exif-rotation`.
            if sample.stated_size not in (image.upright_size, (image.height, image.width)):
                wrong.append((_source(sample), *_compared(sample.stated_size, image)))
        if without:
            yield _sizeless(plan, folder, without, compared)
        if not wrong:
            continue
        path, text, _ = wrong[0]
        ratios = {ratio for _, _, ratio in wrong}
        one = next(iter(ratios))
        fix = "Scale the boxes of each file by the ratio of the sizes, or put the annotated images back."
        if len(ratios) == 1:
            fix = f"Multiply x by {one[0]:.4g} and y by {one[1]:.4g} in these annotations, or put the old images back."
        yield Finding(
            "annotation-size-mismatch",
            Level.ERROR,
            f"{folder.key}: {share(len(wrong), compared)} annotations are for another size of their image: "
            f"{short(path)}: {text}",
            setting_place(plan, folder.key),
            file_evidence((name, why) for name, why, _ in wrong),
            Fix(fix),
        )
    if not stated:
        raise NotApplicable("no annotation states the size of its image")


def _source(sample: Sample) -> str:
    return next((box.path for box in sample.boxes or ()), sample.image)


def _sizeless(plan: Plan, folder: FolderAudit, without: Sequence[tuple[str, str]], compared: int) -> Finding:
    path, text = without[0]
    return Finding(
        "annotation-size-mismatch",
        Level.NOTE,
        f"{folder.key}: {share(len(without), compared)} annotations say that their image has no pixels: "
        f"{short(path)}: {text}",
        setting_place(plan, folder.key),
        file_evidence(without),
        Fix("Write the size of the image: programs that convert boxes to shares divide by it."),
    )


def _compared(stated: tuple[int, int], image: ImageRecord) -> tuple[str, tuple[float, float]]:
    """What differs, and by which factors `(x, y)` its boxes would have to be scaled."""
    height, width = image.upright_size
    text = f"it says {stated[1]} x {stated[0]}, the image is {width} x {height}"
    if stated == (width, height):
        text += ": turned by a quarter, or height and width are swapped"
    return text, (round(width / stated[1], 4), round(height / stated[0], 4))


RULE = Rule(
    slug="annotation-size-mismatch",
    family="data",
    title="An annotation is for another size of its image",
    level=Level.ERROR,
    log=absent("boxes for another size raise nothing"),
    source=absent("only the annotations tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("targets are no part of a step's facts"),
    module=__name__,
)
