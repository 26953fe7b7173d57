"""A file's own name says another class than its label.

What happens
------------
Nothing fails: the sample is trained under the wrong class. A few per cent of wrong labels cost little in training and
much in validation, where they hide what the model can do.

Why
---
A file was dropped into the wrong folder, or a sort by name and a sort by number ran apart in a table.

How to confirm
--------------
Look at the files that the finding names.

Fix
---
Move each file to the folder of the class that its name says, after a look at it.

When it is something else
-------------------------
Names say something only where most of them carry the class; with other names this rule stays silent. The same picture
under two labels is `label-conflict`.

Sources
-------
- Northcutt et al., Confident learning: https://arxiv.org/abs/1911.00068
- torchvision, labels come from folders:
  https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.ImageFolder.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath

from snellen.core.audits import audited, file_evidence, share, short
from snellen.core.classes_of import class_counts, folded, label_of_number
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_LETTERS = re.compile(r"[a-z]+")
_TELLING = 0.6
"""Share of the files whose name must carry their own class, for names to say anything at all."""
_FEW = 0.2
"""More contradictions than that mean that the names follow another scheme."""


def _examine(plan: Plan) -> Iterator[Finding]:
    labelled = [folder for folder in audited(plan) if len(class_counts(folder)) > 1]
    labelled = [folder for folder in labelled if any(sample.label is not None for sample in folder.samples)]
    if not labelled:
        raise NotApplicable("no data folder labels whole images with two classes")
    for folder in labelled:
        classes = {folded(name): name for name in class_counts(folder)}
        spelled: dict[tuple[str, ...], set[str]] = {}
        for name in classes:
            spelled.setdefault(_words(name), set()).add(name)
        spelled.pop((), None)
        lengths = {len(words) for words in spelled}
        agreeing, wrong = 0, list[tuple[str, str, str]]()
        for sample in folder.samples:
            if not sample.label:
                continue  # `label-missing` tells it
            own = folded(label_of_number(sample.label, folder.classes))
            # Only the name of the file, split where words end: "wildcat-3" does not say "cat".
            named = _named(_words(PurePath(sample.image).stem), spelled, lengths)
            agreeing += own in named
            if len(named) == 1 and own not in named:
                wrong.append((sample.image, classes.get(own, own), classes[named.pop()]))
        if not wrong or agreeing < _TELLING * len(folder.samples) or len(wrong) > _FEW * len(folder.samples):
            continue
        path, label, name = wrong[0]
        yield Finding(
            "label-against-name",
            Level.WARNING,
            f"{folder.key}: {share(len(wrong), len(folder.samples))} files are named after another class than their "
            f"label: {short(path)} is labelled {label}, its name says {name}",
            setting_place(plan, folder.key),
            file_evidence((one, f"labelled {given}, its name says {said}") for one, given, said in wrong),
            Fix(f"Look at them; move those that are misplaced, such as {short(path)} to {name}."),
        )


def _words(name: str) -> tuple[str, ...]:
    return tuple(_LETTERS.findall(name.casefold()))


def _named(words: tuple[str, ...], spelled: Mapping[tuple[str, ...], set[str]], lengths: Iterable[int]) -> set[str]:
    """The classes whose words stand among these: looked up, because there may be thousands of classes."""
    runs = (words[start : start + count] for start in range(len(words)) for count in lengths)
    return set().union(*(spelled[run] for run in runs if run in spelled))


RULE = Rule(
    slug="label-against-name",
    family="data",
    title="A file name contradicts its label",
    level=Level.WARNING,
    log=absent("a wrong label raises nothing and prints nothing"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("which files there are no step tells"),
    module=__name__,
)
