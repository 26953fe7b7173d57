"""A sequence has fewer frames than a clip of the network takes.

What happens
------------
`IndexError`, `ValueError: low >= high` from `randint`, or `stack expects a non-empty TensorList` when that sequence is
drawn. Loaders that skip short sequences lose data silently, those that repeat the last frame teach that motion stops.

Why
---
The clip length grew and the data did not; a sequence was cut by a failed download; frames were thinned out.

How to confirm
--------------
Count the frames of each sequence and compare with the clip length of the run file.

Fix
---
Set the clip length to the shortest sequence, which the finding names, or leave the short sequences out on purpose.

When it is something else
-------------------------
A sequence with holes is `frame-gap`. Without a clip length in the run file only sequences of one or two frames among
long ones are reported: no frame there has both neighbours.

Sources
-------
- `torch.randint` needs low < high: https://docs.pytorch.org/docs/stable/generated/torch.randint.html
- BasicSR, recurrent training on `num_frame` frames: https://github.com/XPixelGroup/BasicSR
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from snellen.core.audits import MAX_EVIDENCE, clips, listed, share
from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_LENGTH = re.compile(r"^(?:(?:clip|seq(?:uence)?)_len(?:gth)?|clip_frames|num_frames?|n_frames|frames_per_clip)$")
_NEIGHBOURS = 3
"""A frame, the one before and the one after: less is no clip to any temporal network."""


def _examine(plan: Plan) -> Iterator[Finding]:
    stated = _stated(plan.settings)
    judged = False
    for folder in clips(plan):
        frames = Counter(sample.group for sample in folder.samples if sample.index is not None and sample.group)
        if not frames:
            continue
        judged = True
        key, needed = stated or ("", _NEIGHBOURS)
        brief = sorted((count, group) for group, count in frames.items() if count < needed)
        # Without a stated length, only exceptions among long sequences say anything.
        if not brief or (not stated and median(frames.values()) < 2 * _NEIGHBOURS):
            continue
        count, group = brief[0]
        asked = f"{key} asks for {needed}" if stated else f"the others have {median(frames.values()):g}"
        largest = brief[0][0] if len(brief) == len(frames) else min(frames.values())
        fix = Fix(f"Leave out {listed([name for _, name in brief])}.")
        if stated and largest >= 2:
            fix = Fix(
                f"Write {key}: {largest}, or leave out {listed([name for _, name in brief])}.",
                FixSafety.UNSAFE,
                "shorter clips train another network",
                settings=((key, largest),),
            )
        yield Finding(
            "clip-too-short",
            Level.ERROR if stated else Level.WARNING,
            f"{folder.key}: {share(len(brief), len(frames))} sequences are too short for a clip: {group} has {count} "
            f"{'frame' if count == 1 else 'frames'}, {asked}",
            setting_place(plan, key or folder.key),
            tuple(Evidence(f"{name}: {number} frames") for number, name in brief[:MAX_EVIDENCE]),
            fix,
        )
    if not judged:
        raise NotApplicable("no data folder holds sequences of numbered frames")


def _stated(settings: Mapping[str, Any]) -> tuple[str, int] | None:
    for section, content in settings.items():
        for name, value in content.items() if isinstance(content, Mapping) else ((section, content),):
            if _LENGTH.match(str(name)) and isinstance(value, int) and not isinstance(value, bool) and value > 1:
                return (f"{section}.{name}" if isinstance(content, Mapping) else section), value
    return None


RULE = Rule(
    slug="clip-too-short",
    family="tasks",
    title="A sequence is shorter than a clip",
    level=Level.ERROR,
    log=absent("the message depends on the loader, see `empty-dataset`"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("which files there are no step tells"),
    module=__name__,
)
