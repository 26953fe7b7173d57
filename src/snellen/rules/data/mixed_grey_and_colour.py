"""A few images are grey among coloured ones, or coloured among grey ones.

What happens
------------
Nothing fails: all have three channels. A network learns that *grey* means the class, the camera or the year that
the grey images come from; augmentation of colour does nothing to them.

Why
---
Old photographs, infrared frames of a night camera, another microscope or stain, a scan in colour of a grey print.

How to confirm
--------------
The mean difference between the three channels is under 0.004 of full scale (one level) in a grey image; a coloured
set has a median of 0.02 and more. The rarer kind is at most 20% of the set.

Fix
---
Look whether the rare ones belong to one class, source or split. If they do, move or convert them, or make all
images grey (`RandomGrayscale`, `v2.Grayscale(3)`), so that colour says nothing.

When it is something else
-------------------------
Images stored in one channel are `mixed-colour-modes`. A set that is grey as a whole is no fault: repeat the
channel, or give the model one channel.

Sources
-------
- cleanvision, the faults of images it looks for: https://github.com/cleanlab/cleanvision
- torchvision, RandomGrayscale: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.v2.RandomGrayscale.html
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from snellen.core.facts.data import FolderAudit
from snellen.core.finding import Finding, Level
from snellen.core.image_sets import FEW, FEWEST, image_finding, image_folders, is_blank, measured, seen
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


_GREY = 0.004
_COLOURED = 0.02
_ONE_CHANNEL = ("1", "L", "I", "F")


def _examine(plan: Plan) -> Iterator[Finding]:
    for folder in image_folders(plan):
        colour = [
            (pixels.colourful, record.path)
            for record, pixels in measured(folder)
            if not record.mode.startswith(_ONE_CHANNEL) and not is_blank(pixels)
        ]
        if len(colour) < FEWEST:
            continue
        grey = sorted(path for value, path in colour if value < _GREY)
        coloured = sorted(((value, path) for value, path in colour if value >= _COLOURED), reverse=True)
        if grey and len(grey) <= FEW * len(colour) and median(value for value, _ in colour) >= _COLOURED:
            message = f"{seen(folder, len(grey), pixels=True)} are grey in three channels, the others have colours"
            files = [(path, "its channels are equal") for path in grey]
            yield _finding(plan, folder, Level.NOTE, message, files)
        elif coloured and len(grey) >= (1 - FEW) * len(colour):
            message = f"{seen(folder, len(coloured), pixels=True)} have colours, the others are grey in three channels"
            files = [(path, f"its channels differ by {value:.3f} of 1") for value, path in coloured]
            yield _finding(plan, folder, Level.WARNING, message, files)


def _finding(plan: Plan, folder: FolderAudit, level: Level, message: str, files: list[tuple[str, str]]) -> Finding:
    fix = "Look whether they belong to one class, source or split; if so, convert or move them, or make all grey."
    return image_finding(plan, folder, "mixed-grey-and-colour", level, message, files, fix)


RULE = Rule(
    slug="mixed-grey-and-colour",
    family="data",
    title="Grey and coloured images are mixed",
    level=Level.NOTE,
    log=absent("nothing is printed: the image is used as it is"),
    source=absent("only the files tell what is in them"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the batches look as they always do"),
    module=__name__,
)
