"""Masks show their classes as colours, and are read as numbers.

What happens
------------
Nothing fails at first. A reader that takes the grey value of a coloured mask gets 76 for red and 150 for green:
numbers of no class, or the same number for two classes. A loss told of 3 classes then stops with an index out of
bounds, or learns the wrong ones.

Why
---
Labelling tools export pictures for eyes. The table from colour to class number exists in the tool, not in the file;
`convert("L")` and `cv2.IMREAD_GRAYSCALE` weigh red, green and blue instead of looking anything up.

How to confirm
--------------
`Image.open(mask).convert("RGB").getcolors(1 << 24)` lists the colours with their counts: as many as there are classes,
a few more where the file was smoothed.

Fix
---
Write masks of class numbers once, with the table from colour to number: the finding lists the colours it saw. Keep the
table beside the data. Save as PNG in mode L or P.

When it is something else
-------------------------
A mask with thousands of colours is a photograph under the name of a mask: see `mask-equals-image`. Colours of a
palette image (mode P) are right as they are: the stored numbers are the classes. Two values only, such as red on
black, is a binary mask and read as one.

Sources
-------
- Pillow, modes of an image: https://pillow.readthedocs.io/en/stable/handbook/concepts.html#modes
- Pascal VOC, colours of the segmentation masks: https://host.robots.ox.ac.uk/pascal/VOC/voc2012/segexamples/index.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from snellen.core.audits import audited, file_evidence, share, short
from snellen.core.facts.data import MaskRecord
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_MOST_CLASSES = 256
"""More colours than that are shades of a photograph or of a smoothed rim, not classes."""


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = [folder for folder in audited(plan) if folder.masks]
    if not folders:
        raise NotApplicable("no data folder holds masks")
    for folder in folders:
        coloured = [mask for mask in folder.masks.values() if _coloured(mask)]
        if not coloured:
            continue
        pixels: Counter[int] = Counter()
        for mask in coloured:
            pixels.update(dict(mask.values))
        # Black is the background wherever it occurs; the others are numbered by how much they cover.
        colours = sorted((value for value, _ in pixels.most_common(_MOST_CLASSES)), key=lambda value: value != 0)
        table = ", ".join(f"#{value:06x}: {number}" for number, value in enumerate(colours[:12]))
        table += ", ..." if len(colours) > 12 else ""
        yield Finding(
            "colour-mask",
            Level.ERROR,
            f"{folder.key}: {share(len(coloured), len(folder.masks))} masks show {len(colours)} colours, "
            f"not class numbers, such as {short(coloured[0].path)}",
            setting_place(plan, folder.key),
            file_evidence((mask.path, f"mode {mask.mode}, {mask.distinct} colours") for mask in coloured),
            Fix(f"Write class numbers by a table from colour to number: {{{table}}}, in the order of your classes."),
        )


def _coloured(mask: MaskRecord) -> bool:
    # Two colours are a binary mask, and the numbers of a palette image are class numbers.
    return mask.colour and mask.mode != "P" and 2 < mask.distinct <= _MOST_CLASSES


RULE = Rule(
    slug="colour-mask",
    family="data",
    title="Masks hold colours instead of class numbers",
    level=Level.ERROR,
    log=absent("nothing is raised and nothing is printed"),
    source=absent("which file is a coloured mask only the files tell"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("targets are no part of a step's facts"),
    module=__name__,
)
