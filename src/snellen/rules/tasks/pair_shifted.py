"""Blurred frames are paired with the sharp frame of another moment.

What happens
------------
Training runs and the loss falls, to a level that depends on the motion: the network learns to move the picture a
little and to average what it cannot know. PSNR stays below that of the blurred input itself in sequences that move
fast.

Why
---
One side starts a frame later (numbered from 1 instead of 0), lost a frame at the start, or takes the first of the
averaged frames instead of the middle one.

How to confirm
--------------
Lay blurred frame k over sharp frames k-1, k and k+1: the right one has its edges in the middle of the smear. The
finding compares how alike they look, over the whole sequence.

Fix
---
Pair with the shift that the finding names, or export again with the middle frame as the sharp one.

When it is something else
-------------------------
Where nothing moves no shift can be seen, and the rule stays silent; so it does for sequences of fewer than six
measured pairs. A missing frame is `unpaired-frame`.

Sources
-------
- Nah et al., GoPro: the sharp frame is the middle one of those averaged: https://arxiv.org/abs/1612.02177
- Zauner, perceptual hashes and the distance of images: https://www.phash.org/docs/pubs/thesis_zauner.pdf
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise

from snellen.core.audits import audited, file_evidence
from snellen.core.facts.data import FolderAudit
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_FEWEST = 6
"""Pairs of a sequence that must be measured: the mean over fewer is chance."""
_SHIFTS = (-2, -1, 1, 2)
_CLEARER = 1.5
"""How many times farther the stated partner must be than that of the other moment."""
_BITS = 1.0
"""And by how many of the 64 bits on average: less is the noise of a fingerprint. Measured on two videos of DAVIS,
blurred frames as the mean of five: 1.4 and 2.5 bits from their own sharp frame, 2.9 and 6.6 from the next one."""
_MOST = 0.6
"""Share of the frames of which the other moment's partner is the nearer one; by chance half of those that differ."""


def _examine(plan: Plan) -> Iterator[Finding]:
    judged = False
    for folder in audited(plan):
        wrong = []
        for group, frames in _sequences(folder).items():
            if len(frames) < _FEWEST:
                continue
            judged = True
            shift, there, here = _best_shift(frames)
            if shift and here > _CLEARER * there and here - there > _BITS and _nearer(frames, shift) >= _MOST:
                wrong.append((group, shift, here, there, frames[min(frames)][2]))
        if not wrong:
            continue
        group, shift, here, there, _ = wrong[0]
        yield Finding(
            "pair-shifted",
            Level.ERROR,
            f"{folder.key}: {len(wrong)} of {len(_sequences(folder))} sequences are paired with another moment: in "
            f"{group or folder.path} blurred frame k looks like sharp frame k{shift:+d} "
            f"({there:.1f} of 64 bits differ on average, {here:.1f} for its stated partner)",
            setting_place(plan, folder.key),
            file_evidence(
                (path, f"{name}: shift {by:+d}, {far:.1f} against {near:.1f} bits")
                for name, by, far, near, path in wrong
            ),
            Fix(f"Pair blurred frame k with sharp frame k{shift:+d}, and leave out what then has no partner."),
        )
    if not judged:
        raise NotApplicable(f"no sequence has {_FEWEST} measured pairs of blurred and sharp frames")


def _sequences(folder: FolderAudit) -> Mapping[str, dict[int, tuple[int, int, str]]]:
    """By sequence and number of the frame: the two fingerprints, and the path of the blurred one."""
    found: defaultdict[str, dict[int, tuple[int, int, str]]] = defaultdict(dict)
    for sample in folder.samples:
        blur, sharp = folder.images.get(sample.image), folder.images.get(sample.partner or "")
        if sample.index is not None and blur is not None and sharp is not None and blur.pixels and sharp.pixels:
            prints = (blur.pixels.fingerprint, sharp.pixels.fingerprint, sample.image)
            found[sample.group][sample.index] = prints
    return found


def _step(frames: Mapping[int, tuple[int, int, str]]) -> int:
    return min((after - before for before, after in pairwise(sorted(frames))), default=1)


def _nearer(frames: Mapping[int, tuple[int, int, str]], shift: int) -> float:
    """Share of the frames that are nearer to the sharp frame of another moment than to their own."""
    by = shift * _step(frames)
    closer = [
        (blur ^ frames[number + by][1]).bit_count() < (blur ^ sharp).bit_count()
        for number, (blur, sharp, _) in frames.items()
        if number + by in frames
    ]
    return sum(closer) / max(1, len(closer))


def _best_shift(frames: Mapping[int, tuple[int, int, str]]) -> tuple[int, float, float]:
    """The shift under which both sides look most alike, the mean distance there, and that without a shift."""
    numbers, step = sorted(frames), _step(frames)
    distances = {0: _mean_distance(frames, 0)}
    for shift in _SHIFTS:
        shared = [number for number in numbers if number + shift * step in frames]
        if len(shared) >= _FEWEST - 1:
            distances[shift] = _mean_distance(frames, shift * step)
    best = min(distances, key=lambda shift: (distances[shift], abs(shift)))
    return best, distances[best], distances[0]


def _mean_distance(frames: Mapping[int, tuple[int, int, str]], shift: int) -> float:
    pairs = [(blur, frames[number + shift][1]) for number, (blur, _, _) in frames.items() if number + shift in frames]
    bits = [(blur ^ sharp).bit_count() for blur, sharp in pairs]
    return sum(bits) / len(bits)


RULE = Rule(
    slug="pair-shifted",
    family="tasks",
    title="Pairs are off by a frame",
    level=Level.ERROR,
    log=absent("a wrong partner raises nothing and prints nothing"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("a loss that stays too high may have any cause"),
    module=__name__,
)
