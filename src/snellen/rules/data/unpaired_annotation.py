"""An image has no annotation, or an annotation has no image.

What happens
------------
Nothing is raised by loaders that take an image without annotation for one without objects. The detector is then taught
that the objects it sees there are background, and its recall falls.

Why
---
The annotation was lost in an export, is named otherwise, or was never made; an image was deleted and its annotation
stayed.

How to confirm
--------------
Compare the stems of both folders: `{p.stem for p in images} ^ {p.stem for p in annotations}`.

Fix
---
Complete the annotations, or move images without one away. An image that truly holds nothing gets an empty annotation,
so that it is a statement.

When it is something else
-------------------------
Background images are useful: Ultralytics recommends up to 10% of them; they carry an empty label file there.
Annotations that exist and cannot be parsed are `annotation-unreadable`.

Sources
-------
- Ultralytics, background images: https://docs.ultralytics.com/yolov5/tutorials/tips_for_best_training_results/
- YOLO format, one text file an image: https://docs.ultralytics.com/datasets/detect/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from snellen.core.audits import listing_findings
from snellen.core.facts.data import ListingKind
from snellen.core.finding import Finding, Level
from snellen.core.plan import Cost, NotApplicable, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_KINDS: Mapping[ListingKind, tuple[str, str]] = {
    "image-without-annotation": ("has no annotation", "Annotate them, or move them away."),
    "annotation-without-image": ("has no image", "Give these annotations the name of their image, or move them away."),
}


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = plan.fact("audit")
    if not any(any(sample.boxes != () for sample in folder.samples) for folder in folders):
        raise NotApplicable("no data folder holds boxes")
    yield from listing_findings(plan, folders, "unpaired-annotation", Level.WARNING, _KINDS)


RULE = Rule(
    slug="unpaired-annotation",
    family="data",
    title="An image or an annotation lacks its other half",
    level=Level.WARNING,
    log=absent("loaders take an image without annotation for background"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("what is missing never reaches a step"),
    module=__name__,
)
