"""An annotation says inside that it belongs to another image.

What happens
------------
Loaders that go by the name of the file train this image against the boxes of another; those that go by the entry
inside open the other image twice and this one never.

Why
---
Files were renumbered on one side, copied as templates, or sorted in another order than the images.

How to confirm
--------------
Compare `<filename>` of each XML with the name of its file; draw the boxes over the image.

Fix
---
Rename the annotation to the image that it names, after a look at both; or correct the entry if the boxes fit.

When it is something else
-------------------------
If nearly all entries differ, the set was renamed as a whole and the entries are old: nothing is wrong as long as boxes
fit.

Sources
-------
- Pascal VOC, field `filename`: https://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/index.html
- LabelImg: https://github.com/HumanSignal/labelImg
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
    "other-name": ("names another image inside", "Rename them to the image that they name, or correct the entry."),
}


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = plan.fact("audit")
    if not any(any(sample.boxes != () for sample in folder.samples) for folder in folders):
        raise NotApplicable("no data folder holds annotations")
    yield from listing_findings(plan, folders, "annotation-of-other-image", Level.WARNING, _KINDS)


RULE = Rule(
    slug="annotation-of-other-image",
    family="data",
    title="An annotation belongs to another image",
    level=Level.WARNING,
    log=absent("a wrong pair raises nothing and prints nothing"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("what is missing never reaches a step"),
    module=__name__,
)
