"""A row of the table names an image and no class.

What happens
------------
`nan` appears among the class names, `KeyError: nan` or `could not convert string to float: ''` is raised; a loader
that fills gaps with 0 makes all of these the first class.

Why
---
The table was exported before labelling was finished, or a join found no partner for some rows.

How to confirm
--------------
`table[table.label.isna()]` shows the rows.

Fix
---
Fill in the class, or take the row out; never fill gaps with a number that is a class.

When it is something else
-------------------------
A row whose file is gone is `missing-file`. A default in code that hides such rows is `class-map-default`.

Sources
-------
- pandas, missing data: https://pandas.pydata.org/docs/user_guide/missing_data.html
- `csv`: https://docs.python.org/3/library/csv.html
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
    "label-missing": ("has no class", "Fill in the class of these rows, or take them out of the table."),
}

_UNLISTED: Mapping[ListingKind, tuple[str, str]] = {
    "image-without-annotation": ("is in no table", "Add their rows, or move them away: they are not used."),
}


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = plan.fact("audit")
    if not any(folder.layout == "class-csv" for folder in folders):
        raise NotApplicable("no data folder holds labelled rows")
    yield from listing_findings(plan, folders, "label-missing", Level.ERROR, _KINDS)
    tables = [folder for folder in folders if folder.layout == "class-csv"]
    yield from listing_findings(plan, tables, "label-missing", Level.NOTE, _UNLISTED)


RULE = Rule(
    slug="label-missing",
    family="data",
    title="Rows of the table have no class",
    level=Level.ERROR,
    log=absent("the message depends on the loader"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("what is missing never reaches a step"),
    module=__name__,
)
