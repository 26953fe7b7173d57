"""A class of the queries is in no support set.

What happens
------------
Such a query can only be answered wrongly, since the answer is one of the classes of the support set. Accuracy has a
ceiling that nobody sees.

Why
---
A folder of the support set was not uploaded, or is spelled otherwise (`Red Blood` and `red_blood`).

How to confirm
--------------
`set(query_labels) - set(support_labels)` must be empty.

Fix
---
Add support images of the class, take its queries out, or rename the folder: where only the spelling differs the
finding says so.

When it is something else
-------------------------
Queries in a folder `Unknown` are of no class on purpose, and are not counted. Shots that are missing for a known class
are `support-set-short`.

Sources
-------
- Vinyals et al., Matching networks: https://arxiv.org/abs/1606.04080
- Scheirer et al., Toward open set recognition: https://doi.org/10.1109/TPAMI.2012.256
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePath

from snellen.core.audits import MAX_EVIDENCE, audited, listed, share
from snellen.core.classes_of import folded
from snellen.core.facts.data import Sample
from snellen.core.finding import Evidence, Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


def _on_purpose(sample: Sample) -> bool:
    """Whether a query lies in a folder that says that it is of no class."""
    return sample.label is None and any(folded(part.name) == "unknown" for part in PurePath(sample.image).parents[:3])


def _examine(plan: Plan) -> Iterator[Finding]:
    judged = False
    for folder in audited(plan):
        known = {sample.label for sample in folder.samples if sample.role == "support" and sample.label is not None}
        queries = [sample for sample in folder.samples if sample.role == "query"]
        sorted_by_class = any(sample.label is not None for sample in queries)
        # Where queries are sorted by class, one without is in a folder that no support set is named after.
        asked = Counter(
            sample.label or PurePath(sample.image).parent.name
            for sample in queries
            if sorted_by_class and not _on_purpose(sample)
        )
        if not known or not asked:
            continue
        judged = True
        unknown = sorted(set(asked) - known)
        if not unknown:
            continue
        spelled = {name: other for name in unknown for other in known if folded(name) == folded(other)}
        fix = (
            f"Add support images of {listed(unknown)}, or take these queries out; move them into a folder `Unknown` "
            "where they are meant to be of no class."
        )
        if spelled:
            fix = f"Rename: {', '.join(f'{name!r} to {other!r}' for name, other in sorted(spelled.items()))}."
        count = sum(asked[name] for name in unknown)
        yield Finding(
            "unknown-query-class",
            Level.ERROR,
            f"{folder.key}: {share(count, sum(asked.values()))} queries are of {len(unknown)} "
            f"{'class' if len(unknown) == 1 else 'classes'} that no support set holds: {listed(unknown, 6)}",
            setting_place(plan, folder.key),
            tuple(Evidence(f"{name}: {asked[name]} queries, 0 support images") for name in unknown[:MAX_EVIDENCE]),
            Fix(fix),
        )
    if not judged:
        raise NotApplicable("no data folder holds a support set and labelled queries")


RULE = Rule(
    slug="unknown-query-class",
    family="tasks",
    title="Queries are of a class without support",
    level=Level.ERROR,
    log=absent("a wrong answer raises nothing and prints nothing"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("which classes there are no step tells"),
    module=__name__,
)
