"""Two class names differ only in case, blanks or underscores.

What happens
------------
Nothing fails. `Cat`, `cat` and `cat ` become three classes: each is learned from a part of the samples, the network is
punished for confusing them, and on a disk that ignores case they fall into one folder.

Why
---
Several people labelled, a spreadsheet kept blanks, folders were merged from Windows and Linux.

How to confirm
--------------
`sorted(set(labels), key=str.casefold)` and look for neighbours.

Fix
---
Rename to one spelling; the finding gives the mapping, towards the spelling that is used most.

When it is something else
-------------------------
Names that are meant to differ, such as the characters `a` and `A` of handwriting: mute this rule for that run.

Sources
-------
- `str.casefold`: https://docs.python.org/3/library/stdtypes.html#str.casefold
- Northcutt et al., Pervasive label errors in test sets: https://arxiv.org/abs/2103.14749
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from snellen.core.audits import MAX_EVIDENCE, audited, listed
from snellen.core.classes_of import class_counts, variants
from snellen.core.finding import Evidence, Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = audited(plan)
    counts: Counter[str] = Counter()
    for folder in folders:
        counts.update(class_counts(folder))
        counts.update(dict.fromkeys(folder.classes, 0))
    if not counts:
        raise NotApplicable("no sample carries a class")
    # Single characters are classes of handwriting, where case is the point.
    groups = [group for group in variants(counts) if len(group[0].strip()) > 1]
    if not groups:
        return
    mapping = {name: best for group in groups for best in [_best(group, counts)] for name in group}
    changed = {name: best for name, best in mapping.items() if name != best}
    keys = [folder.key for folder in folders if set(class_counts(folder)) & set(changed)] or [folders[0].key]
    yield Finding(
        "class-name-variants",
        Level.ERROR,
        f"{listed(keys)}: {len(groups)} {'class is' if len(groups) == 1 else 'classes are'} spelled in more than one "
        f"way: {'; '.join(' and '.join(map(repr, group)) for group in groups[:4])}",
        setting_place(plan, keys[0]),
        tuple(Evidence(f"{name!r}: {counts[name]} samples") for group in groups for name in group)[:MAX_EVIDENCE],
        Fix(f"Rename: {', '.join(f'{old!r} to {new!r}' for old, new in changed.items())}."),
    )


def _best(group: Sequence[str], counts: Mapping[str, int]) -> str:
    """The spelling that most samples have; of equal ones that without blanks around it."""
    return max(group, key=lambda one: (counts[one], one == one.strip()))


RULE = Rule(
    slug="class-name-variants",
    family="data",
    title="One class is spelled in two ways",
    level=Level.ERROR,
    log=absent("a class too many raises nothing and prints nothing"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("which files there are no step tells"),
    module=__name__,
)
