"""The same box stands twice in one annotation.

What happens
------------
Nothing fails. The object counts twice in the loss; in evaluation the second box can never be matched, so that recall
and average precision stay below what the detector deserves.

Why
---
Two annotators' files were merged, an export was appended to an old file, or a box was copied and not moved.

How to confirm
--------------
Count equal rows: `sort labels/a.txt | uniq -d`.

Fix
---
Remove the second of each pair: equal class and equal numbers carry nothing new.

When it is something else
-------------------------
Two boxes that overlap much without being equal may be two objects, one behind the other; this rule leaves them alone.

Sources
-------
- Ultralytics removes duplicate labels and warns: https://docs.ultralytics.com/datasets/detect/
- COCO, matching of ground truth in the evaluation: https://cocodataset.org/#detection-eval
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.audits import MAX_EVIDENCE, audited, share, short
from snellen.core.facts.data import Box
from snellen.core.finding import Evidence, Finding, Fix, Level, Location
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = [folder for folder in audited(plan) if any(sample.boxes for sample in folder.samples)]
    if not folders:
        raise NotApplicable("no data folder holds boxes")
    for folder in folders:
        total, twice = 0, list[tuple[Box, Box]]()
        for sample in folder.samples:
            seen: dict[tuple[str, tuple[float, ...]], Box] = {}
            for box in sample.boxes or ():
                total += 1
                first = seen.setdefault((box.label, box.values), box)
                if first is not box:
                    twice.append((first, box))
        if not twice:
            continue
        images = len({box.path for _, box in twice})
        yield Finding(
            "duplicate-box",
            Level.WARNING,
            f"{folder.key}: {share(len(twice), total)} boxes stand a second time in their annotation, "
            f"in {images} {'file' if images == 1 else 'files'}: {_told(twice[0][1])}",
            setting_place(plan, folder.key),
            tuple(Evidence(_told(box), Location(box.path, box.line)) for _, box in twice[:MAX_EVIDENCE]),
            Fix(f"Remove the {len(twice)} repeated boxes; the evidence names file and line."),
        )


def _told(box: Box) -> str:
    return f"[{', '.join(f'{value:g}' for value in box.values)}] of class {box.label} in {short(box.path)}"


RULE = Rule(
    slug="duplicate-box",
    family="data",
    title="A box is annotated twice",
    level=Level.WARNING,
    log=absent("repeated boxes raise nothing and print nothing"),
    source=absent("only the annotations tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("targets are no part of a step's facts"),
    module=__name__,
)
