"""The labels do not hold what the run is to learn.

What happens
------------
Before the first step: `KeyError: 'lesion'` from a table without that column, or `ValueError: y contains previously
unseen labels`. Or nothing happens: an image that is listed twice gets the label that stands last, a network or head
that sees a single class answers with that class and its loss is 0 from the start, and a class that only the test part
has is counted as another one, so that the figures are wrong.

Why
---
A table of several labels is written by several hands. Columns are renamed, names of classes come in two spellings, rows
are pasted twice, and the part for testing has a class that the part for training lacks. A class weight that is written
for a name that no label has weighs nothing. Folders of classes are one level deeper than the path says, or the path
leads to the folder of one class, so that all images are of one class or of none.

How to confirm
--------------
Count each column of the table by part: `pandas.read_csv("labels.csv").groupby("part")["lesion"].value_counts()`, and
look for images that stand in two rows: `.duplicated("image", keep=False)`. With folders, list those in the path that
`data.train` gives: there must be at least two, named after the classes.

Fix
---
Give each image one row, each class one name, and each head the name of its column. Leave a cell empty where a label is
not known. Move some samples of a class that only validation or test holds to training, or leave their labels empty.
For a classification, point `data.train` at the folder that holds one folder for each class, or at the table.

When it is something else
-------------------------
A folder that is not there is `missing-file`. Classes that only look strange in folders of classes are `label-missing`,
`class-name-variants` and `class-only-in-validation`, which say so for any task.

Sources
-------
- scikit-learn, labels that an encoder has not seen:
  https://scikit-learn.org/stable/modules/generated/sklearn.preprocessing.LabelEncoder.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from snellen.core.facts.labels import LabelTrouble
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


def _examine(plan: Plan) -> Iterator[Finding]:
    troubles: Sequence[LabelTrouble] = plan.fact("label_troubles")
    for one in troubles:
        level = Level.ERROR if one.trains else Level.WARNING
        later = "" if one.trains else "; training goes on, an evaluation on it is refused"
        text = one.hint or "correct the labels, or the run file"
        fix = Fix(text[0].upper() + text[1:] + ("" if text.endswith("?") else "."))
        yield Finding("labels-unusable", level, one.message + later, setting_place(plan, one.key), fix=fix)


RULE = Rule(
    slug="labels-unusable",
    family="data",
    title="The labels do not hold what the run is to learn",
    level=Level.ERROR,
    log=absent("a KeyError of a column is raised by tables of any kind, and names no label"),
    source=absent("only the table tells, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("labels are read before the first step"),
    module=__name__,
)
