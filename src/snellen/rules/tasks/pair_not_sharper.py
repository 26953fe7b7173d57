"""The sharp frame of a pair is no sharper than the blurred one.

What happens
------------
With swapped folders the network learns to blur, and its PSNR looks fine. With single bad pairs it is taught to keep
the blur.

Why
---
The settings name the folders the wrong way round, files were copied over each other, or the sharp exposure moved as
well.

How to confirm
--------------
The standard deviation of the Laplacian of both: that of the sharp frame must be larger. Or look at an edge.

Fix
---
Swap the two folders if nearly all pairs are affected; remove single pairs.

When it is something else
-------------------------
A still scene has no motion blur: both frames are then equally sharp, within the 10% that this rule allows. Noise also
counts as sharpness: a noisy dark input may look sharper than its clean target; mute the rule for denoising.

Sources
-------
- Pech-Pacheco et al., variance of the Laplacian as a measure of focus: https://doi.org/10.1109/ICPR.2000.903548
- Nah et al., pairs of blurred and sharp frames: https://arxiv.org/abs/1612.02177
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.audits import audited, file_evidence, share, short
from snellen.core.facts.data import FolderAudit
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_SAME = 0.9
"""Ratio of sharpness down to which two frames count as equally sharp: recompression moves it by that much."""
_MOST = 0.7


def _examine(plan: Plan) -> Iterator[Finding]:
    judged = False
    for folder in audited(plan):
        ratios = [(path, blur, sharp) for path, blur, sharp in _sharpness(folder)]
        judged = judged or bool(ratios)
        wrong = sorted((sharp / blur, path, blur, sharp) for path, blur, sharp in ratios if sharp < _SAME * blur)
        if not wrong:
            continue
        swapped = len(wrong) >= _MOST * len(ratios)
        _, path, blur, sharp = wrong[0]
        yield Finding(
            "pair-not-sharper",
            Level.ERROR if swapped else Level.WARNING,
            f"{folder.key}: in {share(len(wrong), len(ratios))} measured pairs the sharp frame is blurrier than the "
            f"blurred one: {short(path)} has sharpness {blur:.3g}, its sharp partner {sharp:.3g}",
            setting_place(plan, folder.key),
            file_evidence((name, f"sharpness {b:.3g}, of its sharp partner {s:.3g}") for _, name, b, s in wrong),
            Fix(
                "Swap the two folders: nearly all pairs are the wrong way round."
                if swapped
                else "Look at these pairs; swap or remove those that are the wrong way round."
            ),
        )
    if not judged:
        raise NotApplicable("no pair of a blurred and a sharp frame was measured")


def _sharpness(folder: FolderAudit) -> Iterator[tuple[str, float, float]]:
    for sample in folder.samples:
        blur, sharp = folder.images.get(sample.image), folder.images.get(sample.partner or "")
        if blur is not None and sharp is not None and blur.pixels and sharp.pixels and blur.pixels.sharpness > 0:
            yield sample.image, blur.pixels.sharpness, sharp.pixels.sharpness


RULE = Rule(
    slug="pair-not-sharper",
    family="tasks",
    title="A sharp frame is not sharper than its blurred one",
    level=Level.ERROR,
    log=absent("pairs the wrong way round raise nothing"),
    source=absent("`sharp` and `blur` are names like others to code"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("a loss that falls tells nothing about sides"),
    module=__name__,
)
