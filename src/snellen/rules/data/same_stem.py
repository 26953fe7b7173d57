"""Two images of one name share one mask or annotation.

What happens
------------
Nothing fails. `a.jpg` and `a.png`, or `day/a.jpg` and `night/a.jpg`, are both paired with `a.xml` or `masks/a.png`:
one of them is trained against what belongs to the other.

Why
---
Folders were merged, or images were converted to another format and the old ones kept.

How to confirm
--------------
`ls images | sed 's/[.][^.]*$//' | sort | uniq -d` prints the names that occur twice.

Fix
---
Remove the converted copies, or rename image and mask together so that every stem occurs once.

When it is something else
-------------------------
Equal names in class folders are normal: nothing is paired by name there. Two files of equal content are duplicates,
whatever their names.

Sources
-------
- YOLO, images and labels are paired by stem: https://docs.ultralytics.com/datasets/detect/
- `pathlib.PurePath.stem`: https://docs.python.org/3/library/pathlib.html#pathlib.PurePath.stem
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
    "same-name": (
        "shares its name with another",
        "Remove converted copies, or rename each image together with what belongs to it.",
    ),
}


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = plan.fact("audit")
    if not folders:
        raise NotApplicable("the run names no data folder")
    yield from listing_findings(plan, folders, "same-stem", Level.WARNING, _KINDS)


RULE = Rule(
    slug="same-stem",
    family="data",
    title="Two images share one name",
    level=Level.WARNING,
    log=absent("a wrong pair raises nothing and prints nothing"),
    source=absent("only the folder tells which names occur twice"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("targets are no part of a step's facts"),
    module=__name__,
)
