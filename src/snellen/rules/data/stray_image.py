"""Images lie where the loader does not look, and are left out.

What happens
------------
Nothing fails: training simply sees fewer images than the folder holds, or a loader that takes every folder as a class
finds a class too many.

Why
---
Images were uploaded to the root, or an archive was unpacked one level too high. Folders lie deeper than any loader
looks, because a copy was made into itself. A link meant for an image leads to a device or a pipe.

How to confirm
--------------
Compare the number of files with `len(dataset)`.

Fix
---
Move the images to the folder that they belong to, or out of the data folder.

When it is something else
-------------------------
Previews and readme pictures beside the data are fine; mute the rule for them.

Sources
-------
- torchvision, `ImageFolder` looks into folders only:
  https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.ImageFolder.html
- `os.walk`: https://docs.python.org/3/library/os.html#os.walk
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
    "stray-file": ("is left out", "Move them to the folder that they belong to, or out of the data folder."),
    "no-plain-file": ("is a device, pipe or socket", "Put the images themselves in their place."),
    "unlisted-folder": (
        "is not listed to the end",
        "Point at the folder that holds the samples, remove copies of the set in itself, or split it into parts.",
    ),
}


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = plan.fact("audit")
    if not any(folder.samples or any(one.kind in _KINDS for one in folder.problems) for folder in folders):
        raise NotApplicable("no data folder holds images")
    yield from listing_findings(plan, folders, "stray-image", Level.WARNING, _KINDS)


RULE = Rule(
    slug="stray-image",
    family="data",
    title="Images lie outside of the layout",
    level=Level.WARNING,
    log=absent("what is left out raises nothing and prints nothing"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("what is missing never reaches a step"),
    module=__name__,
)
