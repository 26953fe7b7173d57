"""A query is one of the support images.

What happens
------------
Its distance to its own class is 0, and the answer is right for free. With few queries accuracy rises by whole points;
the real one is lower.

Why
---
Support and query were drawn from one folder independently, or files were copied instead of moved.

How to confirm
--------------
Intersect the hashes of the decoded pixels of both sides.

Fix
---
Remove the query, or draw queries from what the support set has left over.

When it is something else
-------------------------
Pictures of one object that look alike are what few-shot work is about; only equal pixels are reported.

Sources
-------
- Vinyals et al., Matching networks, support and query are disjoint: https://arxiv.org/abs/1606.04080
- scikit-learn, data leakage: https://scikit-learn.org/stable/common_pitfalls.html#data-leakage
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.audits import audited, file_evidence, listed, share, short
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = audited(plan)
    queries = {sample.image: folder for folder in folders for sample in folder.samples if sample.role == "query"}
    support = {sample.image for folder in folders for sample in folder.samples if sample.role == "support"}
    if not queries or not support:
        raise NotApplicable("no data folder holds a support set and queries")
    twins = [(twin.one, twin.other) for twin in plan.fact("twins") if twin.kind in ("same-file", "same-pixels")]
    both = [pair for one, two in twins for pair in ((one, two), (two, one))]
    pairs = [(query, known) for query, known in both if query in queries and known in support]
    if not pairs:
        return
    query, known = pairs[0]
    names = list(dict.fromkeys(name for name, _ in pairs))
    yield Finding(
        "query-in-support",
        Level.ERROR,
        f"{queries[query].key}: {share(len(names), len(queries))} queries are in a support set as well: {short(query)} "
        f"is {short(known)}",
        setting_place(plan, queries[query].key),
        file_evidence((name, f"has the pixels of {short(other)}") for name, other in pairs),
        Fix(f"Remove these queries: {listed([short(name) for name in names])}."),
    )


RULE = Rule(
    slug="query-in-support",
    family="tasks",
    title="A query lies in the support set",
    level=Level.ERROR,
    log=absent("a score that is too good looks like a good score"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("a score that is too good looks like a good score"),
    module=__name__,
)
