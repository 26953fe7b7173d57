"""Frames of a sequence have no number in their names.

What happens
------------
Frames are sorted by name or left out. Sorted by name, `frame10` comes before `frame9`, and what is learned as motion
goes forwards and backwards; left out, a sequence is missing from training, and only a line at the start says so.

Why
---
The frames were exported under times, hashes or words (`first.png`, `a.png`), a tool put something behind the number
(`00012_restored.png`), or a copy or a cover lies among them (`00012 (1).png`).

How to confirm
--------------
List one folder of frames: every name ends with a number before its suffix, and the numbers count up.

Fix
---
Rename the frames in the order of time, `00000.png`, `00001.png` and so on, their partners, masks and spikes alike. Move
away what is no frame.

When it is something else
-------------------------
Numbers that leave some out are `frame-gap`. Numbers without leading zeros are no fault: they are read as numbers.

Sources
-------
- ffmpeg, image sequences are found by the number in their names: https://ffmpeg.org/ffmpeg-formats.html#image2-1
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from snellen.core.audits import clips, file_evidence, listed, share
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_PAIRED = ("have no number in their names", "no number before the suffix")
_ALONE = ("are not numbered as those beside them", "no number in the row of the others")


def _examine(plan: Plan) -> Iterator[Finding]:
    for folder in clips(plan):
        paired = folder.layout == "frame-pairs"
        # Of pairs, those that have both; of a video, all.
        frames = [one for one in folder.samples if (one.partner is not None and not one.role if paired else one.role)]
        odd = [sample for sample in frames if sample.index is None]
        if not odd:
            continue
        groups = Counter(sample.group or "frames" for sample in odd)
        have, why = _PAIRED if paired else _ALONE
        yield Finding(
            "frame-without-number",
            Level.WARNING,
            f"{folder.key}: {share(len(odd), len(frames))} frames {have}, so that their order is not known: "
            f"{listed(list(groups))}",
            setting_place(plan, folder.key),
            file_evidence((sample.image, why) for sample in odd),
            Fix("Rename them in the order of time, 00000.png and so on, with what belongs to them; or move them away."),
        )


RULE = Rule(
    slug="frame-without-number",
    family="tasks",
    title="Frames have no number in their names",
    level=Level.WARNING,
    log=absent("sorting by name raises nothing and prints nothing"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("which files there are no step tells"),
    module=__name__,
)
