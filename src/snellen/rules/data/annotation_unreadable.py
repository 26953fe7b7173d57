"""An annotation cannot be read, or a line of it means nothing.

What happens
------------
`xml.etree.ElementTree.ParseError: no element found`, `JSONDecodeError`, `ValueError: could not convert string to
float` when the file is drawn; or the loader skips it without a word, and the image is trained as one without objects.

Why
---
A tool crashed while saving, a merge left its `<<<<<<<` marks, a spreadsheet changed points to commas, a text editor
changed the encoding. A table that Excel saved as CSV is in the encoding of that computer: `pandas.read_csv` stops with
`UnicodeDecodeError: 'utf-8' codec can't decode byte 0xe4`, or names of classes come out with other letters.

How to confirm
--------------
Parse every annotation once before training; the finding names those that fail and says why.

Fix
---
Export them anew from the labelling tool, or restore them from version control. Let the loader raise, not skip.

When it is something else
-------------------------
An annotation that reads well and has impossible boxes is `invalid-box`. One for another image size is
`annotation-size-mismatch`. A name of a class in two spellings is `class-name-variants`.

Sources
-------
- `xml.etree.ElementTree.ParseError`:
  https://docs.python.org/3/library/xml.etree.elementtree.html#xml.etree.ElementTree.ParseError
- Pascal VOC, format of annotations: https://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/index.html
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
    "annotation-unreadable": ("cannot be read", "Export these annotations again, or move them and their images away."),
    "row-unreadable": ("has a row that cannot be read", "Mend these rows: the evidence says where they stand."),
}

_DOUBTFUL: Mapping[ListingKind, tuple[str, str]] = {
    "encoding": (
        "is not UTF-8",
        "Save the table as UTF-8 (in Excel: CSV UTF-8), and look at names with letters beyond ASCII.",
    ),
}
"""It is read, perhaps not as it was written."""


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = plan.fact("audit")
    if not any(folder.samples or folder.problems for folder in folders):
        raise NotApplicable("no data folder holds annotations")
    yield from listing_findings(plan, folders, "annotation-unreadable", Level.ERROR, _KINDS)
    yield from listing_findings(plan, folders, "annotation-unreadable", Level.WARNING, _DOUBTFUL)


RULE = Rule(
    slug="annotation-unreadable",
    family="data",
    title="An annotation cannot be parsed",
    level=Level.ERROR,
    log=absent("parsers name the line but not the data set's file"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("what is missing never reaches a step"),
    module=__name__,
)
