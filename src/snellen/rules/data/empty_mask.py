"""A mask marks nothing, or everything.

What happens
------------
The loss of such a sample pulls towards background alone; Dice without smoothing divides 0 by 0 and becomes NaN; a
forged image with an empty mask is trained as an authentic one.

Why
---
The export found no layer of that name, values 0 and 1 were read with a threshold of 128 and saved again, the wrong
file was copied, or the mask was filled instead of outlined.

How to confirm
--------------
`np.unique(mask)` has one element. Look at the image: is there something to mark?

Fix
---
Export the mask again. Where there is truly nothing to mark, keep it out of the forged images, and give Dice a
smoothing term.

When it is something else
-------------------------
A folder in which most masks are empty by design (defects, lesions that are rare) is imbalanced, not wrong: mute this
rule there. Masks of 0 and 1 look black to the eye and are not empty: see `mask-values`.

Sources
-------
- MONAI, `smooth_nr` and `smooth_dr` of the Dice loss: https://docs.monai.io/en/stable/losses.html#diceloss
- segmentation-models-pytorch, Dice loss: https://smp.readthedocs.io/en/latest/losses.html
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.audits import audited, file_evidence, share, short
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = [folder for folder in audited(plan) if folder.masks]
    if not folders:
        raise NotApplicable("no data folder holds masks")
    for folder in folders:
        judged, forged, found = 0, 0, list[tuple[str, str]]()
        for sample in folder.samples:
            if sample.role == "authentic":
                continue
            for path in sample.masks:
                mask = folder.masks.get(path)
                if mask is None or mask.problem or not mask.height:
                    continue
                judged += 1
                if mask.distinct == 1 and mask.values:
                    value = mask.values[0][0]
                    forged += sample.role == "forged"
                    found.append((path, "marks nothing" if value == 0 else f"holds {value} everywhere"))
        # Where more than half are empty, that is how the set is made.
        if not found or (not forged and len(found) > 0.5 * judged and judged > 2):
            continue
        path, text = found[0]
        yield Finding(
            "empty-mask",
            Level.ERROR if forged else Level.WARNING,
            f"{folder.key}: {share(len(found), judged)} masks mark nothing or everything: {short(path)} {text}"
            + (f"; {forged} of them belong to forged images" if forged else ""),
            setting_place(plan, folder.key),
            file_evidence(found),
            Fix(
                "Export these masks again, or move forged images that have none away."
                if forged
                else "Look at these images; export the mask again where something is to be marked."
            ),
        )


RULE = Rule(
    slug="empty-mask",
    family="data",
    title="A mask is empty or full",
    level=Level.WARNING,
    log=absent("nothing is raised and nothing is printed"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("targets are no part of a step's facts"),
    module=__name__,
)
