"""A support set holds fewer images of a class than it should.

What happens
------------
Prototypes are means over fewer images than planned; code that reshapes the support set to ways x shots stops with
`shape '[5, 5, -1]' is invalid for input of size`. A class without any support image can never be answered.
Where the images to be recognised are missing beside it, there is nothing to evaluate at all.

Why
---
An upload lost files, the folders of the shots were filled by hand, or the shots of the run file are more than the
folder holds.

How to confirm
--------------
Count images by class in each support set; every class should have as many as the set is named after.

Fix
---
Add the missing images, which the finding names by set and class, or lower the number of shots. A folder that holds
examples alone is `data.support`; the images to be recognised then lie in `data.test`.

When it is something else
-------------------------
Uneven support sets may be meant (a class with one known picture): mute the rule then. A class of the queries that no
support set knows is `unknown-query-class`.

Sources
-------
- Snell et al., Prototypical networks: https://arxiv.org/abs/1703.05175
- Chen et al., A closer look at few-shot classification: https://arxiv.org/abs/1904.04232
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from snellen.core.audits import MAX_EVIDENCE, audited
from snellen.core.classes_of import folded
from snellen.core.facts.data import FolderAudit
from snellen.core.finding import Evidence, Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_LISTED = ("empty-folder", "missing-folder")
"""What the listing says of support sets whose folders are empty or not there."""


def _examine(plan: Plan) -> Iterator[Finding]:
    judged = False
    for folder in audited(plan):
        sets: defaultdict[tuple[str, int | None], Counter[str]] = defaultdict(Counter)
        classes: dict[str, str] = {}
        for sample in folder.samples:
            if sample.role == "support" and sample.label is not None:
                sets[sample.group, sample.shot][sample.label] += 1
                classes.setdefault(folded(sample.label), sample.label)
        judged = judged or bool(sets)
        yield from _without_queries(plan, folder, bool(sets))
        brief, alone = list[str](), 0
        for (group, shot), counts in sorted(sets.items(), key=str):
            held = {folded(name): count for name, count in counts.items()}
            # Without a number in its name, a set is as large as most of its classes.
            wanted = shot or Counter(held.values()).most_common(1)[0][0]
            name = f"{group or 'the support set'}{f' of {shot} shots' if shot else ''}"
            # Episodes that each hold classes of their own miss nothing; sets of one episode hold the same classes.
            expected = {folded(label) for other, own in sets.items() if other[0] == group for label in own}
            alone += len(expected) == 1
            brief += [
                f"{name} holds {held.get(key, 0)} of {wanted} images of {classes[key]}"
                for key in sorted(expected)
                if held.get(key, 0) < wanted
            ]
        brief += _not_there(plan, sets)
        if alone:
            brief.append("a support set holds a single class: there is nothing to tell apart")
        brief += [problem.message for problem in folder.problems if sets and problem.kind in _LISTED]
        if not brief:
            continue
        yield Finding(
            "support-set-short",
            Level.ERROR,
            f"{folder.key}: in {len(brief)} {'case' if len(brief) == 1 else 'cases'} a support set is too small: "
            f"{brief[0]}",
            setting_place(plan, folder.key),
            tuple(Evidence(text) for text in brief[:MAX_EVIDENCE]),
            Fix(
                "Add images of another class, `other` for one."
                if len(brief) == alone == 1
                else "Add the images that are missing, or lower the number of shots."
            ),
        )
    if not judged:
        raise NotApplicable("no data folder holds a support set")


def _without_queries(plan: Plan, folder: FolderAudit, supports: bool) -> Iterator[Finding]:
    """A support set in a folder of its own is complete; in the one that is to be recognised it is half of it."""
    settings = plan.settings.get("data")
    data = settings if isinstance(settings, Mapping) else {}
    elsewhere = folder.key == "data.support" or data.get("support") or data.get("episodes")
    if not supports or elsewhere or any(sample.role != "support" for sample in folder.samples):
        return
    yield Finding(
        "support-set-short",
        Level.ERROR,
        f"{folder.key}: {folder.path} holds a support set and no image that is to be recognised",
        setting_place(plan, folder.key),
        fix=Fix(f"Put images into 6.preprocessed/CLASS, or name the folder data.support and the others {folder.key}."),
    )


def _not_there(plan: Plan, sets: Mapping[tuple[str, int | None], Mapping[str, int]]) -> list[str]:
    """Numbers of shots that the run asks for and no support set has."""
    settings = plan.settings.get("data")
    wanted = settings.get("shots") if isinstance(settings, Mapping) else None
    if not sets or not isinstance(wanted, Sequence) or isinstance(wanted, str):
        return []
    sizes = sorted({shot for _, shot in sets if shot is not None})
    most = max(count for counts in sets.values() for count in counts.values())
    missing = [one for one in wanted if isinstance(one, int) and (one not in sizes if sizes else one > most)]
    there = f"support sets are of {', '.join(map(str, sizes))}" if sizes else f"no class has more than {most} images"
    return [f"data.shots asks for {', '.join(map(str, missing))}, {there}"] if missing else []


RULE = Rule(
    slug="support-set-short",
    family="tasks",
    title="A support set lacks images",
    level=Level.ERROR,
    log=absent("the message is about a reshape, see `view-stride`"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("which files there are no step tells"),
    module=__name__,
)
