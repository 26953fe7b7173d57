"""Frames are missing inside of a sequence.

What happens
------------
Nothing fails: the loader takes the next file. Motion across the gap is a multiple of what it is elsewhere, so that
optical flow and alignment learn from a jump, and a deblurred or tracked video stumbles there.

Why
---
Files were lost while copying, corrupt frames were deleted, duplicates were removed from a video.

How to confirm
--------------
List the numbers of a sequence and look for steps that differ.

Fix
---
Copy the missing frames again, or split the sequence there into two.

When it is something else
-------------------------
A sequence that was thinned out evenly (every fifth frame) has no gap. Loose numbers, as of key frames, are no
sequence: fewer than 80% equal steps are left alone.

Sources
-------
- torchvision, clips of consecutive frames:
  https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.UCF101.html
- DAVIS, frames are numbered from 0 without a gap: https://davischallenge.org/davis2017/code.html
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from snellen.core.audits import clips, file_evidence
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_REGULAR = 0.8
"""Share of equal steps from which numbers are those of a sequence."""
_FEWEST = 6


def _examine(plan: Plan) -> Iterator[Finding]:
    judged = False
    for folder in clips(plan):
        groups: defaultdict[str, dict[int, str]] = defaultdict(dict)
        for sample in folder.samples:
            if sample.index is not None and sample.group:
                groups[sample.group][sample.index] = sample.image
        gaps, sequences = list[tuple[str, str, int]](), 0
        for group, frames in groups.items():
            steps = [(after - before, before, after) for before, after in pairwise(sorted(frames))]
            usual = Counter(step for step, _, _ in steps).most_common(1)
            if len(frames) < _FEWEST or usual[0][1] < _REGULAR * len(steps):
                continue
            sequences, step = sequences + 1, usual[0][0]
            gaps += [
                (frames[before], f"{group}: {count} missing between {before} and {after}", count)
                for wide, before, after in steps
                if (count := wide // step - 1) > 0
            ]
        judged = judged or sequences > 0
        if not gaps:
            continue
        missing = sum(count for _, _, count in gaps)
        yield Finding(
            "frame-gap",
            Level.WARNING,
            f"{folder.key}: {missing} {'frame is' if missing == 1 else 'frames are'} missing inside of "
            f"{len({text.partition(':')[0] for _, text, _ in gaps})} of {sequences} sequences: {gaps[0][1]}",
            setting_place(plan, folder.key),
            file_evidence((path, text) for path, text, _ in gaps),
            Fix("Copy the missing frames again, or split the sequences there."),
        )
    if not judged:
        raise NotApplicable("no data folder holds a sequence of evenly numbered frames")


RULE = Rule(
    slug="frame-gap",
    family="tasks",
    title="A sequence has a gap",
    level=Level.WARNING,
    log=absent("a gap raises nothing and prints nothing"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("which files there are no step tells"),
    module=__name__,
)
