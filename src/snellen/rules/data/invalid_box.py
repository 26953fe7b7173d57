"""A few boxes are impossible: empty, reversed, negative or outside of their image.

What happens
------------
torchvision's detectors stop with `All bounding boxes should have positive height and width. Found invalid box`,
albumentations with `Expected x_max to be in the range [0.0, 1.0]`, hours into an epoch when that image is drawn.
Loaders that clip say nothing and train on slivers; a box without area makes the loss of its regression infinite.

Why
---
A click without a drag, a box drawn from the lower right corner, one pushed over the edge of the image, a row edited by
hand.

How to confirm
--------------
Compute `x2 - x1` and `y2 - y1` for all boxes and compare with the size of the image; the finding lists file, line and
numbers.

Fix
---
Boxes without area: drop them. Reversed ones: sort the corners. Those that reach over the edge: clip to the image.
Boxes far outside belong to another image: annotate again.

When it is something else
-------------------------
If many boxes are wrong, all are written in another convention: see `box-format`. A wrong size in the annotation is
`annotation-size-mismatch`.

Sources
-------
- torchvision, checks of the targets:
  https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.detection.fasterrcnn_resnet50_fpn.html
- albumentations, `clip` and `filter_invalid_bboxes`:
  https://albumentations.ai/docs/3-basic-usage/bounding-boxes-augmentations/
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from snellen.core.audits import MAX_EVIDENCE, audited, share, short
from snellen.core.boxes import READINGS, PlacedBox, fault, other_reading, placed_boxes
from snellen.core.finding import Evidence, Finding, Fix, Level, Location
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_DROP = frozenset({"has no area", "is not finite", "lies outside of the image"})


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = [(folder, boxes) for folder in audited(plan) if (boxes := list(placed_boxes(folder)))]
    if not folders:
        raise NotApplicable("no data folder holds boxes")
    for folder, boxes in folders:
        wrong = [(one, text) for one in boxes if (text := fault(one.box.values, one.box.convention, one.size))]
        # Boxes of which many are wrong are written in another convention, which is box-format's to say.
        if not wrong or other_reading(boxes) is not None:
            continue
        kinds = Counter(text for _, text in wrong)
        one, text = wrong[0]
        yield Finding(
            "invalid-box",
            Level.ERROR,
            f"{folder.key}: {share(len(wrong), len(boxes))} boxes are impossible "
            f"({', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}): {_told(one, text)}",
            setting_place(plan, folder.key),
            tuple(Evidence(_told(box, why), Location(box.box.path, box.box.line)) for box, why in wrong[:MAX_EVIDENCE]),
            Fix(_another(boxes) if len(wrong) > len(boxes) / 2 else " ".join(_remedies(kinds))),
        )


def _told(one: PlacedBox, text: str) -> str:
    numbers = ", ".join(f"{value:g}" for value in one.box.values)
    height, width = one.size
    return f"[{numbers}] of class {one.box.label} in {short(one.image.path)} ({width} x {height}) {text}"


def _another(boxes: Sequence[PlacedBox]) -> str:
    """What to do about boxes that are wrong as a whole."""
    stated = boxes[0].box.convention
    largest = max((value for one in boxes for value in one.box.values if math.isfinite(value)), default=0.0)
    numbers = f"They are read as {READINGS[stated]}"
    if stated.startswith("relative-") and largest > 1.5:
        numbers += f", and go up to {largest:g}: they are pixels"
    return (
        f"{numbers}. So many are no slips: they are in another format, for other sizes of the images, or beside other "
        "images. Draw some, and export them again."
    )


def _remedies(kinds: Counter[str]) -> Iterator[str]:
    dropped = sum(kinds[kind] for kind in _DROP)
    if dropped:
        yield f"Drop the {dropped} without area or outside."
    if kinds["ends before it begins"]:
        yield f"Sort the corners of the {kinds['ends before it begins']} reversed ones."
    if kinds["reaches over the edge"] or kinds["has negative coordinates"]:
        yield "Clip those that reach over the edge to the image."


RULE = Rule(
    slug="invalid-box",
    family="data",
    title="Boxes are empty, reversed or outside of their image",
    level=Level.ERROR,
    log=absent("the assertion about one box is `box-format` in a log"),
    source=absent("only the annotations tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("targets are no part of a step's facts"),
    module=__name__,
)
